//! The pod or container for which an address is: its handle, by which the address is released, and the
//! attributes that are stored with the address.

use std::collections::BTreeMap;

use api::crd::{object_name, why_no_name};
use api::{HandleId, Key, Timestamp};
use ipam::{PodName, Whose};

use cni::args::Args;
use cni::error::CniError;

/// The receiver of the addresses. It is fixed when the request arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name of the node.
    pub node: String,
    container: String,
    network: String,
    pod: Option<(String, String)>,
    /// The namespace of a container that is no pod.
    other_namespace: String,
}

/// The namespace of a container that is no pod and names none.
const DEFAULT_NAMESPACE: &str = "default";

impl Identity {
    /// The identity for a request.
    ///
    /// # Errors
    /// For names that begin or end with `-`: no WorkloadEndpoint could be named after them
    /// (`libcalico-go/lib/names/workloadendpoint.go`).
    pub fn new(
        network: &str,
        node: String,
        container: &str,
        interface: &str,
        args: &Args,
    ) -> Result<Identity, CniError> {
        let (what, workload) =
            if args.is_pod() { ("pod", args.pod.as_str()) } else { ("containerID", container) };
        for (field, value) in [("node", node.as_str()), (what, workload), ("endpoint", interface)] {
            let fault = match value {
                _ if value.starts_with('-') => "must not begin with a '-'",
                _ if value.ends_with('-') => "must not end with a '-'",
                _ => continue,
            };
            return Err(CniError::internal(format!(
                "error constructing WorkloadEndpoint name: error with field {field} = '{value}' (field {fault})"
            )));
        }
        let pod = args.is_pod().then(|| (args.namespace.clone(), args.pod.clone()));
        let other = Some(args.test_namespace.as_str()).filter(|name| !name.is_empty());
        let other_namespace = other.unwrap_or(DEFAULT_NAMESPACE).to_string();
        let (container, network) = (container.to_string(), network.to_string());
        Ok(Identity { node, container, network, pod, other_namespace })
    }

    /// The namespace whose labels decide about pools. Containers that are no pods have one, too.
    pub fn namespace(&self) -> &str {
        self.pod.as_ref().map_or(&self.other_namespace, |(namespace, _)| namespace)
    }

    /// The pod's name; `None` for a container that is no pod.
    pub fn pod(&self) -> Option<PodName> {
        let (namespace, name) = self.pod.clone()?;
        Some(PodName { namespace, name })
    }

    /// Checks that Kubernetes can store the handle: some names of containers and networks that are valid
    /// elsewhere are not valid there. (Calico tries for 90 seconds, and then reports its own rate limiter.)
    ///
    /// # Errors
    /// Code 999; the error names the invalid field.
    pub fn check_for_kubernetes(&self) -> Result<(), CniError> {
        let Some(handle) = self.handle() else { return Ok(()) };
        let name = object_name(&Key::Handle(handle));
        let Some(rule) = why_no_name(&name) else { return Ok(()) };
        let (what, value, remedy) = match why_no_name(&self.network.to_lowercase()) {
            Some(_) => ("network", &self.network, "Give the network another name in the CNI configuration"),
            None => ("container ID", &self.container, "Let the runtime give it another (CNI_CONTAINERID)"),
        };
        Err(CniError::internal(format!(
            "the {what} {value:?} cannot be used with Kubernetes: the handle of its addresses would be an IPAMHandle called {name:?}, but {rule}. {remedy}"
        )))
    }

    /// The handle: `<network>.<container>`. `None` if that is no valid handle.
    pub fn handle(&self) -> Option<HandleId> {
        HandleId::new(&format!("{}.{}", self.network, self.container))
    }

    /// Which of the handle's addresses belong to this container.
    pub fn whose(&self) -> Whose {
        Whose::of_container(&self.network, &self.container, self.pod())
    }

    /// The handle that Calico's version 2 would have used, `<namespace>.<pod>` or `<container>`, and which of
    /// its addresses belong to this container. The same handle may also be that of another container, or of a
    /// virtual machine. `None` if the handle is invalid, or the owners of its addresses could not be told
    /// apart.
    pub fn legacy_handle(&self) -> Option<(HandleId, Whose)> {
        match self.pod() {
            Some(pod) => Some((HandleId::new(&format!("{}.{}", pod.namespace, pod.name))?, Whose::Pods(pod))),
            None if self.container.contains('.') => None,
            None => Some((HandleId::new(&self.container)?, Whose::NoPods)),
        }
    }

    /// The attributes that are stored with an address.
    pub fn attributes(&self, now: Timestamp) -> BTreeMap<String, String> {
        let mut attributes = BTreeMap::from([
            ("node".to_string(), self.node.clone()),
            ("timestamp".to_string(), api::time::go_text(now)),
        ]);
        if let Some((namespace, pod)) = &self.pod {
            attributes.insert("namespace".to_string(), namespace.clone());
            attributes.insert("pod".to_string(), pod.clone());
        }
        attributes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(namespace: &str, pod: &str) -> Args {
        Args { pod: pod.to_string(), namespace: namespace.to_string(), ..Args::default() }
    }

    #[test]
    fn handles_and_attributes() {
        let identity = Identity::new("net", "n1".into(), "c1", "eth0", &pod("ns", "p")).unwrap();
        assert_eq!(identity.handle().unwrap().as_str(), "net.c1");
        let legacy = identity.legacy_handle().unwrap();
        assert_eq!((legacy.0.as_str(), &legacy.1), ("ns.p", &Whose::Pods(identity.pod().unwrap())));
        let time = Timestamp::new(0, 5).unwrap();
        let attributes: Vec<_> = identity.attributes(time).into_iter().collect();
        let wanted = [
            ("namespace", "ns"),
            ("node", "n1"),
            ("pod", "p"),
            ("timestamp", "1970-01-01 00:00:00.000000005 +0000 UTC"),
        ];
        assert_eq!(attributes, wanted.map(|(k, v)| (k.to_string(), v.to_string())));

        let identity = Identity::new("net", "n1".into(), "c1", "eth0", &pod("ns", "")).unwrap();
        let (legacy, whose) = identity.legacy_handle().unwrap();
        assert_eq!((legacy.as_str(), whose, identity.namespace()), ("c1", Whose::NoPods, "default"));
        assert_eq!(identity.attributes(time).len(), 2);
        let odd = Identity::new("net", "n1".into(), "c1", "eth0", &pod("a/b", "p")).unwrap();
        assert_eq!(odd.legacy_handle(), None);
        let dotted = Identity::new("net", "n1".into(), "net2.c1", "eth0", &Args::default()).unwrap();
        assert_eq!(dotted.legacy_handle(), None, "it may be that of container c1 on net2");
    }

    #[test]
    fn namespaces() {
        let namespace = |args: &Args| {
            Identity::new("net", "n1".into(), "c1", "eth0", args).unwrap().namespace().to_string()
        };
        let named = Args { test_namespace: "team-a".to_string(), ..Args::default() };
        assert_eq!(namespace(&pod("ns", "p")), "ns");
        assert_eq!(namespace(&Args { test_namespace: "team-a".to_string(), ..pod("ns", "p") }), "ns");
        assert_eq!(namespace(&named), "team-a");
        assert_eq!(namespace(&Args::default()), "default");
    }

    #[test]
    fn names_that_kubernetes_cannot_bear() {
        let check = |network: &str, container: &str| {
            let identity = Identity::new(network, "n1".into(), container, "eth0", &Args::default()).unwrap();
            identity.check_for_kubernetes().map_err(|error| error.msg)
        };
        assert_eq!(check("net", "c1"), Ok(()));
        assert_eq!(check("NET", "C1"), Ok(()));
        for (network, container, to_blame) in [
            ("net", "c_1.x-y", "the container ID \"c_1.x-y\" cannot"),
            ("net", "c1.", "the container ID \"c1.\" cannot"),
            ("a.b-c_d", "c1", "the network \"a.b-c_d\" cannot"),
            ("a.b-c_d", "c_1", "the network \"a.b-c_d\" cannot"),
        ] {
            let error = check(network, container).unwrap_err();
            assert!(error.starts_with(to_blame), "{error}");
        }
        assert!(check("net", &"c".repeat(250)).unwrap_err().contains("253 characters"));
    }

    /// The names of the endpoint, the pod and the node were recorded from Calico.
    #[test]
    fn names_with_dashes_at_their_ends() {
        let rows = [
            ("n1", pod("ns", "p"), "-eth0", "endpoint = '-eth0' (field must not begin with a '-')"),
            ("n1", pod("ns", "p"), "eth0-", "endpoint = 'eth0-' (field must not end with a '-')"),
            ("n1", pod("ns", "-a"), "eth0", "pod = '-a' (field must not begin with a '-')"),
            ("n1-", pod("ns", "p"), "eth0", "node = 'n1-' (field must not end with a '-')"),
        ];
        for (node, args, interface, wanted) in rows {
            let error = Identity::new("net", node.into(), "c1", interface, &args).unwrap_err();
            assert_eq!(
                error.msg,
                format!("error constructing WorkloadEndpoint name: error with field {wanted}")
            );
        }
    }
}
