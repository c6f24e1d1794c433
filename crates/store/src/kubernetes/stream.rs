//! The events of a watch after its list: one request after another, each from the last revision on.

use std::time::Duration;

use api::Revision;
use tokio::time::{Instant, sleep, timeout};

use super::connection::Server;
use super::fault::{FaultClass, RequestFault};
use super::lines::{Lines, Outer, Status, WatchLine};
use crate::error::WatchError;
use crate::following::{End, PAUSE, Sender};

/// How long the server may take to begin a watch.
const BEGIN_WITHIN: Duration = Duration::from_secs(10);
/// When the server is to end a watch, in seconds. The watch then continues with another request.
pub(super) const LASTS: u64 = 290;
/// A watch without a line for so long is dead: the server sends its revision about once a minute.
const SILENCE: Duration = Duration::from_secs(LASTS + 30);
/// After so many requests in a row that ended without an event, the state is listed again: the list's error
/// says what is wrong.
const FAILURES: u32 = 5;

impl From<RequestFault> for End {
    fn from(fault: RequestFault) -> End {
        End::Failed(WatchError::of(fault.into_error()))
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
                let told = match take(&line, &mut self.revision, events_of) {
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
}

/// The events that a line of the watch stands for; none where the line tells nothing new.
/// `revision` becomes the one that the line tells.
pub(super) fn take<E>(
    line: &[u8],
    revision: &mut Revision,
    events_of: &mut impl FnMut(Told<'_>) -> Vec<E>,
) -> Result<Vec<E>, End> {
    let Ok(line) = serde_json::from_slice::<WatchLine<'_>>(line) else {
        // The connection broke within a line.
        return Err(End::Over);
    };
    if line.what == "ERROR" {
        let Status { code, message } = serde_json::from_str(line.object.get()).unwrap_or_default();
        return Err(match code {
            410 => End::Gap,
            // A server whose cache is behind another's (504) catches up.
            code if code >= 500 || code == 429 => End::Over,
            _ => End::Failed(WatchError::Interrupted(message)),
        });
    }
    // Without its revision, the watch could not be continued after this event. Should the server send the
    // same again, the state is listed.
    let outer = serde_json::from_str(line.object.get()).ok();
    let Some(Outer { metadata }) = outer.filter(|outer: &Outer| !outer.metadata.revision.is_empty()) else {
        return Err(End::Over);
    };
    *revision = Revision::new(metadata.revision);
    if line.what == "BOOKMARK" {
        return Ok(Vec::new());
    }
    Ok(events_of(Told {
        is_deleted: line.what == "DELETED",
        namespace: &metadata.namespace,
        name: &metadata.name,
        object: line.object.get(),
        revision,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_tells() {
        let object = |rest: &str| format!(r#"{{"metadata":{{"name":"a","resourceVersion":"8"{rest}}}}}"#);
        let line = |what: &str, object: &str| format!(r#"{{"type":"{what}","object":{object}}}"#);
        for (line, told, after) in [
            (line("ADDED", &object("")), "a", "8"),
            (line("DELETED", &object(r#","namespace":"ns""#)), "gone ns/a", "8"),
            (line("ADDED", &object("").replacen('{', r#"{"code":70000,"message":null,"#, 1)), "a", "8"),
            (line("BOOKMARK", &object("")), "", "8"),
            (line("ERROR", r#"{"code":410,"message":"old"}"#), "gap", "7"),
            (line("ERROR", r#"{"code":504}"#), "over", "7"),
            (line("ERROR", r#"{"code":403,"message":"no"}"#), "no", "7"),
            // An object without its revision is not passed over, and the watch does not go on from nowhere.
            (line("ADDED", r#"{"metadata":{"name":"a"}}"#), "over", "7"),
            (line("ADDED", r#"{"metadata":{"name":5,"resourceVersion":"8"}}"#), "over", "7"),
            (line("BOOKMARK", "null"), "over", "7"),
            (r#"{"type":"ADDED","obj"#.to_string(), "over", "7"),
        ] {
            let mut revision = Revision::new("7");
            let mut events_of = |told: Told<'_>| {
                let place = if told.is_deleted { format!("gone {}/", told.namespace) } else { String::new() };
                vec![place + told.name]
            };
            let told_here = match take(line.as_bytes(), &mut revision, &mut events_of) {
                Ok(events) => events.join(" "),
                Err(End::Over) => "over".to_string(),
                Err(End::Gap) => "gap".to_string(),
                Err(End::Failed(WatchError::Interrupted(message))) => message,
                Err(_) => "another end".to_string(),
            };
            assert_eq!((told_here.as_str(), revision.as_str()), (told, after), "{line}");
        }
    }
}
