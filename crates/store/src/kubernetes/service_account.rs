//! What another program of this host needs for asking the same API server under an account of its own: the
//! server's address, and a token.

use std::fmt;

use api::Timestamp;
use api::crd::why_no_name;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value as Json, json};
use tokio::time::Instant;
use tower::BoxError;

use super::connection::{Question, Server};
use super::fault::{FaultClass, RequestFault};
use crate::error::StoreError;

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    /// The account's namespace.
    pub namespace: String,
    /// The account's name.
    pub name: String,
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A token of a service account.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceToken {
    /// The token. Secret.
    pub token: String,
    /// When the token ends. The server may give a shorter time than was asked for.
    pub expires: Timestamp,
}

/// Leaves out the token.
impl fmt::Debug for ServiceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Where an API server is, and how its certificate is checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// The URL, without a user and a password.
    pub server: String,
    /// The authorities that sign the server's certificate, as PEM; `None` for the system's.
    pub authorities: Option<String>,
    /// Whether the server's certificate is not checked.
    pub is_unchecked: bool,
    /// The name that the server's certificate must have, where it is not the URL's host.
    pub certificate_name: Option<String>,
    /// The proxy that the kubeconfig names. Secret: it may hold a password.
    pub proxy: Option<String>,
}

/// Leaves out the proxy.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("server", &self.server).finish_non_exhaustive()
    }
}

/// The address of a server.
pub(super) fn address(server: &Server) -> Address {
    let config = server.config();
    let url = &config.cluster_url;
    let port = url.port_u16().map_or(String::new(), |port| format!(":{port}"));
    let host = url.host().unwrap_or_default();
    let path = url.path().trim_end_matches('/');
    let pem = |der: &Vec<u8>| {
        let text = STANDARD.encode(der);
        // The text is of base64's letters alone, so every cut is between characters.
        let lines: Vec<&str> =
            (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    Address {
        server: format!("{}://{host}{port}{path}", url.scheme_str().unwrap_or("https")),
        authorities: config.root_cert.as_ref().map(|all| all.iter().map(pem).collect()),
        is_unchecked: config.accept_invalid_certs,
        certificate_name: config.tls_server_name.clone(),
        proxy: config.proxy_url.as_ref().map(ToString::to_string),
    }
}

/// Asks for a token that lasts `seconds`; `None` where no account has that name.
pub(super) async fn token(
    server: &Server,
    account: &ServiceAccount,
    seconds: u32,
    deadline: Instant,
) -> Result<Option<ServiceToken>, StoreError> {
    let ServiceAccount { namespace, name } = account;
    // A name from outside must not lead to another path.
    if why_no_name(name).is_some() || why_no_name(namespace).is_some() {
        return Ok(None);
    }
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": seconds}});
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
    let text = match server.ask(Question::send(Method::POST, path, request.to_string()), deadline).await {
        Ok(text) => text,
        Err(fault) if fault.kind == FaultClass::Absent => return Ok(None),
        Err(fault) => return Err(fault.into_error()),
    };
    let nonsense = |why: &str| RequestFault::nonsense(server.shown(), &*BoxError::from(why)).into_error();
    token_in(&text).map(Some).map_err(nonsense)
}

/// The token in the server's answer. The error is not told in the parser's words, which may quote the token.
pub(super) fn token_in(text: &str) -> Result<ServiceToken, &'static str> {
    let answer: Json = serde_json::from_str(text).map_err(|_| "it is no JSON")?;
    let field = |name: &str| answer["status"][name].as_str();
    let expires = field("expirationTimestamp").and_then(api::time::parse_rfc3339);
    match (field("token"), expires) {
        (Some(token), Some(expires)) => Ok(ServiceToken { token: token.to_string(), expires }),
        _ => Err("it holds no token, or no time at which the token ends"),
    }
}
