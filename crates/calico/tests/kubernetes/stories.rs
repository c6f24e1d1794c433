//! What a pod's object shows, from the pod's first container to its last.

use serde_json::{Value as Json, json};

use crate::fixture::on_host;
use crate::harness::{Container, NODE, Node, run};

#[test]
fn a_pod_comes_and_goes() {
    on_host(|cluster| {
        cluster.pod("a", &[]);
        let container = Container::new("c1", "a");
        let answer = cluster.add(&container);
        let addr = answer.addresses()[0];
        let annotation = |name| cluster.annotation("a", name);
        let network = format!("{addr}/32");
        assert_eq!((annotation("podIP"), annotation("podIPs")), (network.clone(), network));
        assert_eq!(annotation("containerID"), "c1");
        assert!(cluster.host().reaches(&container.netns, addr));
        assert_eq!(cluster.call("CHECK", &container, json!({})).code, 0);
        for _ in 0..2 {
            assert_eq!(cluster.del(&container).code, 0);
            assert_eq!(
                (annotation("podIP"), annotation("podIPs"), cluster.taken()),
                (String::new(), String::new(), 0)
            );
            assert_eq!(annotation("containerID"), "c1", "it stays");
        }
        assert!(cluster.host().interfaces().is_empty());
    });
}

#[test]
fn an_old_containers_end_is_not_the_pods() {
    on_host(|cluster| {
        cluster.pod("a", &[]);
        let (old, new) = (Container::new("c1", "a"), Container::new("c2", "a"));
        cluster.add(&old).addresses();
        let addr = cluster.add(&new).addresses()[0];
        let patches = cluster.requests("patch");
        assert_eq!(cluster.del(&old).code, 0);
        assert_eq!(cluster.requests("patch"), patches);
        assert_eq!((cluster.annotation("a", "podIP"), cluster.taken()), (format!("{addr}/32"), 1));
        assert_eq!(cluster.annotation("a", "containerID"), "c2");
        assert!(cluster.host().reaches(&new.netns, addr));
        assert_eq!(cluster.del(&new).code, 0);
        assert_eq!(cluster.taken(), 0);
    });
}

#[test]
fn a_pod_that_is_no_more() {
    on_host(|cluster| {
        let container = Container::new("c1", "a");
        assert_eq!(cluster.add(&container).error(), "pods \"a\" not found");
        cluster.pod("a", &[]);
        cluster.add(&container).addresses();
        cluster.kubectl(&["delete", "pod", "a", "--force", "--grace-period=0"], "");
        assert_eq!(cluster.del(&container).code, 0);
        assert_eq!((cluster.taken(), cluster.host().interfaces().len()), (0, 0));
    });
}

/// An ADD fails after the address was given: nothing stays, and the pod's object shows nothing.
#[test]
fn a_failure_leaves_nothing() {
    on_host(|cluster| {
        cluster.pod("a", &[]);
        let container = Container::new("c1", "a");
        cluster.call("ADD", &container, json!({"mtu": 20})).error();
        assert_eq!((cluster.taken(), cluster.annotation("a", "podIP")), (0, String::new()));
        cluster.add(&container).addresses();
        cluster.call("ADD", &container, json!({"mtu": 20})).error();
        assert_eq!((cluster.taken(), cluster.annotation("a", "podIP")), (0, String::new()));
    });
}

#[test]
fn the_nodes_own_pod_cidr() {
    on_host(|cluster| {
        let patch = json!({"spec": {"podCIDR": "10.9.0.0/24", "podCIDRs": ["10.9.0.0/24"]}}).to_string();
        cluster.kubectl(&["patch", "node", crate::harness::NODE, "-p", &patch], "");
        cluster.pod("a", &[]);
        let more = json!({"ipam": {"type": "host-local", "subnet": "usePodCidrIPv6"}});
        let msg = cluster.call("ADD", &Container::new("c1", "a"), more).error();
        assert!(msg.contains("IPv6 pod CIDR, and it has none"), "{msg}");
        let found: Json = json!({"ipam": {"type": "host-local", "subnet": "usePodCidr"}});
        let msg = cluster.call("ADD", &Container::new("c1", "a"), found).error();
        assert!(msg.starts_with("failed to find plugin \"host-local\""), "the node's was read: {msg}");
    });
}

/// The endpoint of a pod in a store other than Kubernetes has what the pod's object says.
#[test]
fn an_endpoint_outside_of_kubernetes() {
    on_host(|cluster| {
        let Some(node) = Node::new() else { return };
        cluster.create(&[json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web-x", "generateName": "web-", "namespace": "default", "labels": {"app": "web"},
                "annotations": {"cni.projectcalico.org/floatingIPs": r#"["192.0.2.7","2001:db8::7"]"#,
                    "cni.projectcalico.org/allowedSourcePrefixes": r#"["192.0.2.0/24"]"#}},
            "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "pause"}]}})]);
        let container = Container::new("c1", "web-x");
        let more = json!({"policy": {"type": "k8s"}, "kubernetes": cluster.kubeconfig(), "feature_control": {"floating_ips": true}});
        let call = |command: &str| {
            run(&[], container.environment(command, &node.bin), &node.configuration(more.clone()))
        };
        let addresses = call("ADD").addresses();
        let endpoint = node.endpoints().remove(0);
        let text = node.stored(&endpoint.key()).unwrap();
        let start = format!(
            r#"{{"kind":"WorkloadEndpoint","apiVersion":"projectcalico.org/v3","metadata":{{"name":"{NODE}-k8s-web--x-eth0","generateName":"web-","namespace":"default","uid":""#
        );
        assert!(text.starts_with(&start), "{text}");
        let spec = |field: &str| endpoint.field(&["spec", field]).cloned().unwrap_or_default();
        let nat = |at: usize, outside: &str| json!({"internalIP": addresses[at].to_string(), "externalIP": outside});
        assert_eq!(spec("ipNATs"), json!([nat(0, "192.0.2.7"), nat(1, "2001:db8::7")]));
        assert_eq!(spec("allowSpoofedSourcePrefixes"), json!(["192.0.2.0/24"]));
        assert_eq!(endpoint.metadata().labels.get("app").map(String::as_str), Some("web"));
        // Another component enforces policy, so no profile is created.
        assert_eq!(node.stored(&api::Key::global(api::Kind::Profile, "net")), None);
        assert_eq!(call("DEL").code, 0);
        assert_eq!((node.endpoints().len(), node.in_use()), (0, 0));
    });
}
