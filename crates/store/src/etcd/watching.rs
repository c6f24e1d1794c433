//! Watches: pages of one revision give the present state, then etcd's events follow from the next one on.

use std::sync::Arc;
use std::time::Duration;

use api::{Key, Revision};
use etcd_client::{EventType, WatchOptions, WatchStream};
use tokio::time::{Instant, timeout};

use super::fault::RequestFault;
use super::members::{ANSWER, Cluster, Live, Member};
use super::reading::{Stored, decode, end_of, read_at};
use crate::error::{StoreError, WatchError};
use crate::following::{End, Following, Sender, repeat};
use crate::port::Watch;
use crate::read::{Depth, Page, ReadSet, Scope};
use crate::view::{Unreadable, stray};
use crate::watch::{Event, present_page};

/// How many records a page of the present state has.
const PAGE: usize = 1_000;
/// How long the read of a page may take.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// How long a member may take to begin a watch.
const BEGIN_WITHIN: Duration = Duration::from_secs(5);

/// A watch of an [`EtcdStore`](super::EtcdStore).
#[derive(Debug)]
pub struct EtcdWatch {
    cluster: Arc<Cluster>,
    scope: Scope,
    following: Following<Event>,
}

impl EtcdWatch {
    pub(super) fn new(cluster: Arc<Cluster>, scope: Scope) -> EtcdWatch {
        EtcdWatch { cluster, scope, following: Following::default() }
    }
}

impl Watch for EtcdWatch {
    async fn next(&mut self) -> Result<Event, WatchError> {
        let EtcdWatch { cluster, scope, following } = self;
        let follow = |sender: Sender<Event>| {
            let (cluster, scope) = (cluster.clone(), scope.clone());
            async move { repeat(|| follow(&cluster, &scope, &sender)).await }
        };
        following.next(follow).await
    }
}

/// Sends the state, and the events after it.
async fn follow(cluster: &Cluster, scope: &Scope, sender: &Sender<Event>) -> End {
    let revision = match send_present(cluster, scope, sender).await {
        Ok(revision) => revision,
        Err(end) => return end,
    };
    let from = revision + 1;
    let (member, live) = match cluster.preferred(Instant::now() + BEGIN_WITHIN).await {
        Ok(found) => found,
        Err(error) if error.is_transient() => return End::Gap,
        Err(error) => return End::Failed(error.into()),
    };
    let end = match timeout(BEGIN_WITHIN, begin(&live, scope, from)).await {
        Ok(Ok(stream)) => events(stream, &member, scope, sender).await,
        Ok(Err(error)) => of_fault(RequestFault::asking(&member.url, &error)),
        Err(_) => End::Gap,
    };
    if matches!(end, End::Gap) {
        // After a mere compaction this costs one new connection.
        cluster.give_up(&member, &live).await;
    }
    end
}

/// Sends the present state, page by page, so that not all of it is in memory at once. All pages are of one
/// revision, which this gives.
async fn send_present(cluster: &Cluster, scope: &Scope, sender: &Sender<Event>) -> Result<i64, End> {
    let send = async |event| sender.send(Ok(event)).await.map_err(|_| End::Unwanted);
    send(Event::Init).await?;
    let (mut at, mut after) = (None, None);
    loop {
        let page = Page { after, limit: PAGE };
        let set = ReadSet::new().page(scope.clone(), Depth::Full, page);
        let view = read_at(cluster, &set, at, Instant::now() + READ_WITHIN).await;
        let view = view.map_err(|error| End::Failed(WatchError::of(error)))?;
        if at.is_none() {
            at = view.revision().and_then(|revision| revision.as_str().parse().ok());
        }
        let Some(at) = at else { return Err(End::Gap) };
        after = view.page_end(scope).cloned();
        for event in present_page(view, scope) {
            send(event).await?;
        }
        if after.is_none() {
            send(Event::InitDone(Revision::from(at))).await?;
            return Ok(at);
        }
    }
}

/// Asks for the events of all prefixes of the scope, on one stream.
async fn begin(live: &Live, scope: &Scope, from: i64) -> Result<WatchStream, etcd_client::Error> {
    let mut client = live.client.watch_client().max_decoding_message_size(ANSWER);
    let options =
        |prefix: &str| Some(WatchOptions::new().with_range(end_of(prefix)).with_start_revision(from));
    let mut prefixes = scope.prefixes().into_iter();
    // Every scope has a prefix.
    let first = prefixes.next().unwrap_or_default();
    let mut stream = client.watch(first.as_str(), options(&first)).await?;
    for prefix in prefixes {
        stream.watch(prefix.as_str(), options(&prefix)).await?;
    }
    Ok(stream)
}

/// Sends events on until the stream ends.
async fn events(mut stream: WatchStream, member: &Member, scope: &Scope, sender: &Sender<Event>) -> End {
    loop {
        let response = tokio::select! {
            response = stream.message() => response,
            () = sender.closed() => return End::Unwanted,
        };
        let response = match response {
            Ok(Some(response)) => response,
            Ok(None) => return End::Gap,
            Err(error) => return of_fault(RequestFault::asking(&member.url, &error)),
        };
        if response.canceled() {
            // A compaction, or a member without a leader, makes the watch start again from the state. A
            // missing permission would be missing again.
            return match response.cancel_reason() {
                reason if reason.contains("permission denied") => {
                    let text = format!(
                        "etcd at {}: {reason}. The user needs a role with readwrite permission on the prefix /calico/",
                        member.url
                    );
                    End::Failed(StoreError::Denied(text).into())
                }
                _ => End::Gap,
            };
        }
        for event in response.events() {
            let told = event.kv().and_then(|kv| event_of(event.event_type(), Stored::of(kv), scope));
            if let Some(told) = told
                && sender.send(Ok(told)).await.is_err()
            {
                return End::Unwanted;
            }
        }
    }
}

/// The event that a change of a key stands for; `None` where the key's record is of another scope.
pub(super) fn event_of(change: EventType, stored: Stored<'_>, scope: &Scope) -> Option<Event> {
    let path = String::from_utf8_lossy(stored.key);
    let revision = Revision::from(stored.revision);
    Some(match (Key::from_etcd_path(&path), change) {
        (Some(key), _) if !scope.holds(&key) => return None,
        (Some(key), EventType::Delete) => Event::Delete(key, revision),
        (Some(key), EventType::Put) => match decode(key.clone(), stored) {
            Ok(record) => Event::Apply(record),
            Err(error) => Event::Unreadable(key, Arc::new(Unreadable { error, revision })),
        },
        (None, EventType::Delete) => Event::StrayGone(stray(&path).key),
        (None, EventType::Put) => Event::Stray(stray(&path)),
    })
}

fn of_fault(fault: RequestFault) -> End {
    match fault.into_error() {
        error if error.is_transient() => End::Gap,
        error => End::Failed(error.into()),
    }
}
