//! The names of a container, of its endpoint, and of its interface on the host.

use std::borrow::Cow;

use api::wep_name::{Identifiers, interface_name};
use api::{Key, Kind};
use cni::args::Args;
use cni::{Call, CniError};

/// The namespace of a container that is no pod and names no namespace.
const DEFAULT_NAMESPACE: &str = "default";
/// The beginning of the interface's name for a container that is no pod.
const PREFIX: &str = "cali";
/// How many characters of a container's ID its interface's name contains.
const ID_LENGTH: usize = 11;

/// The names for one call. They are fixed when the request arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// The parts of the endpoint's name.
    pub ids: Identifiers,
    /// The endpoint's namespace.
    pub namespace: String,
    /// The endpoint's name.
    pub endpoint: String,
    /// The name of the interface on the host.
    pub host_interface: String,
    /// The container's ID.
    pub container: String,
    /// The beginning of the names of pods' interfaces on the host.
    prefix: String,
}

/// The longest alias of an interface that the kernel accepts, in bytes.
const ALIAS_LENGTH: usize = 255;

/// The alias for the host's end of a container's pair. It is the container's ID; if that is too long, the
/// beginning of the ID and a hash of the whole ID.
pub fn alias(container: &str) -> Cow<'_, str> {
    if container.len() <= ALIAS_LENGTH {
        return container.into();
    }
    let front: String = container.chars().take(ALIAS_LENGTH / 2).collect();
    interface_name(&front, "", container).into()
}

impl Names {
    /// The names for a call. `prefix` is the beginning of the names of pods' interfaces.
    ///
    /// # Errors
    /// Code 999 for names that no endpoint can have.
    pub fn new(node: &str, call: &Call, args: &Args, prefix: &str) -> Result<Names, CniError> {
        let is_pod = args.is_pod();
        let other = Some(args.test_namespace.as_str()).filter(|name| !name.is_empty());
        let namespace = match is_pod {
            true => args.namespace.clone(),
            false => other.unwrap_or(DEFAULT_NAMESPACE).to_string(),
        };
        let ids = Identifiers {
            node: node.to_string(),
            orchestrator: if is_pod { "k8s" } else { "cni" }.to_string(),
            endpoint: call.interface.clone(),
            pod: if is_pod { args.pod.clone() } else { String::new() },
            container_id: if is_pod { String::new() } else { call.container.clone() },
            ..Identifiers::default()
        };
        let endpoint = ids.name().map_err(|error| {
            CniError::internal(format!("error constructing WorkloadEndpoint name: {error}"))
        })?;
        let host_interface = match is_pod {
            true => interface_name(prefix, &namespace, &args.pod),
            false => format!("{PREFIX}{}", call.container.chars().take(ID_LENGTH).collect::<String>()),
        };
        let prefix = if is_pod { prefix } else { PREFIX }.to_string();
        Ok(Names { ids, namespace, endpoint, host_interface, container: call.container.clone(), prefix })
    }

    /// The name of the interface on the host for a second interface of a pod or container. The name cannot be
    /// another workload's first one, as no pod or container has a `/` in its name.
    pub fn further_interface(&self) -> String {
        let (namespace, workload) = match self.is_pod() {
            true => (self.namespace.as_str(), &self.ids.pod),
            false => ("", &self.container),
        };
        interface_name(&self.prefix, namespace, &format!("{workload}/{}", self.ids.endpoint))
    }

    /// The pod or container, in words.
    pub fn workload(&self) -> String {
        match self.is_pod() {
            true => format!("pod {}/{}", self.namespace, self.ids.pod),
            false => format!("container {}", self.container),
        }
    }

    /// Whether a record is an endpoint of the same pod or container, whatever its interface is called.
    pub fn is_of_workload(&self, key: &Key) -> bool {
        let Key::Resource { kind: Kind::WorkloadEndpoint, name, .. } = key else { return false };
        let theirs = Identifiers::parse(name).map(|ids| Identifiers { endpoint: String::new(), ..ids });
        theirs.is_ok_and(|theirs| theirs == Identifiers { endpoint: String::new(), ..self.ids.clone() })
    }

    /// Whether the workload is a pod of Kubernetes.
    pub fn is_pod(&self) -> bool {
        self.ids.orchestrator == "k8s"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call {
            command: "ADD".to_string(),
            container: "0123456789abcdef".to_string(),
            netns: "/ns".to_string(),
            interface: "eth0".to_string(),
            args: String::new(),
            netns_override: false,
        }
    }

    /// The interface's name was recorded from Calico.
    #[test]
    fn of_pods_and_of_others() {
        let args = Args { pod: "plain".to_string(), namespace: "default".to_string(), ..Args::default() };
        let pod = Names::new("n-1", &call(), &args, "cali").unwrap();
        assert_eq!(
            (pod.endpoint.as_str(), pod.host_interface.as_str()),
            ("n--1-k8s-plain-eth0", "caliad357612e39")
        );
        let other = Names::new("n1", &call(), &Args::default(), "eni").unwrap();
        assert_eq!(other.endpoint, "n1-cni-0123456789abcdef-eth0");
        assert_eq!((other.host_interface.as_str(), other.namespace.as_str()), ("cali0123456789a", "default"));
        let key = |name: &str| Key::Resource {
            kind: Kind::WorkloadEndpoint,
            namespace: Some("default".to_string()),
            name: name.to_string(),
        };
        assert!(pod.is_of_workload(&key("n--1-k8s-plain-net1")));
        for stranger in ["n--1-k8s-plain--2-eth0", "n-k8s-plain-eth0", "n--1-cni-plain-eth0"] {
            assert!(!pod.is_of_workload(&key(stranger)), "{stranger}");
        }
        assert!(other.is_of_workload(&key("n1-cni-0123456789abcdef-eth1")));
        let bad = Names::new("-n", &call(), &args, "cali").unwrap_err();
        assert!(bad.msg.starts_with("error constructing WorkloadEndpoint name: "), "{bad:?}");
    }
}
