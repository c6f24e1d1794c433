//! The pages of a list.

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::bounded;
use super::connection::{Question, Server};
use super::fault::{FaultClass, RequestFault};

/// A list while it is read, page by page.
pub(super) struct Pages<'l> {
    server: &'l Server,
    /// The URL of the first page.
    url: String,
    token: String,
    is_over: bool,
    bytes: usize,
}

/// What comes next of a list.
pub(super) enum Paged {
    /// The text of a page, and the revision of the list.
    Page(String, String),
    /// The server cannot go on, for the list has lasted too long: what was read so far is to be forgotten.
    Anew,
}

/// A page, its objects unread.
#[derive(Deserialize)]
pub(super) struct List<'a> {
    #[serde(default)]
    pub(super) metadata: ListMeta,
    #[serde(borrow, default)]
    pub(super) items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct ListMeta {
    /// With which the list goes on; empty at its end.
    #[serde(rename = "continue")]
    pub(super) token: String,
    #[serde(rename = "resourceVersion")]
    pub(super) revision: String,
}

/// A page, of which only the frame is read.
#[derive(Deserialize)]
struct Frame {
    #[serde(default)]
    metadata: ListMeta,
}

impl<'l> Pages<'l> {
    /// The list of the objects under a path. `more` is added to the question, and begins with `&`.
    pub(super) fn of(server: &'l Server, path: &str, limit: usize, more: &str) -> Pages<'l> {
        let url = format!("{path}?limit={limit}{more}");
        Pages { server, url, token: String::new(), is_over: false, bytes: 0 }
    }

    /// The next page; `None` at the end.
    pub(super) async fn next(&mut self, deadline: Instant) -> Result<Option<Paged>, RequestFault> {
        if self.is_over {
            return Ok(None);
        }
        let mut url = self.url.clone();
        if !self.token.is_empty() {
            url.push_str(&format!("&continue={}", self.token));
        }
        let question = Question { most: bounded::PAGE, ..Question::get(url) };
        let text = match self.server.ask(question, deadline).await {
            Ok(text) => text,
            Err(RequestFault { kind: FaultClass::Gone(_), .. }) if !self.token.is_empty() => {
                self.token.clear();
                return Ok(Some(Paged::Anew));
            }
            Err(fault) => return Err(fault),
        };
        self.bytes += text.len();
        if self.bytes > bounded::LIST {
            return Err(RequestFault::endless(self.server.shown(), bounded::LIST));
        }
        let Frame { metadata } = serde_json::from_str(&text)
            .map_err(|error| RequestFault::nonsense(self.server.shown(), &error))?;
        self.token = metadata.token;
        self.is_over = self.token.is_empty();
        Ok(Some(Paged::Page(text, metadata.revision)))
    }
}
