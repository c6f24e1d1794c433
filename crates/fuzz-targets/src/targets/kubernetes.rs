//! What an API server, a kubeconfig and a credential plugin say.

use store::kubernetes::door;

use super::Target;
use crate::input::{bounded, head, text, told};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "kubeconfig",
        what: "a kubeconfig; the files that it names are left out",
        run: kubeconfig,
    },
    Target { name: "credential-plugin", what: "what a credential plugin writes", run: plugin },
    Target { name: "watch", what: "the body of a watch of pods, in two parts", run: watch },
    Target { name: "pod-list", what: "a page of a list of pods", run: pods },
    Target { name: "server-answer", what: "an HTTP code, a newline, and the body of an answer", run: answer },
    Target { name: "server-url", what: "the URL of a server, or of a proxy", run: urls },
    Target { name: "pem", what: "certificates in PEM form", run: pem },
];

fn kubeconfig(bytes: &[u8]) {
    let text = text(bytes);
    if let Err(error) = door::read_kubeconfig(&text) {
        bounded("an error's text", error.to_string().len(), text.len(), 64);
    }
}

fn plugin(bytes: &[u8]) {
    if let Err(said) = door::plugin(bytes) {
        told(said, 0);
    }
    if let Err(said) = door::service_token(&text(bytes)) {
        told(said, 0);
    }
}

fn watch(bytes: &[u8]) {
    let whole = door::watch(bytes, bytes.len());
    bounded("the events", whole.0.len(), bytes.len(), 1);
    // Where the parts of a body end makes no difference.
    for middle in [bytes.len() / 2, bytes.len() / 3] {
        assert_eq!(door::watch(bytes, middle), whole);
    }
}

fn pods(bytes: &[u8]) {
    let text = text(bytes);
    match door::pods(&text) {
        Ok(pods) => bounded("the pods", pods.len(), text.len(), 1),
        Err(said) => told(said, text.len()),
    }
}

fn answer(bytes: &[u8]) {
    let (code, body) = head(bytes);
    let code = code.trim().parse().unwrap_or(500);
    let body = text(body);
    for is_write in [false, true] {
        let error = door::answer(code, &body, is_write);
        told(error, body.len());
    }
}

fn urls(bytes: &[u8]) {
    let text = text(bytes);
    let (authority, _) = door::urls(&text);
    if let Some(authority) = authority {
        assert!(!authority.contains('@'), "a password may stand in {authority}");
        assert_eq!(door::urls(&authority).0, Some(authority.clone()));
    }
}

fn pem(bytes: &[u8]) {
    let text = text(bytes);
    match door::certificates(&text) {
        Ok(count) => bounded("the certificates", count, text.len(), 1),
        Err(error) => told(error, 0),
    }
}
