//! A watch of all pods, as witnesses of who uses an address.

use std::sync::Arc;

use api::crd::PodState;
use api::{DecodeError, Revision};
use tokio::time::Instant;

use super::connection::Server;
use super::fault::RequestFault;
use super::lines::Outer;
use super::objects::{self, ObjectName};
use super::pages::{List, Paged, Pages};
use super::stream::{self, LASTS, Stream};
use super::watching::READ_WITHIN;
use crate::error::{StoreError, WatchError};
use crate::following::{End, Following, Sender, Told, repeat};

const PATH: &str = "/api/v1/pods";
/// How many pods a page of the list has.
const PAGE: usize = 500;

/// What a watch of pods tells, in the order of [`crate::Event`].
#[derive(Clone, Debug, PartialEq)]
pub enum PodEvent {
    /// The present state follows. What was known before holds until [`PodEvent::InitDone`].
    Init,
    /// A pod of the present state.
    InitApply(PodState),
    /// The present state is complete.
    InitDone,
    /// A pod was created or changed.
    Apply(PodState),
    /// The pod of that namespace and name was deleted.
    Delete(String, String),
    /// A pod of that namespace and name exists and cannot be read.
    Unreadable(String, String, DecodeError),
}

impl Told for PodEvent {
    fn completes(&self) -> bool {
        *self == PodEvent::InitDone
    }
}

/// A watch of all pods. The list that it begins with is consistent: it has every pod that existed when the
/// list was asked for.
#[derive(Debug)]
pub struct PodWatch {
    server: Arc<Server>,
    following: Following<PodEvent>,
}

impl PodWatch {
    pub(super) fn new(server: Arc<Server>) -> PodWatch {
        PodWatch { server, following: Following::default() }
    }

    /// Waits for the next event. Giving up the wait loses none.
    ///
    /// # Errors
    /// The watch can be asked again after an error; it then begins again, after a pause.
    pub async fn next(&mut self) -> Result<PodEvent, WatchError> {
        let server = &self.server;
        let follow = |sender: Sender<PodEvent>| {
            let server = server.clone();
            async move { repeat(|| follow(&server, &sender)).await }
        };
        self.following.next(follow).await
    }
}

/// Sends all pods, and the events after them.
async fn follow(server: &Server, sender: &Sender<PodEvent>) -> End {
    let (pods, revision) = match list(server, Instant::now() + READ_WITHIN).await {
        Ok(listed) => listed,
        Err(fault) => return fault.into(),
    };
    for event in [PodEvent::Init].into_iter().chain(pods).chain([PodEvent::InitDone]) {
        if sender.send(Ok(event)).await.is_err() {
            return End::Unwanted;
        }
    }
    let url = |revision: &str| {
        format!(
            "{PATH}?watch=true&allowWatchBookmarks=true&resourceVersion={revision}&timeoutSeconds={LASTS}"
        )
    };
    let stream = Stream { server, is_short: false, revision };
    stream.follow(url, sender, |told| vec![event_of(&told)]).await
}

pub(super) fn event_of(told: &stream::Told<'_>) -> PodEvent {
    let (namespace, name) = (told.namespace.to_string(), told.name.to_string());
    if told.is_deleted {
        return PodEvent::Delete(namespace, name);
    }
    match PodState::decode(told.object) {
        Ok(pod) => PodEvent::Apply(pod),
        Err(error) => PodEvent::Unreadable(namespace, name, error),
    }
}

/// All pods, and the revision of which they are.
async fn list(server: &Server, deadline: Instant) -> Result<(Vec<PodEvent>, Revision), RequestFault> {
    let (mut pods, mut at) = (Vec::new(), String::new());
    let mut pages = Pages::of(server, PATH, PAGE, "");
    while let Some(paged) = pages.next(deadline).await? {
        match paged {
            Paged::Anew => pods.clear(),
            Paged::Page(text, revision) => {
                let page = events_of_page(&text);
                pods.extend(page.map_err(|error| RequestFault::nonsense(server.shown(), &error))?);
                at = revision;
            }
        }
    }
    Ok((pods, Revision::new(at)))
}

/// The events that a page of a list stands for.
pub(super) fn events_of_page(text: &str) -> serde_json::Result<Vec<PodEvent>> {
    let list: List<'_> = serde_json::from_str(text)?;
    Ok(list.items.unwrap_or_default().iter().map(|item| present(item.get())).collect())
}

fn present(text: &str) -> PodEvent {
    PodState::decode(text).map_or_else(
        |error| {
            let outer: Outer = serde_json::from_str(text).unwrap_or_default();
            PodEvent::Unreadable(outer.metadata.namespace, outer.metadata.name, error)
        },
        PodEvent::InitApply,
    )
}

/// A pod as it is now.
pub(super) async fn one(
    server: &Server,
    namespace: &str,
    name: &str,
    deadline: Instant,
) -> Result<Option<Result<PodState, DecodeError>>, StoreError> {
    let text = objects::text(server, ObjectName::pod(namespace, name), deadline).await?;
    Ok(text.map(|text| PodState::decode(&text)))
}
