//! The lines of a watch, as the server sends them.

use std::collections::VecDeque;

use http_body_util::BodyExt;
use kube::client::Body;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::bounded;

/// A line of a watch.
#[derive(Deserialize)]
pub(super) struct WatchLine<'a> {
    #[serde(rename = "type")]
    pub(super) what: &'a str,
    #[serde(borrow)]
    pub(super) object: &'a RawValue,
}

/// What every object of a line has that is no error.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Outer {
    pub(super) metadata: Meta,
}

/// What the object of a line that tells of an error has.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) code: u16,
    pub(super) message: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Meta {
    pub(super) name: String,
    pub(super) namespace: String,
    #[serde(rename = "resourceVersion")]
    pub(super) revision: String,
}

/// Splits the body of a watch into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The bytes after the end of the last whole line.
    rest: Vec<u8>,
    whole: VecDeque<Vec<u8>>,
}

impl Lines {
    /// Waits for more of the body. Gives `false` at the body's end, and where a line exceeds the bound.
    pub(super) async fn more(&mut self, body: &mut Body) -> bool {
        let Some(Ok(frame)) = body.frame().await else { return false };
        frame.into_data().map_or(true, |data| self.take(&data))
    }

    /// Takes more of the body. Gives `false` where a line exceeds the bound.
    pub(super) fn take(&mut self, data: &[u8]) -> bool {
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(part);
            if self.rest.len() > bounded::OBJECT {
                return false;
            }
            if part.ends_with(b"\n") {
                self.whole.push_back(std::mem::take(&mut self.rest));
            }
        }
        true
    }

    /// The next whole line that has arrived.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        self.whole.pop_front()
    }
}
