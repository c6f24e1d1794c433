//! Classifies the errors of etcd and of the connection to it by what a caller can do about them.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use etcd_client::Error;
use rustls::{CertificateError, Error as TlsError};
use tonic::{Code, ConnectError, Status};

use super::silence::Silence;
use crate::cause::{self, ABOUT_US, find};
use crate::error::StoreError;

/// The class of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultClass {
    /// The member cannot be reached.
    Unreachable,
    /// The member brings nothing.
    Silent,
    /// The member has no leader, or lost the request on the way to one.
    Leaderless,
    /// The server that answers is not etcd, or its certificate does not prove that it belongs to this
    /// cluster.
    Impostor,
    /// This client has no permission, or the member does not accept its user or its certificate.
    Denied,
    /// Users or roles have changed since the token was given; a new token helps.
    StaleToken,
    /// The database has reached its quota.
    Full,
    /// The request is too large.
    TooLarge,
    /// The transaction has too many operations.
    TooMany,
    /// The server is overloaded.
    Throttled,
    /// Anything else.
    Other,
}

/// Why a request got no answer.
#[derive(Clone, Debug)]
pub(super) struct RequestFault {
    pub(super) kind: FaultClass,
    /// Whether the member may have carried out the request although no answer came.
    pub(super) in_doubt: bool,
    /// The message; it names the member and the remedy.
    pub(super) text: String,
}

impl RequestFault {
    /// Whether the fault is the member's own, so that another member may answer.
    pub(super) fn is_of_member(&self) -> bool {
        matches!(
            self.kind,
            FaultClass::Unreachable | FaultClass::Silent | FaultClass::Leaderless | FaultClass::Impostor
        )
    }

    /// The connection could not be made; nothing was sent.
    pub(super) fn connecting(url: &str, error: &(dyn StdError + 'static)) -> RequestFault {
        let (kind, text) = connection_fault(url, error);
        RequestFault { kind, in_doubt: false, text }
    }

    /// The member did not connect or did not answer within `waited`.
    pub(super) fn silent(url: &str, waited: Duration, in_doubt: bool) -> RequestFault {
        let text = format!(
            "etcd at {url} gave no answer within {waited:?}. Check that the member runs and that most members of its cluster do"
        );
        RequestFault { kind: FaultClass::Silent, in_doubt, text }
    }

    /// Classifies the error of a request that was sent on a connection.
    pub(super) fn asking(url: &str, error: &Error) -> RequestFault {
        match error {
            Error::GRpcStatus(status) if status.source().is_some() => RequestFault::on_the_way(url, status),
            Error::GRpcStatus(status) => RequestFault::answered(url, status),
            other => RequestFault {
                kind: FaultClass::Other,
                in_doubt: true,
                text: format!("etcd at {url}: {other}"),
            },
        }
    }

    /// The connection failed before an answer came.
    fn on_the_way(url: &str, status: &Status) -> RequestFault {
        if let Some(Silence(silence)) = find::<Silence>(status) {
            return RequestFault::silent(url, *silence, true);
        }
        let (kind, text) = connection_fault(url, status);
        // tonic connects again by itself. While it could not connect, it has sent nothing.
        let in_doubt = find::<ConnectError>(status).is_none() && !cause::was_not_processed(status);
        if kind == FaultClass::Unreachable
            && find::<ConnectError>(status).is_none()
            && url.starts_with("https")
        {
            let hint = "If it wants a client certificate, check etcdCertFile and etcdKeyFile (ETCD_CERT_FILE, ETCD_KEY_FILE)";
            return RequestFault { kind, in_doubt, text: format!("{text}. {hint}") };
        }
        RequestFault { kind, in_doubt, text }
    }

    /// The server's answer (`api/v3rpc/rpctypes/error.go`).
    fn answered(url: &str, status: &Status) -> RequestFault {
        let said = match status.message().trim() {
            "" => format!("it gives no reason ({})", status.code().description()),
            said => outside::cut_short(said),
        };
        let said = said.as_str();
        let at = format!("etcd at {url}: {said}");
        let is = |words: &str| said.contains(words);
        let (kind, in_doubt, text) = match status.code() {
            Code::Unavailable if is("no leader") => (
                FaultClass::Leaderless,
                false,
                format!("{at}. Fewer than half of the members can be reached; start them"),
            ),
            Code::Unavailable if is("rpc not supported for learner") => (FaultClass::Leaderless, false, at),
            Code::Unavailable if is("etcdserver:") => (
                FaultClass::Leaderless,
                true,
                format!("{at}. The cluster is changing its leader, has no quorum, or is overloaded"),
            ),
            Code::ResourceExhausted if is("database space exceeded") => (
                FaultClass::Full,
                false,
                format!(
                    "{at}. Compact and defragment it (etcdctl compact, defrag), then clear the alarm (etcdctl alarm disarm), or raise --quota-backend-bytes"
                ),
            ),
            Code::ResourceExhausted if is("larger than max") => (FaultClass::TooLarge, false, at),
            Code::ResourceExhausted => (FaultClass::Throttled, false, at),
            Code::InvalidArgument if is("request is too large") => {
                (FaultClass::TooLarge, false, format!("{at}. Raise --max-request-bytes of etcd"))
            }
            Code::InvalidArgument if is("too many operations") => {
                (FaultClass::TooMany, false, format!("{at}. Raise --max-txn-ops of etcd"))
            }
            Code::InvalidArgument if is("revision of auth store is old") => {
                (FaultClass::StaleToken, false, at)
            }
            Code::Unauthenticated => (FaultClass::StaleToken, false, at),
            Code::InvalidArgument if is("authentication failed") => (
                FaultClass::Denied,
                false,
                format!("{at}. Check etcdUsername and etcdPassword (ETCD_USERNAME, ETCD_PASSWORD)"),
            ),
            Code::InvalidArgument if is("user name is empty") => (
                FaultClass::Denied,
                false,
                format!(
                    "{at}. This etcd wants a user: set etcdUsername and etcdPassword (ETCD_USERNAME, ETCD_PASSWORD), or a client certificate"
                ),
            ),
            Code::PermissionDenied => (
                FaultClass::Denied,
                false,
                format!("{at}. The user needs a role with readwrite permission on the prefix /calico/"),
            ),
            Code::OutOfRange if is("message length too large") => (
                FaultClass::TooLarge,
                true,
                format!(
                    "the answer of etcd at {url} is larger than the {} that it may have, and was not read. Check the endpoints (etcdEndpoints, ETCD_ENDPOINTS)",
                    outside::Size(super::members::ANSWER)
                ),
            ),
            Code::FailedPrecondition | Code::NotFound => (FaultClass::Other, false, at),
            Code::Unimplemented => (
                FaultClass::Impostor,
                false,
                format!(
                    "what answers at {url} is no etcd v3: {said}. Check the endpoints (etcdEndpoints, ETCD_ENDPOINTS)"
                ),
            ),
            _ if said.contains("etcdserver:") => (FaultClass::Other, true, at),
            code => (
                FaultClass::Impostor,
                true,
                format!(
                    "what answers at {url} does not speak as etcd v3 does ({code:?}: {said}). Check the endpoints (etcdEndpoints, ETCD_ENDPOINTS)"
                ),
            ),
        };
        RequestFault { kind, in_doubt, text }
    }

    /// The error that callers of the port get, where the call as a whole failed.
    pub(super) fn into_error(self) -> StoreError {
        match self.kind {
            FaultClass::Unreachable | FaultClass::Silent | FaultClass::Leaderless | FaultClass::Other => {
                StoreError::Unavailable(self.text)
            }
            FaultClass::Denied | FaultClass::StaleToken => StoreError::Denied(self.text),
            FaultClass::Throttled => {
                StoreError::Throttled { after: Duration::from_secs(1), reason: self.text }
            }
            FaultClass::Impostor | FaultClass::Full | FaultClass::TooLarge | FaultClass::TooMany => {
                StoreError::Unusable(self.text)
            }
        }
    }

    /// One fault for a request that every member failed to answer; its text joins all texts.
    pub(super) fn of_all(mut faults: Vec<RequestFault>) -> RequestFault {
        let mut texts: Vec<String> = Vec::new();
        for fault in &faults {
            if !texts.contains(&fault.text) {
                texts.push(fault.text.clone());
            }
        }
        // One unusable endpoint must not make the whole fault permanent: a fault that may pass decides the
        // class.
        let passing = faults.iter().position(|fault| fault.kind != FaultClass::Impostor).unwrap_or(0);
        let fault = faults.swap_remove(passing);
        RequestFault { text: texts.join("; "), ..fault }
    }
}

/// Classifies an error of connecting, or of a connection that broke.
fn connection_fault(url: &str, error: &(dyn StdError + 'static)) -> (FaultClass, String) {
    match find::<TlsError>(error) {
        Some(TlsError::InvalidCertificate(reason)) => {
            let why = match reason {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "has expired. Renew it, or set the clock right"
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "is not valid yet. Set the clock right"
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "is not for that host. Name the endpoint as its certificate does"
                }
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    "is not signed by a trusted authority. Give the right one as etcdCACertFile (ETCD_CA_CERT_FILE)"
                }
                _ => "is not acceptable",
            };
            (FaultClass::Impostor, format!("the certificate of etcd at {url} {why} ({reason})"))
        }
        Some(TlsError::AlertReceived(alert)) if ABOUT_US.contains(alert) => {
            (FaultClass::Denied, unknown_client(url))
        }
        Some(TlsError::InvalidMessage(_)) => (
            FaultClass::Impostor,
            format!("what answers at {url} does not speak TLS. If it is etcd without TLS, name it http://"),
        ),
        Some(other) => (FaultClass::Impostor, format!("TLS with etcd at {url} failed: {other}")),
        None if url.starts_with("https") && is_broken_off(error) => (
            FaultClass::Unreachable,
            format!(
                "what answers at {url} breaks off the TLS handshake. If it is etcd without TLS, name it http://"
            ),
        ),
        None if is_about_us(&chain(error)) => (FaultClass::Denied, unknown_client(url)),
        None => (
            FaultClass::Unreachable,
            format!(
                "etcd at {url} cannot be reached: {}. Check the endpoints (etcdEndpoints, ETCD_ENDPOINTS; http or https) and that it runs there",
                chain(error)
            ),
        ),
    }
}

/// Whether a connection ended while it was being made.
fn is_broken_off(error: &(dyn StdError + 'static)) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    let ended = |error: &io::Error| matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof);
    find::<ConnectError>(error).is_some() && find::<io::Error>(error).is_some_and(ended)
}

fn unknown_client(url: &str) -> String {
    format!(
        "etcd at {url} does not accept the client certificate, or wants one where none is given. Check etcdCertFile and etcdKeyFile (ETCD_CERT_FILE, ETCD_KEY_FILE)"
    )
}

/// Whether the text is an alert about our certificate. With TLS 1.3 the alert arrives after the handshake,
/// and HTTP/2's errors keep only its text.
fn is_about_us(text: &str) -> bool {
    ABOUT_US.iter().any(|alert| text.contains(&TlsError::AlertReceived(*alert).to_string()))
}

/// The messages of an error and of its causes. `Display` of a status repeats its causes, so only its message
/// is taken.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    cause::chain(error, |error| {
        error
            .downcast_ref::<Status>()
            .map_or_else(|| error.to_string(), |status| status.message().to_string())
    })
}
