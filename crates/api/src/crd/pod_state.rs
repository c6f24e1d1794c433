//! What a Pod tells of itself to those who judge whether its addresses are in use.

use std::net::IpAddr;

use serde::Deserialize;

use crate::cidr::parse_addr;
use crate::record::{DecodeError, Revision};

/// A Pod, as far as it says who uses an address.
///
/// Annotations are left out: the pod's owner may write them as he likes. The status is the kubelet's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodState {
    /// The namespace.
    pub namespace: String,
    /// The name in its namespace.
    pub name: String,
    /// The node that runs it; empty where it is not scheduled.
    pub node: String,
    /// Whether it has ended: its phase is Succeeded or Failed.
    pub is_finished: bool,
    /// The addresses in its status; empty until the kubelet has told them.
    pub addresses: Vec<IpAddr>,
    /// Its revision.
    pub revision: Revision,
}

#[derive(Deserialize)]
struct Told {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: String,
    #[serde(rename = "resourceVersion", default)]
    revision: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(rename = "nodeName")]
    node: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    ip: Option<String>,
    #[serde(rename = "podIPs")]
    ips: Option<Vec<Ip>>,
}

#[derive(Deserialize)]
struct Ip {
    #[serde(default)]
    ip: String,
}

impl PodState {
    /// Reads a Pod.
    ///
    /// # Errors
    /// When the text is no Pod, or names an address that is none. Such a pod may use any address.
    pub fn decode(text: &str) -> Result<PodState, DecodeError> {
        let wrong = |field: &str, reason: String| DecodeError::new("Pod", field, reason);
        let Told { metadata, spec, status } =
            serde_json::from_str(text).map_err(|error| wrong("", error.to_string()))?;
        let listed = status.ips.into_iter().flatten().map(|ip| ip.ip);
        let mut addresses = Vec::new();
        for text in listed.chain(status.ip).filter(|text| !text.is_empty()) {
            let addr =
                parse_addr(&text).ok_or_else(|| wrong("status.podIPs", format!("{text:?} is no address")))?;
            if !addresses.contains(&addr) {
                addresses.push(addr);
            }
        }
        Ok(PodState {
            namespace: metadata.namespace,
            name: metadata.name,
            node: spec.node.unwrap_or_default(),
            is_finished: matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            addresses,
            revision: Revision::new(metadata.revision),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_the_kubelet_says() {
        let text = r#"{"metadata":{"name":"a","namespace":"ns","resourceVersion":"7",
            "annotations":{"cni.projectcalico.org/podIP":"10.0.0.9/32"}},
            "spec":{"nodeName":"n1"},
            "status":{"phase":"Failed","podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"},{"ip":"fd00::1"}]}}"#;
        let pod = PodState::decode(text).unwrap();
        assert_eq!((pod.namespace.as_str(), pod.name.as_str(), pod.node.as_str()), ("ns", "a", "n1"));
        assert_eq!(pod.addresses, ["10.0.0.1".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]);
        assert!(pod.is_finished);
    }

    #[test]
    fn a_pod_that_says_little() {
        let pod = PodState::decode(r#"{"metadata":{"name":"a","namespace":"ns"},"status":null}"#);
        assert!(pod.is_err());
        let pod = PodState::decode(r#"{"metadata":{"name":"a","namespace":"ns"}}"#).unwrap();
        assert!(pod.addresses.is_empty() && pod.node.is_empty() && !pod.is_finished);
        let odd = r#"{"metadata":{"name":"a","namespace":"ns"},"status":{"podIP":"10.0.0"}}"#;
        assert!(PodState::decode(odd).unwrap_err().to_string().contains("10.0.0"));
    }
}
