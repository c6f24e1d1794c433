//! The life of containers on a node.

use serde_json::json;

use crate::harness::{Container, NODE, Namespace, Node};

#[test]
fn containers_of_a_node_reach_each_other() {
    let Some(node) = Node::new() else { return };
    let (a, b) = (Container::new("aaaa", "pod-a"), Container::new("bbbb", ""));
    let (at_a, at_b) = (node.add(&a).addresses(), node.add(&b).addresses());
    assert_eq!((at_a.len(), at_b.len()), (2, 2));
    for (from, to, addresses) in [(&a, &b, &at_b), (&b, &a, &at_a)] {
        for addr in addresses {
            assert!(from.netns.reaches(&to.netns, *addr), "{} does not reach {addr}", from.id);
            assert!(node.host.reaches(&to.netns, *addr), "the host does not reach {addr}");
        }
    }
    let names: Vec<_> = node.endpoints().iter().map(|endpoint| endpoint.name().to_string()).collect();
    assert_eq!(names, [format!("{NODE}-cni-bbbb-eth0"), format!("{NODE}-k8s-pod--a-eth0")]);
    for container in [&a, &b] {
        assert_eq!(node.check(container).code, 0);
        assert_eq!(node.del(container).code, 0);
        assert_eq!(node.del(container).code, 0, "a second time");
        assert!(container.netns.interfaces().is_empty());
    }
    assert_eq!((node.endpoints().len(), node.in_use()), (0, 0));
    assert!(node.host.interfaces().is_empty());
}

#[test]
fn an_endpoint_tells_where_the_container_is() {
    let Some(node) = Node::new() else { return };
    let pod = Container::new("aaaa", "pod-a");
    let answer = node.add(&pod);
    let result: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    let endpoint = node.endpoints().remove(0);
    let spec = |field: &str| endpoint.field(&["spec", field]).cloned().unwrap_or_default();
    assert_eq!(spec("interfaceName"), result["interfaces"][0]["name"]);
    assert_eq!((spec("mac"), spec("containerID")), (result["interfaces"][1]["mac"].clone(), json!("aaaa")));
    assert_eq!(result["interfaces"][1]["mtu"], 1440);
    let networks: Vec<_> = answer
        .addresses()
        .iter()
        .map(|addr| match addr.is_ipv4() {
            true => format!("{addr}/32"),
            false => format!("{addr}/128"),
        })
        .collect();
    assert_eq!(spec("ipNetworks"), json!(networks));
    assert_eq!((spec("profiles"), spec("orchestrator")), (json!(["net"]), json!("k8s")));
}

#[test]
fn a_pods_new_container_takes_over() {
    let Some(node) = Node::new() else { return };
    let (old, new) = (Container::new("aaaa", "pod-a"), Container::new("bbbb", "pod-a"));
    let first = node.add(&old).addresses();
    let second = node.add(&new).addresses();
    assert_ne!(first, second);
    assert!(old.netns.interfaces().is_empty(), "the name on the host is the pod's");
    assert!(node.check(&old).error().contains("is that of container bbbb"));
    // The runtime may call DEL for the old container at any later time.
    assert_eq!(node.del(&old).code, 0);
    assert_eq!((node.in_use(), node.endpoints().len()), (2, 1));
    assert!(node.host.reaches(&new.netns, second[0]));
    assert_eq!(node.check(&new).code, 0);
    assert_eq!(node.del(&new).code, 0);
    assert_eq!((node.in_use(), node.endpoints().len()), (0, 0));
}

/// Runtimes do not repeat an ADD, unless they have lost their state.
#[test]
fn an_add_may_come_again() {
    let Some(node) = Node::new() else { return };
    let container = Container::new("aaaa", "pod-a");
    node.add(&container).addresses();
    let addresses = node.add(&container).addresses();
    assert_eq!((node.endpoints().len(), node.host.interfaces().len()), (1, 1));
    assert!(addresses.iter().all(|addr| node.host.reaches(&container.netns, *addr)));
    assert_eq!((node.check(&container).code, node.del(&container).code), (0, 0));
    assert_eq!((node.in_use(), node.endpoints().len()), (0, 0));
}

#[test]
fn half_of_it_may_be_gone_already() {
    let Some(node) = Node::new() else { return };
    let mut container = Container::new("aaaa", "pod-a");
    node.add(&container);
    node.forget(&format!("{NODE}-k8s-pod--a-eth0"));
    assert!(node.check(&container).error().contains("there is no WorkloadEndpoint"));
    // The old namespace is gone, too, and another one has its path.
    container.netns = Namespace::new().unwrap();
    assert_eq!(node.del(&container).code, 0);
    assert_eq!(node.in_use(), 0);
    // The kernel removes the contents of a namespace some time after the namespace.
    for _ in 0..500 {
        if node.host.interfaces().is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(node.host.interfaces().is_empty());
    assert_eq!(node.del(&Container::new("cccc", "never-was")).code, 0);
}

/// The interface stays as it is, and its endpoint names both networks.
#[test]
fn an_interface_may_join_another_network() {
    let Some(node) = Node::new() else { return };
    let container = Container::new("aaaa", "");
    let first = node.add(&container).addresses();
    assert_eq!(node.call("ADD", &container, json!({"name": "other"})).addresses(), first);
    let endpoint = node.endpoints().remove(0);
    assert_eq!(endpoint.field(&["spec", "profiles"]), Some(&json!(["net", "other"])));
    assert_eq!((node.endpoints().len(), node.in_use()), (1, 2));
    assert_eq!((node.check(&container).code, node.del(&container).code), (0, 0));
    assert_eq!((node.endpoints().len(), node.in_use(), node.host.interfaces().len()), (0, 0, 0));
}

/// The endpoint is still there although its interface is gone, and its address may belong to another
/// container by now.
#[test]
fn an_interface_that_is_gone_joins_nothing() {
    for is_released in [false, true] {
        let Some(node) = Node::new() else { return };
        let (mut container, other) = (Container::new("aaaa", ""), Container::new("bbbb", "other"));
        let first = node.add(&container).addresses();
        match is_released {
            // The host was restarted without a DEL.
            false => {
                container.netns.ip(&["link", "delete", "eth0"]);
                container.netns = Namespace::new().unwrap();
            }
            true => {
                let name = node.host.interfaces().remove(0);
                node.release(&container);
                node.host.ip(&["route", "flush", "dev", &name]);
                node.host.ip(&["-6", "route", "flush", "dev", &name]);
                let ips = first.iter().map(|addr| addr.to_string()).collect::<Vec<_>>();
                let asked = json!({"runtimeConfig": {"ips": ips}});
                assert_eq!(node.call("ADD", &other, asked).addresses(), first);
            }
        }
        let addresses = node.add(&container).addresses();
        assert!(addresses.iter().all(|addr| !first.contains(addr)), "{is_released}");
        assert!(addresses.iter().all(|addr| node.host.reaches(&container.netns, *addr)), "{is_released}");
        assert_eq!((node.check(&container).code, node.del(&container).code), (0, 0));
        let left = if is_released { 2 } else { 0 };
        assert_eq!((node.in_use(), node.endpoints().len()), (left, left / 2), "{is_released}");
    }
}
