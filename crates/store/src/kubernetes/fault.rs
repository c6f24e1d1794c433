//! Classifies the errors of the API server and of the connection to it by what a caller can do about them.

use std::error::Error as StdError;
use std::time::Duration;

use http::StatusCode;
use hyper_util::client::legacy::Error as ClientError;
use rustls::{AlertDescription, CertificateError, Error as TlsError};
use serde::Deserialize;

use super::connection::{Question, UnusableCertificates, WithoutHttp2};
use crate::batch::Current;
use crate::cause::{self, ABOUT_US, find};
use crate::error::{Refusal, StoreError};

/// The class of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FaultClass {
    /// The server cannot be reached, or did not answer.
    Unreachable,
    /// The connection went away before the answer came, and nothing is in doubt: the request was a read, or a
    /// write that was certainly not carried out. It can be sent again at once.
    BrokenOff,
    /// The server that answers is not this cluster's API server, or its certificate does not prove that it
    /// is.
    Impostor,
    /// The server does not recognise this client's credentials.
    Unknown,
    /// This client's user has no right to do this.
    Forbidden,
    /// The object does not exist. Another object of the same name may.
    Absent,
    /// The server does not have this kind of object.
    NotInstalled,
    /// An object of that name exists.
    Exists,
    /// The object has changed since the revision that the request names.
    Conflict,
    /// The server no longer has the state at which a list should continue or a watch should begin. Holds the
    /// token with which the list can continue from a later state, where the server gave one.
    Gone(Option<String>),
    /// The server's rules refuse the object.
    Invalid,
    /// The server's rules refuse the object's name.
    Name,
    /// The object is too large.
    TooLarge,
    /// The server asks the client to wait this long.
    Throttled(Duration),
    /// The answer exceeds the bound for its kind.
    Endless,
    /// The server failed while it processed the request.
    Other,
}

/// Why a request got no good answer.
#[derive(Clone, Debug)]
pub(super) struct RequestFault {
    pub(super) kind: FaultClass,
    /// Whether the server may have carried out the request although no good answer came.
    pub(super) in_doubt: bool,
    /// The message; it names the server and the remedy.
    pub(super) text: String,
}

/// The server's `Status`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
    details: Details,
    metadata: ListMeta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    name: String,
    causes: Vec<Cause>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    field: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListMeta {
    #[serde(rename = "continue")]
    token: String,
}

impl RequestFault {
    fn new(kind: FaultClass, text: String) -> RequestFault {
        RequestFault { kind, in_doubt: false, text }
    }

    /// The server did not answer in time; where `silence` is given, it brought nothing for so long.
    pub(super) fn silent(url: &str, silence: Option<Duration>, in_doubt: bool) -> RequestFault {
        let late = silence.map_or("in time".to_string(), |silence| format!("within {silence:?}"));
        let text = format!(
            "the Kubernetes API server at {url} gave no answer {late}. Check that it runs, that its etcd does, and that nothing on the way to it drops packets"
        );
        RequestFault { kind: FaultClass::Unreachable, in_doubt, text }
    }

    /// This client's own limit on requests would let the request go only after the deadline.
    pub(super) fn paced(url: &str, wait: Duration) -> RequestFault {
        let text = format!(
            "too many requests to the Kubernetes API server at {url} for the limit of this process. Raise K8S_CLIENT_QPS and K8S_CLIENT_BURST"
        );
        RequestFault::new(FaultClass::Throttled(wait), text)
    }

    /// An answer larger than `most` bytes.
    pub(super) fn endless(url: &str, most: usize) -> RequestFault {
        let text = format!(
            "the answer of the Kubernetes API server at {url} is larger than the {} that it may have, and was not read to its end. Check the endpoint (the kubeconfig's server, K8S_API_ENDPOINT)",
            outside::Size(most)
        );
        RequestFault::new(FaultClass::Endless, text)
    }

    /// There are no credentials.
    pub(super) fn nobody(url: &str, why: &str) -> RequestFault {
        let text = format!(
            "the credentials for the Kubernetes API server at {url} cannot be had: {why}. Check the kubeconfig's user"
        );
        RequestFault::new(FaultClass::Unknown, text)
    }

    /// An answer that an API server does not give.
    pub(super) fn nonsense(url: &str, error: &dyn StdError) -> RequestFault {
        let text = format!(
            "what answers at {url} does not speak as a Kubernetes API server does ({error}). Check the endpoint (the kubeconfig's server, K8S_API_ENDPOINT)"
        );
        RequestFault::new(FaultClass::Impostor, text)
    }

    /// The connection failed before the answer had come in whole.
    pub(super) fn on_the_way(url: &str, error: &kube::Error, is_write: bool) -> RequestFault {
        let connecting = find::<ClientError>(error).is_some_and(ClientError::is_connect);
        let before = connecting || matches!(error, kube::Error::HttpError(_));
        let (kind, text) = connection_fault(url, error);
        let is_harmless = before || cause::was_not_processed(error);
        let in_doubt =
            is_write && !is_harmless && !matches!(kind, FaultClass::Impostor | FaultClass::Unknown);
        let is_broken_off = kind == FaultClass::Unreachable && !before && !in_doubt;
        let kind = if is_broken_off { FaultClass::BrokenOff } else { kind };
        RequestFault { kind, in_doubt, text }
    }

    /// The server's answer.
    pub(super) fn answered(
        url: &str,
        question: &Question,
        code: StatusCode,
        text: &str,
        wait: Option<Duration>,
    ) -> RequestFault {
        let status: Option<Status> = serde_json::from_str(text).ok();
        let is_status = status.is_some();
        let status = status.unwrap_or_default();
        let said = if status.message.is_empty() { text } else { status.message.as_str() };
        let said = match said.trim() {
            // The message for these status codes is made below, and names the code.
            "" if code.as_u16() >= 500 => "it gives no reason".to_string(),
            "" => format!("it gives no reason ({code})"),
            said => outside::cut_short(said),
        };
        let said = said.as_str();
        let at = format!("the Kubernetes API server at {url}: {said}");
        let all_causes = |field: &str| {
            !status.details.causes.is_empty() && status.details.causes.iter().all(|c| c.field == field)
        };
        let (kind, text) = match code.as_u16() {
            401 => (
                FaultClass::Unknown,
                format!(
                    "the Kubernetes API server at {url} does not accept the credentials ({said}): a token or client certificate that is wrong or has expired. Check the kubeconfig's user, or the token that was given (k8sAPIToken, CALICO_K8SAPITOKEN)"
                ),
            ),
            403 => match right(said) {
                Some(remedy) => (FaultClass::Forbidden, format!("{at}. {remedy}")),
                None => (FaultClass::Invalid, at),
            },
            404 if is_status && !status.details.name.is_empty() => (FaultClass::Absent, at),
            404 => (FaultClass::NotInstalled, not_installed(url, question)),
            409 if status.reason == "AlreadyExists" => (FaultClass::Exists, at),
            // The object of that UID is gone: the server says `UID in precondition`.
            409 if said.contains("UID in precondition") => (FaultClass::Absent, at),
            409 => (FaultClass::Conflict, at),
            410 => (FaultClass::Gone(Some(status.metadata.token).filter(|token| !token.is_empty())), at),
            413 => (FaultClass::TooLarge, at),
            _ if said.contains("request is too large")
                || said.contains("trying to send message larger than max") =>
            {
                (FaultClass::TooLarge, at)
            }
            422 if all_causes("metadata.uid") => (FaultClass::Absent, at),
            422 if all_causes("metadata.resourceVersion") => (FaultClass::Conflict, at),
            422 if all_causes("metadata.name") => (FaultClass::Name, at),
            // The server's message names the object and all that is wrong with it. Calico shows it as it is.
            422 if is_status => (FaultClass::Invalid, said.to_string()),
            400 | 405 | 406 | 415 | 422 => (FaultClass::Invalid, at),
            429 => (FaultClass::Throttled(wait.unwrap_or_default()), at),
            500.. => (
                FaultClass::Other,
                format!("{at} ({code}). The server, its etcd, or an admission webhook of the cluster fails"),
            ),
            _ => (
                FaultClass::Impostor,
                format!(
                    "what answers at {url} does not speak as a Kubernetes API server does ({code}: {said}). Check the endpoint (the kubeconfig's server, K8S_API_ENDPOINT)"
                ),
            ),
        };
        let text = match kind == FaultClass::Invalid && is_of_admission(said) {
            true => {
                format!("{text}. The policy or webhook named there must let {} be written", kind_of(question))
            }
            false => text,
        };
        // A server that fails may have carried out the write before it failed.
        let in_doubt = question.is_write() && kind == FaultClass::Other;
        RequestFault { kind, in_doubt, text }
    }

    /// The refusal of a write; `None` where the fault is not the record's.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        let text = || self.text.clone();
        Some(match self.kind {
            FaultClass::Absent => Refusal::Conflict(Current::Absent),
            FaultClass::Exists | FaultClass::Conflict => Refusal::Conflict(Current::Unknown),
            FaultClass::Invalid => Refusal::Invalid(text()),
            FaultClass::Name => Refusal::Name(text()),
            FaultClass::TooLarge => Refusal::TooLarge(text()),
            FaultClass::Forbidden => Refusal::Denied(text()),
            _ => return None,
        })
    }

    /// The error that callers of the port get, where the call as a whole failed.
    pub(super) fn into_error(self) -> StoreError {
        match self.kind {
            FaultClass::Unreachable
            | FaultClass::BrokenOff
            | FaultClass::Other
            | FaultClass::Gone(_)
            | FaultClass::Exists
            | FaultClass::Conflict
            | FaultClass::Absent => StoreError::Unavailable(self.text),
            FaultClass::Unknown | FaultClass::Forbidden => StoreError::Denied(self.text),
            FaultClass::Throttled(after) => StoreError::Throttled { after, reason: self.text },
            FaultClass::Impostor
            | FaultClass::Endless
            | FaultClass::NotInstalled
            | FaultClass::Invalid
            | FaultClass::Name
            | FaultClass::TooLarge => StoreError::Unusable(self.text),
        }
    }
}

/// Which right to grant, where the server says that one is missing: `... User "u" cannot create resource "r"
/// in API group "g" ...`.
fn right(said: &str) -> Option<String> {
    let (before, after) = said.split_once("\" cannot ")?;
    let user = before.rsplit_once("User \"")?.1;
    let (verb, after) = after.split_once(" resource \"")?;
    let (resource, after) = after.split_once('"')?;
    let group =
        after.split_once("in API group \"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(g, _)| g);
    Some(format!(
        "Give {user} a role with the rule {{apiGroups: [\"{group}\"], resources: [\"{resource}\"], verbs: [\"{verb}\"]}}"
    ))
}

/// Whether a policy or a webhook of the cluster refused the object (`apiserver/pkg/admission/plugin`).
fn is_of_admission(said: &str) -> bool {
    said.contains(" denied request") || said.contains(" denied the request")
}

/// The kind of object that a request is about: `ipamhandles.crd.projectcalico.org`.
fn kind_of(question: &Question) -> String {
    let path = question.url.split('?').next().unwrap_or_default();
    match path.trim_start_matches('/').split('/').collect::<Vec<_>>()[..] {
        ["apis", group, _, plural, ..] => format!("{plural}.{group}"),
        _ => path.to_string(),
    }
}

/// The message for a collection that the server does not have.
fn not_installed(url: &str, question: &Question) -> String {
    let path = question.url.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts[..] {
        ["apis", group, version, plural, ..] => format!(
            "the Kubernetes API server at {url} has no {plural} in {group}/{version}: Calico's custom resources are not installed there, or in the other group. Run calicoctl datastore init or apply the manifests of deploy/crds, or set CALICO_API_GROUP (calicoAPIGroup) to crd.projectcalico.org/v1 or projectcalico.org/v3"
        ),
        _ => format!(
            "what answers at {url} knows nothing of {path}. Check the endpoint (the kubeconfig's server, K8S_API_ENDPOINT)"
        ),
    }
}

/// Whether a connection failed only because the server does not speak HTTP/2. Nothing was sent.
pub(super) fn is_without_http2(error: &kube::Error) -> bool {
    let refused = matches!(
        find::<TlsError>(error),
        Some(
            TlsError::AlertReceived(AlertDescription::NoApplicationProtocol)
                | TlsError::NoApplicationProtocol
        )
    );
    refused || find::<WithoutHttp2>(error).is_some()
}

/// Whether a request failed because the connection that it waited for could not be made. Nothing was sent.
pub(super) fn was_not_connected_for(error: &kube::Error) -> bool {
    let client = find::<ClientError>(error).filter(|error| error.is_connect());
    // The type of this reason is not public, so its text has to do.
    client.and_then(StdError::source).is_some_and(|reason| reason.to_string() == "request was canceled")
}

/// Classifies an error of connecting, or of a connection that broke.
fn connection_fault(url: &str, error: &kube::Error) -> (FaultClass, String) {
    if let Some(unusable) = find::<UnusableCertificates>(error) {
        let text = format!(
            "the Kubernetes API server at {url} is not asked: {unusable}. Check the kubeconfig's cluster and user, or K8S_CA_FILE, K8S_CERT_FILE and K8S_KEY_FILE"
        );
        return (FaultClass::Unknown, text);
    }
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
                    "is not for that host. Name the server as its certificate does, or set tls-server-name in the kubeconfig"
                }
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    "is not signed by a trusted authority. Give the right one (certificate-authority in the kubeconfig, K8S_CA_FILE)"
                }
                _ => "is not acceptable",
            };
            (
                FaultClass::Impostor,
                format!("the certificate of the Kubernetes API server at {url} {why} ({reason})"),
            )
        }
        Some(TlsError::AlertReceived(alert)) if ABOUT_US.contains(alert) => (
            FaultClass::Unknown,
            format!(
                "the Kubernetes API server at {url} does not accept the client certificate ({alert:?}). Check the kubeconfig's user, or K8S_CERT_FILE and K8S_KEY_FILE"
            ),
        ),
        Some(TlsError::InvalidMessage(_)) => (
            FaultClass::Impostor,
            format!("what answers at {url} does not speak TLS. If it is right, name it http://"),
        ),
        Some(other) => {
            (FaultClass::Impostor, format!("TLS with the Kubernetes API server at {url} failed: {other}"))
        }
        None => (
            FaultClass::Unreachable,
            format!(
                "the Kubernetes API server at {url} cannot be reached: {}. Check that it runs and the endpoint (the kubeconfig's server, K8S_API_ENDPOINT)",
                chain(error)
            ),
        ),
    }
}

/// The messages of an error and of its causes.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    cause::chain(error, ToString::to_string)
}
