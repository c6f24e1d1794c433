//! What a pod's record tells, from its first container to its last.

use serde_json::{Value as Json, json};

use crate::fixture::on_host;
use crate::harness::Container;

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

/// A failure after the address was given: nothing stays, and nothing is told of the pod.
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
