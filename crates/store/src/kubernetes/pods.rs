//! A watch of all pods, as witnesses of who uses an address.

use std::collections::VecDeque;
use std::sync::Arc;

use api::crd::PodState;
use api::{DecodeError, Revision};
use kube::client::Body;
use tokio::time::{Instant, sleep, timeout};

use super::connection::Server;
use super::fault::{FaultClass, RequestFault};
use super::lines::{Lines, Outer, WatchLine};
use super::objects::{self, ObjectName};
use super::pages::{List, Paged, Pages};
use super::watching::{BEGIN_WITHIN, FAILURES, LASTS, READ_WITHIN, SILENCE, interrupted};
use crate::error::{StoreError, WatchError};
use crate::following::PAUSE;

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

/// A watch of all pods. The list that it begins with is consistent: it has every pod that existed when the
/// list was asked for.
#[derive(Debug)]
pub struct PodWatch {
    server: Arc<Server>,
    queued: VecDeque<PodEvent>,
    /// Up to where everything was told; `None` before the list.
    revision: Option<Revision>,
    stream: Option<(Body, Lines)>,
    /// How many streams in a row ended without an event.
    failures: u32,
}

impl PodWatch {
    pub(super) fn new(server: Arc<Server>) -> PodWatch {
        PodWatch { server, queued: VecDeque::new(), revision: None, stream: None, failures: 0 }
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// The watch can be asked again after an error; it then begins again.
    pub async fn next(&mut self) -> Result<PodEvent, WatchError> {
        loop {
            if let Some(event) = self.queued.pop_front() {
                return Ok(event);
            }
            let step = match (&mut self.stream, &self.revision) {
                (Some(_), _) => self.follow().await,
                (None, Some(_)) => self.begin().await,
                (None, None) => self.list().await,
            };
            if let Err(error) = step {
                (self.stream, self.revision) = (None, None);
                sleep(PAUSE).await;
                return Err(error);
            }
        }
    }

    async fn list(&mut self) -> Result<(), WatchError> {
        let (pods, revision) = list(&self.server, Instant::now() + READ_WITHIN).await.map_err(interrupted)?;
        self.queued.push_back(PodEvent::Init);
        self.queued.extend(pods);
        self.queued.push_back(PodEvent::InitDone);
        (self.revision, self.failures) = (Some(revision), 0);
        Ok(())
    }

    async fn begin(&mut self) -> Result<(), WatchError> {
        let Some(revision) = &self.revision else { return Ok(()) };
        let revision = revision.as_str();
        let url = format!(
            "{PATH}?watch=true&allowWatchBookmarks=true&resourceVersion={revision}&timeoutSeconds={LASTS}"
        );
        match self.server.listen(url, false, Instant::now() + BEGIN_WITHIN).await {
            Ok(body) => self.stream = Some((body, Lines::default())),
            Err(fault) if matches!(fault.kind, FaultClass::Gone(_)) => self.revision = None,
            Err(fault) => {
                // After some failures the list says what is wrong.
                self.failures += 1;
                if self.failures > FAILURES {
                    return Err(interrupted(fault));
                }
                sleep(PAUSE * self.failures).await;
            }
        }
        Ok(())
    }

    async fn follow(&mut self) -> Result<(), WatchError> {
        let Some((body, lines)) = &mut self.stream else { return Ok(()) };
        let more = timeout(SILENCE, lines.more(body)).await.unwrap_or(false);
        while let Some(line) = lines.next() {
            let Ok(told) = serde_json::from_slice::<WatchLine<'_>>(&line) else {
                // The connection broke within a line.
                self.stream = None;
                return Ok(());
            };
            let outer: Outer = serde_json::from_str(told.object.get()).unwrap_or_default();
            if told.what == "ERROR" {
                self.stream = None;
                match outer.code {
                    410 => self.revision = None,
                    // A server whose cache is behind (504) catches up.
                    code if code >= 500 || code == 429 => {
                        self.failures += 1;
                        if self.failures > FAILURES {
                            return Err(WatchError::Interrupted(outer.message));
                        }
                        sleep(PAUSE * self.failures).await;
                    }
                    _ => return Err(WatchError::Interrupted(outer.message)),
                }
                return Ok(());
            }
            self.failures = 0;
            let (namespace, name) = (outer.metadata.namespace, outer.metadata.name);
            self.revision = Some(Revision::new(outer.metadata.revision));
            match told.what {
                "BOOKMARK" => {}
                "DELETED" => self.queued.push_back(PodEvent::Delete(namespace, name)),
                _ => self.queued.push_back(match PodState::decode(told.object.get()) {
                    Ok(pod) => PodEvent::Apply(pod),
                    Err(error) => PodEvent::Unreadable(namespace, name, error),
                }),
            }
        }
        if !more {
            self.stream = None;
        }
        Ok(())
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
                let list: List<'_> = serde_json::from_str(&text)
                    .map_err(|error| RequestFault::nonsense(server.shown(), &error))?;
                pods.extend(list.items.unwrap_or_default().iter().map(|item| present(item.get())));
                at = revision;
            }
        }
    }
    Ok((pods, Revision::new(at)))
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
