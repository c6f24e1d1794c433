//! Reads the API server's audit log.

use std::fs;

use serde_json::Value as Json;

use super::KubeServer;

/// A request that the API server has answered; a watch appears when its answer begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The user who sent the request.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, ...
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// The HTTP status of the answer.
    pub code: u16,
}

/// The answered requests of a user in an audit log, as the server describes them.
pub(super) fn events(log: &str, user: &str) -> impl Iterator<Item = Json> {
    let lines = log.lines().filter(move |line| line.contains(user));
    let events = lines.filter_map(|line| serde_json::from_str::<Json>(line).ok());
    events.filter(move |event| event["user"]["username"] == user)
}

impl KubeServer {
    /// All requests of a user since the start, in the order of their answers. A request is in the log before
    /// its client has the answer.
    ///
    /// # Panics
    /// When the audit log cannot be read.
    pub fn requests_of(&self, user: &str) -> Vec<Request> {
        let text = fs::read_to_string(self.audit_log()).expect("the API server writes an audit log");
        let requests = events(&text, user).filter_map(|event| {
            let (stage, verb) = (event["stage"].as_str()?, event["verb"].as_str()?);
            let counts =
                if verb == "watch" { stage == "ResponseStarted" } else { stage == "ResponseComplete" };
            let request = Request {
                user: user.to_string(),
                verb: verb.to_string(),
                uri: event["requestURI"].as_str()?.to_string(),
                code: event["responseStatus"]["code"].as_u64().and_then(|code| code.try_into().ok())?,
            };
            counts.then_some(request)
        });
        requests.collect()
    }
}
