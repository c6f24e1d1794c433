//! Who an address is for: the handle that it is released by, and what is noted beside it.

use std::collections::BTreeMap;

use api::{HandleId, Timestamp};

use crate::args::Args;
use crate::error::CniError;

/// Whose address it is, fixed when the request arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node.
    pub node: String,
    container: String,
    network: String,
    pod: Option<(String, String)>,
}

impl Identity {
    /// The identity of a request.
    ///
    /// # Errors
    /// Names that begin or end with `-`: no WorkloadEndpoint could be named after them
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
        Ok(Identity { node, container: container.to_string(), network: network.to_string(), pod })
    }

    /// The pod's namespace.
    pub fn namespace(&self) -> Option<&str> {
        self.pod.as_ref().map(|(namespace, _)| namespace.as_str())
    }

    /// The handle: `<network>.<container>`. Network and container are names without `/`.
    pub fn handle(&self) -> Option<HandleId> {
        HandleId::new(&format!("{}.{}", self.network, self.container))
    }

    /// The handle under which Calico's version 2 kept it: `<namespace>.<pod>`, or `<container>`. `None` where that can be no handle.
    pub fn legacy_handle(&self) -> Option<HandleId> {
        match &self.pod {
            Some((namespace, pod)) => HandleId::new(&format!("{namespace}.{pod}")),
            None => HandleId::new(&self.container),
        }
    }

    /// What is noted beside the address.
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
        assert_eq!(identity.legacy_handle().unwrap().as_str(), "ns.p");
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
        assert_eq!((identity.legacy_handle().unwrap().as_str(), identity.namespace()), ("c1", None));
        assert_eq!(identity.attributes(time).len(), 2);
        let odd = Identity::new("net", "n1".into(), "c1", "eth0", &pod("a/b", "p")).unwrap();
        assert_eq!(odd.legacy_handle(), None);
    }

    /// Recorded: the endpoint, the pod and the node.
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
