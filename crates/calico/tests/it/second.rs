//! A container with more than one interface.

use std::net::IpAddr;

use serde_json::{Value as Json, json};

use crate::harness::{Answer, Container, Node};

fn other() -> Json {
    json!({"name": "other"})
}

fn ok(answer: Answer) {
    assert_eq!(answer.code, 0, "{answer:?}");
}

/// Makes later calls use another interface of the container.
fn by(container: &mut Container, interface: &'static str) {
    container.interface = interface;
}

fn answers(node: &Node, container: &Container, addresses: &[IpAddr]) -> bool {
    addresses.iter().all(|addr| node.host.reaches(&container.netns, *addr))
}

/// One handle would hold the addresses of both interfaces, and both would have the same name on the host.
#[test]
fn two_on_one_network_are_refused_and_the_first_goes_on() {
    for pod in ["web-0", ""] {
        let Some(node) = Node::new() else { return };
        let mut container = Container::new("aaaa", pod);
        let addresses = node.add(&container).addresses();
        by(&mut container, "net1");
        let msg = node.add(&container).error();
        for part in ["aaaa", "network net", "as eth0 already", "cannot have net1"] {
            assert!(msg.contains(part), "{msg}");
        }
        // After a refused ADD the runtime calls DEL, with the namespace and without.
        let netns = container.netns.path();
        for netns in [netns.as_str(), ""] {
            ok(node.call_at("DEL", &container, netns, json!({})));
            assert!(answers(&node, &container, &addresses), "{pod:?} {netns:?}");
            assert_eq!((node.in_use(), node.endpoints().len(), node.host.interfaces().len()), (2, 1, 1));
        }
        by(&mut container, "eth0");
        ok(node.check(&container));
        ok(node.del(&container));
        assert_eq!((node.in_use(), node.endpoints().len(), node.host.interfaces().len()), (0, 0, 0));
    }
}

/// Each interface has its own end on the host, endpoint and addresses. Each can be removed alone, in any
/// order, whatever the runtime still knows.
#[test]
fn two_on_two_networks() {
    for pod in ["web-0", ""] {
        for (first_goes_first, is_known, is_told) in
            [(true, true, true), (false, true, false), (true, false, false), (false, false, true)]
        {
            let what = format!("{pod:?} {first_goes_first} {is_known} {is_told}");
            let Some(node) = Node::new() else { return };
            let mut container = Container::new("aaaa", pod);
            let first = node.add(&container);
            by(&mut container, "net1");
            let second = node.call("ADD", &container, other());
            let addresses = [first.addresses(), second.addresses()];
            assert_eq!(container.netns.interfaces(), ["eth0", "net1"], "{what}");
            let names = node.host.interfaces();
            assert_eq!((names.len(), node.endpoints().len(), node.in_use()), (2, 2, 4), "{what}");
            assert!(
                answers(&node, &container, &addresses[0]) && answers(&node, &container, &addresses[1]),
                "{what}"
            );
            let result: [Json; 2] =
                [&first, &second].map(|answer| serde_json::from_str(&answer.stdout).unwrap());
            assert_ne!(result[0]["interfaces"][0]["name"], result[1]["interfaces"][0]["name"]);
            assert_eq!(result[1]["interfaces"][1]["name"], "net1");

            let configuration = |is_first: bool| {
                let mut more = if is_first { json!({"name": "net"}) } else { other() };
                if is_told {
                    more["prevResult"] = result[usize::from(!is_first)].clone();
                }
                more
            };
            let interface = |is_first: bool| if is_first { "eth0" } else { "net1" };
            for is_first in [true, false] {
                by(&mut container, interface(is_first));
                ok(node.call("CHECK", &container, configuration(is_first)));
            }
            let netns = if is_known { container.netns.path() } else { String::new() };
            for (at, is_first) in [first_goes_first, !first_goes_first].into_iter().enumerate() {
                by(&mut container, interface(is_first));
                for _ in 0..2 {
                    ok(node.call_at("DEL", &container, &netns, configuration(is_first)));
                }
                assert_eq!(node.host.interfaces().len(), 1 - at, "{what}");
                assert_eq!((node.endpoints().len(), node.in_use()), (1 - at, 2 - 2 * at), "{what}");
                if at == 0 {
                    by(&mut container, interface(!is_first));
                    ok(node.call("CHECK", &container, configuration(!is_first)));
                    assert!(answers(&node, &container, &addresses[usize::from(is_first)]), "{what}");
                }
            }
            assert!(container.netns.interfaces().is_empty(), "{what}");
        }
    }
}

/// A second ADD of either interface makes it anew, under the name that it had.
#[test]
fn either_may_be_attached_again() {
    let Some(node) = Node::new() else { return };
    let mut container = Container::new("aaaa", "web-0");
    node.add(&container).addresses();
    by(&mut container, "net1");
    node.call("ADD", &container, other()).addresses();
    let names = node.host.interfaces();
    let again = node.call("ADD", &container, other()).addresses();
    by(&mut container, "eth0");
    let first = node.add(&container).addresses();
    assert_eq!((node.host.interfaces(), node.endpoints().len()), (names, 2));
    assert!(answers(&node, &container, &again) && answers(&node, &container, &first));
    // When the first interface is gone, it can be attached again beside the second.
    ok(node.del(&container));
    assert_eq!(node.host.interfaces().len(), 1);
    let first = node.add(&container).addresses();
    assert!(answers(&node, &container, &again) && answers(&node, &container, &first));
    for (interface, more) in [("eth0", json!({})), ("net1", other())] {
        by(&mut container, interface);
        ok(node.call("DEL", &container, more));
    }
    assert_eq!((node.endpoints().len(), node.in_use(), node.host.interfaces().len()), (0, 0, 0));
}

/// A failed ADD of the second interface does not change the first.
#[test]
fn a_second_that_fails_leaves_the_first_alone() {
    let Some(node) = Node::new() else { return };
    let mut container = Container::new("aaaa", "web-0");
    let addresses = node.add(&container).addresses();
    by(&mut container, "net1");
    node.call("ADD", &container, json!({"name": "other", "mtu": 20})).error();
    assert!(answers(&node, &container, &addresses));
    assert_eq!((node.endpoints().len(), node.in_use(), node.host.interfaces().len()), (1, 2, 1));
    ok(node.call("DEL", &container, other()));
    assert!(answers(&node, &container, &addresses));
}

/// The pod's next container replaces both ends that the former container left.
#[test]
fn a_pods_new_container_takes_over_both() {
    let Some(node) = Node::new() else { return };
    let (mut old, mut new) = (Container::new("aaaa", "web-0"), Container::new("bbbb", "web-0"));
    let mut addresses = Vec::new();
    for container in [&mut old, &mut new] {
        addresses.clear();
        addresses.extend(node.add(container).addresses());
        by(container, "net1");
        addresses.extend(node.call("ADD", container, other()).addresses());
    }
    assert!(answers(&node, &new, &addresses));
    for (interface, more) in [("net1", other()), ("eth0", json!({}))] {
        by(&mut old, interface);
        ok(node.call_at("DEL", &old, "", more));
        assert!(answers(&node, &new, &addresses), "{interface}");
    }
    assert_eq!((node.endpoints().len(), node.in_use(), node.host.interfaces().len()), (2, 4, 2));
}

/// The endpoint of a second interface was deleted, but its handle still shows it. So a third interface on its
/// network is refused, and the second is taken down before its addresses are given back.
#[test]
fn an_interface_whose_endpoint_is_gone_counts() {
    let Some(node) = Node::new() else { return };
    let mut container = Container::new("aaaa", "web-0");
    let first = node.add(&container).addresses();
    by(&mut container, "net1");
    let second = node.call("ADD", &container, other()).addresses();
    node.forget("n1-k8s-web--0-net1");
    assert_eq!(node.endpoints().len(), 1);
    by(&mut container, "net2");
    let msg = node.call("ADD", &container, other()).error();
    assert!(msg.contains("network other") && msg.contains("cannot have net2"), "{msg}");
    assert!(answers(&node, &container, &second) && answers(&node, &container, &first));
    // The interface that exists may be attached again.
    by(&mut container, "net1");
    let again = node.call("ADD", &container, other()).addresses();
    assert!(answers(&node, &container, &again) && answers(&node, &container, &first));
    node.forget("n1-k8s-web--0-net1");
    by(&mut container, "net2");
    ok(node.call_at("DEL", &container, "", other()));
    assert_eq!((container.netns.interfaces(), node.in_use()), (vec!["eth0".to_string()], 2));
    assert!(answers(&node, &container, &first));
}
