//! The readers of what an API server, a kubeconfig or a credential plugin says, as plain functions of bytes,
//! for tests of other crates.

use api::Revision;
use http::{Method, StatusCode};

use super::connection::Question;
use super::fault::RequestFault;
use super::lines::Lines;
use super::pods::{PodEvent, event_of, events_of_page};
use super::{exec, kubeconfig, options, proxy, service_account, stream};
use crate::error::StoreError;
use crate::following::End;

/// Reads the body of a watch of pods, which comes in two parts. Gives the events, the revision that the watch
/// has then, and how it ended, where a line ended it.
pub fn watch(body: &[u8], middle: usize) -> (Vec<PodEvent>, String, Option<String>) {
    let (mut lines, mut events) = (Lines::default(), Vec::new());
    let mut revision = Revision::new("1");
    let (first, second) = body.split_at(middle.min(body.len()));
    for part in [first, second] {
        if !lines.take(part) {
            return (events, revision.as_str().to_string(), Some("a line exceeds the bound".to_string()));
        }
        while let Some(line) = lines.next() {
            match stream::take(&line, &mut revision, &mut |told| vec![event_of(&told)]) {
                Ok(told) => events.extend(told),
                Err(end) => return (events, revision.as_str().to_string(), Some(name_of(&end))),
            }
        }
    }
    (events, revision.as_str().to_string(), None)
}

fn name_of(end: &End) -> String {
    match end {
        End::Failed(error) => error.to_string(),
        End::Gap => "gap".to_string(),
        End::Over => "over".to_string(),
        End::Unwanted => "unwanted".to_string(),
    }
}

/// Reads a page of a list of pods.
pub fn pods(text: &str) -> Result<Vec<PodEvent>, String> {
    events_of_page(text).map_err(|error| error.to_string())
}

/// Reads a kubeconfig, without the files that it names. Gives whether it names a server that can be one.
pub fn read_kubeconfig(text: &str) -> Result<bool, StoreError> {
    kubeconfig::read_without_files(text)
}

/// Reads what a credential plugin wrote. Gives whether it gave a token, and whether a certificate.
pub fn plugin(stdout: &[u8]) -> Result<(bool, bool), String> {
    exec::given_in(stdout.to_vec()).map(|given| {
        (given.token.is_some(), given.client_certificate_data.is_some() && given.client_key_data.is_some())
    })
}

/// Reads the answer to a request for a service account's token, and gives the token.
pub fn service_token(text: &str) -> Result<String, &'static str> {
    service_account::token_in(text).map(|found| found.token)
}

/// The error that a server's answer with that code stands for. The request was a write where `is_write`.
pub fn answer(code: u16, text: &str, is_write: bool) -> StoreError {
    let url = "/apis/crd.projectcalico.org/v1/ipamblocks/10-0-0-0-26".to_string();
    let question = match is_write {
        true => Question::send(Method::PUT, url, "{}".to_string()),
        false => Question::get(url),
    };
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST);
    RequestFault::answered("https://10.0.0.1:6443", &question, code, text, None).into_error()
}

/// Reads the URL of a server and that of a proxy: scheme, host and port of the server, and whether the text
/// can be a proxy's.
pub fn urls(text: &str) -> (Option<String>, bool) {
    (options::authority_of(text), proxy::url(text, "HTTPS_PROXY").is_ok())
}

/// Reads certificates in PEM form. Gives how many there are.
pub fn certificates(text: &str) -> Result<usize, StoreError> {
    options::certificates(text, "certificate-authority").map(|all| all.len())
}
