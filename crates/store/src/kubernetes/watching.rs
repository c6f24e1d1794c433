//! Watches: one list gives the present state, then the server's events follow from its revision on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::crd::Group;
use api::{Key, Revision};
use tokio::time::{Instant, sleep, timeout};

use super::connection::Server;
use super::fault::{FaultClass, RequestFault};
use super::lines::{Lines, Outer, WatchLine};
use super::place::{self, Form, Range};
use super::reading::{decode, key_of_object, list_range, record_of};
use crate::error::WatchError;
use crate::following::{Following, PAUSE, Sender};
use crate::port::Watch;
use crate::read::{Depth, Scope, ScopeRead};
use crate::view::{Unreadable, View};
use crate::watch::{Event, present};

/// How long the list of the present state may take.
pub(super) const READ_WITHIN: Duration = Duration::from_secs(60);
/// How long the server may take to begin a watch.
pub(super) const BEGIN_WITHIN: Duration = Duration::from_secs(10);
/// When the server is to end a watch, in seconds. The watch then continues with another request, from the
/// last revision.
pub(super) const LASTS: u64 = 290;
/// A watch without a line for so long is dead: the server sends its revision about once a minute.
pub(super) const SILENCE: Duration = Duration::from_secs(LASTS + 30);
/// After so many streams in a row that ended without an event, the state is listed again: the list's error
/// says what is wrong.
pub(super) const FAILURES: u32 = 5;

/// A watch of a [`KubeStore`](super::KubeStore).
#[derive(Debug)]
pub struct KubeWatch {
    server: Arc<Server>,
    scope: Scope,
    form: Form,
    following: Following,
}

impl KubeWatch {
    pub(super) fn new(server: Arc<Server>, scope: Scope, form: Form) -> KubeWatch {
        KubeWatch { server, scope, form, following: Following::default() }
    }
}

impl Watch for KubeWatch {
    async fn next(&mut self) -> Result<Event, WatchError> {
        let KubeWatch { server, scope, form, following } = self;
        let follow = |sender: Sender| {
            let (server, scope, form) = (server.clone(), scope.clone(), *form);
            async move { follow(&server, &scope, form, &sender).await }
        };
        following.next(follow).await
    }
}

/// Why a stream of events ended.
enum End {
    /// The server ended the stream, as it does from time to time, or the connection broke. The watch
    /// continues from the last revision.
    Over,
    /// Events were missed; the state has to be listed again.
    Gap,
    /// The watch was dropped.
    Unwanted,
    Failed(WatchError),
}

/// Sends the state and the events after it, and begins again after each gap. Ends with an error.
async fn follow(server: &Server, scope: &Scope, form: Form, sender: &Sender) -> WatchError {
    loop {
        match follow_once(server, scope, form, sender).await {
            End::Gap | End::Over => sleep(PAUSE).await,
            End::Unwanted => return WatchError::Interrupted("nobody listens".to_string()),
            End::Failed(error) => return error,
        }
    }
}

async fn follow_once(server: &Server, scope: &Scope, form: Form, sender: &Sender) -> End {
    let group = match server.group(Instant::now() + READ_WITHIN).await {
        Ok(group) => group,
        Err(fault) => return of_fault(fault),
    };
    let read = ScopeRead { scope: scope.clone(), depth: Depth::Full, page: None };
    let mut range = place::of_scope(group, scope).in_form(form);
    let mut listed = list_range(server, group, &range, &read, Instant::now() + READ_WITHIN).await;
    if form == Form::Short && listed.as_ref().is_err_and(|fault| fault.kind == FaultClass::Invalid) {
        // Calico's definitions let nobody select by the state of an affinity.
        range = place::of_scope(group, scope);
        listed = list_range(server, group, &range, &read, Instant::now() + READ_WITHIN).await;
    }
    let listed = match listed {
        Ok(listed) => listed,
        Err(fault) => return of_fault(fault),
    };
    let Some(revision) = listed.revision else { return End::Gap };
    let mut view = View::new();
    let mut known = HashMap::new();
    for (key, slot) in listed.slots {
        known.insert(range.position(group, &key), Known::Record(key.clone()));
        view.insert(key, slot);
    }
    for (position, stray) in listed.strays {
        known.insert(position, Known::Stray(stray.key.clone()));
        view.insert_stray(stray);
    }
    for event in present(view, scope, revision.clone()) {
        if sender.send(Ok(event)).await.is_err() {
            return End::Unwanted;
        }
    }
    let mut followed = Followed { server, group, scope, range, known, revision };
    let mut failures = 0;
    loop {
        let before = followed.revision.clone();
        match followed.events(sender).await {
            End::Over if followed.revision != before => failures = 0,
            End::Over if failures < FAILURES => failures += 1,
            end => return end,
        }
        sleep(PAUSE * failures).await;
    }
}

fn of_fault(fault: RequestFault) -> End {
    End::Failed(interrupted(fault))
}

/// What a watch tells of a request that failed.
pub(super) fn interrupted(fault: RequestFault) -> WatchError {
    match fault.into_error() {
        error if error.is_transient() => WatchError::Interrupted(error.to_string()),
        error => error.into(),
    }
}

/// A scope whose events are being followed.
struct Followed<'f> {
    server: &'f Server,
    group: Group,
    scope: &'f Scope,
    range: Range,
    /// The objects of which events were sent, by their position. So an object that is first flagged and then
    /// removed gives only one event.
    known: HashMap<String, Known>,
    /// The revision up to which all events were sent.
    revision: Revision,
}

/// What was last sent about an object.
#[derive(PartialEq, Eq)]
enum Known {
    Record(Key),
    /// It was sent as a stray, under this key.
    Stray(String),
}

impl Followed<'_> {
    /// Sends events on until the stream ends.
    async fn events(&mut self, sender: &Sender) -> End {
        let url = self.range.watch_url(self.revision.as_str(), LASTS);
        let mut body = match self.server.listen(url, self.range.is_short, Instant::now() + BEGIN_WITHIN).await
        {
            Ok(body) => body,
            Err(fault) => {
                return match fault.kind {
                    FaultClass::Gone(_) => End::Gap,
                    FaultClass::Unreachable
                    | FaultClass::BrokenOff
                    | FaultClass::Other
                    | FaultClass::Throttled(_) => End::Over,
                    _ => of_fault(fault),
                };
            }
        };
        let mut lines = Lines::default();
        loop {
            let more = tokio::select! {
                more = timeout(SILENCE, lines.more(&mut body)) => more.unwrap_or(false),
                () = sender.closed() => return End::Unwanted,
            };
            while let Some(line) = lines.next() {
                let told = match self.events_of(&line) {
                    Ok(told) => told,
                    Err(end) => return end,
                };
                for event in told {
                    if sender.send(Ok(event)).await.is_err() {
                        return End::Unwanted;
                    }
                }
            }
            if !more {
                return End::Over;
            }
        }
    }

    /// The events that a line of the watch stands for; none where the line tells nothing new.
    fn events_of(&mut self, line: &[u8]) -> Result<Vec<Event>, End> {
        let Ok(told) = serde_json::from_slice::<WatchLine<'_>>(line) else {
            // The connection broke within a line.
            return Err(End::Over);
        };
        let outer: Outer = serde_json::from_str(told.object.get()).unwrap_or_default();
        if told.what == "ERROR" {
            return Err(match outer.code {
                410 => End::Gap,
                code if code >= 500 || code == 429 => End::Over,
                _ => End::Failed(WatchError::Interrupted(outer.message)),
            });
        }
        self.revision = Revision::new(outer.metadata.revision);
        if told.what == "BOOKMARK" {
            return Ok(Vec::new());
        }
        let position = self.range.position_of(&outer.metadata.namespace, &outer.metadata.name);
        let event = match told.what {
            "DELETED" => None,
            _ => self.event(told.object.get(), &outer.metadata.name),
        };
        let now = event.as_ref().and_then(|event| match event {
            Event::Stray(error) => Some(Known::Stray(error.key.clone())),
            event => event.key().cloned().map(Known::Record),
        });
        let is_other = |before: &Known| now.as_ref() != Some(before);
        let gone = self.known.remove(&position).filter(is_other).map(|before| match before {
            Known::Record(key) => Event::Delete(key, self.revision.clone()),
            Known::Stray(key) => Event::StrayGone(key),
        });
        if let Some(now) = now {
            self.known.insert(position, now);
        }
        Ok(gone.into_iter().chain(event).collect())
    }

    /// The event for an object that exists; `None` where the object holds no record of the scope.
    fn event(&self, text: &str, name: &str) -> Option<Event> {
        let error = match decode(self.server, self.group, self.range.what, text) {
            Ok(object) => {
                let object = object.filter(|object| !object.is_deleted && self.scope.holds(&object.key))?;
                return Some(Event::Apply(Arc::new(record_of(object))));
            }
            Err(error) => error,
        };
        Some(match key_of_object(&self.range, name).filter(|key| self.scope.holds(key)) {
            Some(key) => {
                Event::Unreadable(key, Arc::new(Unreadable { error, revision: self.revision.clone() }))
            }
            None => Event::Stray(error),
        })
    }
}
