//! The events of a watch after its list: one request after another, each from the last revision on.

use std::future::Future;
use std::time::Duration;

use api::Revision;
use tokio::time::{Instant, sleep, timeout};

use super::connection::Server;
use super::fault::{FaultClass, RequestFault};
use super::lines::{Lines, Outer, WatchLine};
use crate::error::WatchError;
use crate::following::{PAUSE, Sender};

/// How long the server may take to begin a watch.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);
/// When the server is to end a watch, in seconds. The watch then continues with another request.
pub(super) const LASTS: u64 = 290;
/// A watch without a line for so long is dead: the server sends its revision about once a minute.
const SILENCE: Duration = Duration::from_secs(LASTS + 30);
/// After so many requests in a row that ended without an event, the state is listed again: the list's error
/// says what is wrong.
const FAILURES: u32 = 5;

/// Why a stream of events ended.
pub(super) enum End {
    /// The server ended the stream, as it does from time to time, or the connection broke. The watch
    /// continues from the last revision.
    Over,
    /// Events were missed; the state has to be listed again.
    Gap,
    /// The watch was dropped.
    Unwanted,
    /// No request can mend it.
    Failed(WatchError),
}

/// What a watch tells of a request that failed.
pub(super) fn interrupted(fault: RequestFault) -> WatchError {
    match fault.into_error() {
        error if error.is_transient() => WatchError::Interrupted(error.to_string()),
        error => error.into(),
    }
}

impl From<RequestFault> for End {
    fn from(fault: RequestFault) -> End {
        End::Failed(interrupted(fault))
    }
}

/// Lists and follows, with `once`, until the watch is dropped or fails.
pub(super) async fn repeat<F: Future<Output = End>>(mut once: impl FnMut() -> F) -> WatchError {
    loop {
        match once().await {
            End::Gap | End::Over => sleep(PAUSE).await,
            End::Unwanted => return WatchError::Interrupted("nobody listens".to_string()),
            End::Failed(error) => return error,
        }
    }
}

/// An object as a line of the watch tells of it.
pub(super) struct Told<'l> {
    /// Whether the object was deleted.
    pub is_deleted: bool,
    /// The object's name and namespace.
    pub namespace: &'l str,
    pub name: &'l str,
    /// The object, whole or what the server sends of it.
    pub object: &'l str,
    /// The revision that the object has by this.
    pub revision: &'l Revision,
}

/// The stream of a watch.
pub(super) struct Stream<'s> {
    pub server: &'s Server,
    /// Whether only objects' metadata are wanted.
    pub is_short: bool,
    /// The revision up to which all events were sent.
    pub revision: Revision,
}

impl Stream<'_> {
    /// Sends the events that `events_of` makes of what the server tells, until the state has to be listed
    /// again. `url` is asked from a revision on.
    pub async fn follow<E>(
        mut self,
        url: impl Fn(&str) -> String,
        sender: &Sender<E>,
        mut events_of: impl FnMut(Told<'_>) -> Vec<E>,
    ) -> End {
        let mut failures = 0;
        loop {
            let before = self.revision.clone();
            match self.one(url(self.revision.as_str()), sender, &mut events_of).await {
                End::Over if self.revision != before => failures = 0,
                End::Over if failures < FAILURES => failures += 1,
                end => return end,
            }
            sleep(PAUSE * failures).await;
        }
    }

    /// Sends the events of one request.
    async fn one<E>(
        &mut self,
        url: String,
        sender: &Sender<E>,
        events_of: &mut impl FnMut(Told<'_>) -> Vec<E>,
    ) -> End {
        let mut body = match self.server.listen(url, self.is_short, Instant::now() + BEGIN_WITHIN).await {
            Ok(body) => body,
            Err(fault) => {
                return match fault.kind {
                    FaultClass::Gone(_) => End::Gap,
                    FaultClass::Unreachable
                    | FaultClass::BrokenOff
                    | FaultClass::Other
                    | FaultClass::Throttled(_) => End::Over,
                    _ => fault.into(),
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
                let told = match self.take(&line, events_of) {
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
    fn take<E>(
        &mut self,
        line: &[u8],
        events_of: &mut impl FnMut(Told<'_>) -> Vec<E>,
    ) -> Result<Vec<E>, End> {
        let Ok(line) = serde_json::from_slice::<WatchLine<'_>>(line) else {
            // The connection broke within a line.
            return Err(End::Over);
        };
        let Outer { metadata, code, message } = serde_json::from_str(line.object.get()).unwrap_or_default();
        if line.what == "ERROR" {
            return Err(match code {
                410 => End::Gap,
                // A server whose cache is behind another's (504) catches up.
                code if code >= 500 || code == 429 => End::Over,
                _ => End::Failed(WatchError::Interrupted(message)),
            });
        }
        self.revision = Revision::new(metadata.revision);
        if line.what == "BOOKMARK" {
            return Ok(Vec::new());
        }
        Ok(events_of(Told {
            is_deleted: line.what == "DELETED",
            namespace: &metadata.namespace,
            name: &metadata.name,
            object: line.object.get(),
            revision: &self.revision,
        }))
    }
}
