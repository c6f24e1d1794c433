//! Names and labels of WorkloadEndpoints. The names are made from what identifies them
//! (`libcalico-go/lib/names/workloadendpoint.go`).
//!
//! `node--1-k8s-nginx--0-eth0`: segments joined by `-`, with each `-` inside of a segment doubled.

use sha1::{Digest, Sha1};

use crate::checks::{FieldError, ValidationError};
use crate::document::Document;

/// The label that holds a WorkloadEndpoint's namespace.
pub const LABEL_NAMESPACE: &str = "projectcalico.org/namespace";
/// The label that holds a WorkloadEndpoint's orchestrator.
pub const LABEL_ORCHESTRATOR: &str = "projectcalico.org/orchestrator";

/// The parts of a WorkloadEndpoint's name. The orchestrator determines which of them are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identifiers {
    /// The node's name, which is always needed.
    pub node: String,
    /// The orchestrator: `k8s`, `cni`, `libnetwork` or another word.
    pub orchestrator: String,
    /// The interface in the workload: `eth0`.
    pub endpoint: String,
    /// The workload's name, for orchestrators other than `k8s` and `cni`.
    pub workload: String,
    /// The pod's name, for the orchestrator `k8s`.
    pub pod: String,
    /// The container's ID, for the orchestrator `cni`.
    pub container_id: String,
}

/// Why a text is no name of a WorkloadEndpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("Cannot parse empty string")]
    Empty,
    /// It has too many segments.
    #[error("Error parsing {0}, verify that WorkloadEndpoint name is correct")]
    TooManySegments(String),
}

impl Identifiers {
    /// The identifiers in an endpoint's spec.
    pub fn of(endpoint: &Document) -> Identifiers {
        let text = |field: &str| endpoint.text(&["spec", field]).unwrap_or_default().to_string();
        Identifiers {
            node: text("node"),
            orchestrator: text("orchestrator"),
            endpoint: text("endpoint"),
            workload: text("workload"),
            pod: text("pod"),
            container_id: text("containerID"),
        }
    }

    /// The name.
    ///
    /// # Errors
    /// When an identifier is missing, or begins or ends with `-`.
    pub fn name(&self) -> Result<String, ValidationError> {
        let mut parts = Vec::with_capacity(4);
        for (field, value) in self.segments() {
            if value.is_empty() {
                // Calico shows no value for the node, an empty one for the others.
                let reason = "field should be assigned";
                return Err(match field {
                    "node" => FieldError::new(field, reason),
                    _ => FieldError::of_value(field, "", reason),
                }
                .into());
            }
            parts.push(escape(field, value)?);
        }
        Ok(parts.join("-"))
    }

    /// The beginning of all names that these identifiers allow: up to the first one that is missing, with a
    /// `-` at the end. If none is missing, the whole name.
    ///
    /// # Errors
    /// When the node is missing, or an identifier begins or ends with `-`.
    pub fn prefix(&self) -> Result<String, ValidationError> {
        if self.node.is_empty() {
            return Err(FieldError::new("node", "field should be assigned").into());
        }
        let mut parts = Vec::with_capacity(4);
        for (field, value) in self.segments() {
            if value.is_empty() {
                return Ok(format!("{}-", parts.join("-")));
            }
            parts.push(escape(field, value)?);
        }
        Ok(parts.join("-"))
    }

    /// Reads a name, or the start of one.
    ///
    /// # Errors
    /// When it is empty or has more than four segments.
    pub fn parse(name: &str) -> Result<Identifiers, NameError> {
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        let mut parts = split(name).into_iter();
        let mut ids = Identifiers { node: parts.next().unwrap_or_default(), ..Identifiers::default() };
        let Some(orchestrator) = parts.next() else { return Ok(ids) };
        ids.orchestrator = orchestrator;
        if let Some(third) = parts.next() {
            match ids.orchestrator.as_str() {
                "k8s" => ids.pod = third,
                "cni" => ids.container_id = third,
                "libnetwork" => ids.orchestrator = third,
                _ => ids.workload = third,
            }
        }
        ids.endpoint = parts.next().unwrap_or_default();
        match parts.next() {
            None => Ok(ids),
            Some(_) => Err(NameError::TooManySegments(name.to_string())),
        }
    }

    fn segments(&self) -> [(&'static str, &str); 4] {
        let third = match self.orchestrator.as_str() {
            "k8s" => ("pod", self.pod.as_str()),
            "cni" => ("containerID", self.container_id.as_str()),
            "libnetwork" => ("orchestrator", self.orchestrator.as_str()),
            _ => ("workload", self.workload.as_str()),
        };
        [("node", &self.node), ("orchestrator", &self.orchestrator), third, ("endpoint", &self.endpoint)]
    }
}

/// The interface on the host of a pod in Kubernetes: the prefix (`cali`) and 11 hex digits of a hash of its
/// names.
pub fn interface_name(prefix: &str, namespace: &str, pod: &str) -> String {
    let digest = Sha1::digest(format!("{namespace}.{pod}"));
    let hex: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}{}", &hex[..11])
}

fn escape(field: &str, value: &str) -> Result<String, ValidationError> {
    let wrong = |where_: &str| {
        FieldError::of_value(field, value, format!("field must not {where_} with a '-'")).into()
    };
    if value.starts_with('-') {
        return Err(wrong("begin"));
    }
    if value.ends_with('-') {
        return Err(wrong("end"));
    }
    Ok(value.replace('-', "--"))
}

/// Splits at single dashes; the first character is never one.
fn split(name: &str) -> Vec<String> {
    let bytes = name.as_bytes();
    let (mut parts, mut start, mut i) = (Vec::new(), 0, 1);
    while i < bytes.len() {
        if bytes[i] == b'-' {
            if bytes.get(i + 1) == Some(&b'-') {
                i += 1;
            } else {
                parts.push(name[start..i].replace("--", "-"));
                start = i + 1;
            }
        }
        i += 1;
    }
    parts.push(name[start..].replace("--", "-"));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn k8s(node: &str, pod: &str, endpoint: &str) -> Identifiers {
        Identifiers {
            node: node.into(),
            orchestrator: "k8s".into(),
            pod: pod.into(),
            endpoint: endpoint.into(),
            ..Identifiers::default()
        }
    }

    #[test]
    fn names_and_back() {
        let ids = k8s("kube-node-0", "web-0", "eth0");
        assert_eq!(ids.name().unwrap(), "kube--node--0-k8s-web--0-eth0");
        assert_eq!(Identifiers::parse("kube--node--0-k8s-web--0-eth0"), Ok(ids));
        assert_eq!(k8s("node-1", "pod-name", "").prefix().unwrap(), "node--1-k8s-pod--name-");
        assert_eq!(Identifiers::parse("a-k8s-b-c-d"), Err(NameError::TooManySegments("a-k8s-b-c-d".into())));
        assert_eq!(Identifiers::parse(""), Err(NameError::Empty));
        let cni = Identifiers {
            node: "n".into(),
            orchestrator: "cni".into(),
            container_id: "c1".into(),
            endpoint: "eth0".into(),
            ..Identifiers::default()
        };
        assert_eq!(cni.name().unwrap(), "n-cni-c1-eth0");
        assert_eq!(Identifiers::parse("n-cni-c1-eth0"), Ok(cni));
    }

    #[test]
    fn what_is_missing_or_has_dashes_at_its_ends() {
        let text = |ids: Identifiers| ids.name().unwrap_err().to_string();
        assert_eq!(text(k8s("", "p", "e")), "error with field node (field should be assigned)");
        assert_eq!(text(k8s("n", "p", "")), "error with field endpoint = '' (field should be assigned)");
        assert_eq!(
            text(k8s("-n", "p", "e")),
            "error with field node = '-n' (field must not begin with a '-')"
        );
        assert_eq!(text(k8s("n", "p-", "e")), "error with field pod = 'p-' (field must not end with a '-')");
    }

    #[test]
    fn interface_of_a_pod() {
        assert_eq!(interface_name("cali", "namespace", "podname"), "cali82111e10a96");
    }
}
