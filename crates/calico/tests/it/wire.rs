//! An address goes to another container only when no route leads to its last holder any more, whatever the
//! runtime still knows of that holder.

use std::net::IpAddr;

use serde_json::json;

use crate::harness::{Answer, Container, Namespace, Node};

/// The paths that runtimes give for a namespace that they have forgotten, or that is gone.
const GONE: [&str; 2] = ["", "/var/run/netns/never-was"];

/// Removes the aliases from the host's ends: Calico's plugin does not set any.
fn forget_whose(node: &Node) {
    for name in node.host.interfaces() {
        node.host.ip(&["link", "set", "dev", &name, "alias", ""]);
    }
}

fn ok(answer: Answer) {
    assert_eq!(answer.code, 0, "{answer:?}");
}

fn answers(node: &Node, container: &Container, addresses: &[IpAddr]) -> bool {
    addresses.iter().all(|addr| node.host.reaches(&container.netns, *addr))
}

/// Both containers of the pod use the same name on the host. The alias tells them apart; without an alias,
/// the routed address does.
#[test]
fn a_late_end_of_a_pods_old_container_leaves_the_new_one_alone() {
    for (netns, is_calicos) in GONE.into_iter().flat_map(|netns| [(netns, false), (netns, true)]) {
        let Some(node) = Node::new() else { return };
        let (old, new) = (Container::new("aaaa", "web-0"), Container::new("bbbb", "web-0"));
        node.add(&old).addresses();
        let addresses = node.add(&new).addresses();
        if is_calicos {
            forget_whose(&node);
        }
        ok(node.call_at("DEL", &old, netns, json!({})));
        assert!(answers(&node, &new, &addresses), "{netns:?} {is_calicos}");
        assert_eq!((node.in_use(), node.endpoints().len()), (2, 1), "the old one's are given back");
        ok(node.check(&new));
        ok(node.call_at("DEL", &new, netns, json!({})));
        assert!(
            node.host.interfaces().is_empty() && new.netns.interfaces().is_empty(),
            "{netns:?} {is_calicos}"
        );
        assert_eq!((node.in_use(), node.endpoints().len()), (0, 0));
    }
}

/// The container still runs, and the runtime does not give its namespace.
#[test]
fn an_address_is_given_back_with_its_route() {
    for pod in ["web-0", ""] {
        for (netns, is_calicos) in GONE.into_iter().flat_map(|netns| [(netns, false), (netns, true)]) {
            let Some(node) = Node::new() else { return };
            let one = node.pool_of_one();
            let (first, next) = (Container::new("aaaa", pod), Container::new("bbbb", "other"));
            let addresses = node.call("ADD", &first, one.clone()).addresses();
            assert!(node.call("ADD", &next, one.clone()).error().contains("No IPs available"));
            if is_calicos {
                forget_whose(&node);
            }
            ok(node.call_at("DEL", &first, netns, one.clone()));
            assert!(node.host.interfaces().is_empty(), "{pod:?} {netns:?} {is_calicos}");
            assert_eq!(node.call("ADD", &next, one.clone()).addresses(), addresses);
            assert!(answers(&node, &next, &addresses));
            ok(node.call_at("DEL", &first, netns, one.clone()));
            assert!(answers(&node, &next, &addresses), "a second end of the first");
            ok(node.call("DEL", &next, one));
        }
    }
}

#[test]
fn an_end_is_marked_as_the_containers() {
    let Some(node) = Node::new() else { return };
    let long = "c".repeat(300);
    for id in ["aaaa", long.as_str()] {
        let container = Container::new(id, "web-0");
        node.add(&container).addresses();
        let name = node.host.interfaces().remove(0);
        let shown = node.host.ip(&["link", "show", &name]);
        let alias = shown.split("alias ").nth(1).unwrap().trim();
        assert!(
            if id.len() < 256 { alias == id } else { alias.len() < 256 && id.starts_with(&alias[..100]) },
            "{shown}"
        );
        ok(node.call_at("DEL", &container, "", json!({})));
        assert!(node.host.interfaces().is_empty());
    }
}

/// The old container's path may belong to another container by now.
#[test]
fn a_namespace_under_an_old_path_is_not_the_containers() {
    let Some(node) = Node::new() else { return };
    let (gone, other) = (Container::new("aaaa", "web-0"), Container::new("bbbb", "web-1"));
    node.add(&gone).addresses();
    let addresses = node.add(&other).addresses();
    ok(node.call_at("DEL", &gone, &other.netns.path(), json!({})));
    assert!(answers(&node, &other, &addresses));
    assert_eq!((node.host.interfaces().len(), node.in_use()), (1, 2));
}

/// The names for containers that are no pods are cut, so two of them can be equal.
#[test]
fn containers_whose_names_begin_alike() {
    let Some(node) = Node::new() else { return };
    let ids = ["web-frontend-1", "web-frontend-2", "web-frontend-3"];
    let containers = ids.map(|id| Container::new(id, ""));
    let addresses = containers.each_ref().map(|container| node.add(container).addresses());
    assert_eq!(node.host.interfaces().len(), 3);
    for (container, addresses) in containers.iter().zip(&addresses) {
        assert!(answers(&node, container, addresses), "{}", container.id);
        ok(node.check(container));
    }
    ok(node.call_at("DEL", &containers[1], "", json!({})));
    ok(node.del(&containers[0]));
    assert!(answers(&node, &containers[2], &addresses[2]));
    ok(node.call_at("DEL", &containers[2], "", json!({})));
    assert_eq!((node.host.interfaces().len(), node.in_use(), node.endpoints().len()), (0, 0, 0));
}

/// The name for a pod's interface is the beginning of a hash, so an attacker with patience finds another pod
/// with the same name.
#[test]
fn a_pod_whose_name_on_the_host_is_anothers() {
    let Some(node) = Node::new() else { return };
    let (victim, thief) = (Container::new("aaaa", "victim"), Container::new("bbbb", "thief"));
    let name = |container: &Container| {
        node.add(container).addresses();
        let name = node.host.interfaces().remove(0);
        ok(node.del(container));
        name
    };
    let (theirs, wanted) = (name(&victim), name(&thief));
    for is_calicos in [false, true] {
        let addresses = node.add(&victim).addresses();
        node.host.ip(&["link", "set", &theirs, "down"]);
        node.host.ip(&["link", "set", &theirs, "name", &wanted]);
        node.host.ip(&["link", "set", &wanted, "up"]);
        for addr in addresses.iter().filter(|addr| addr.is_ipv4()) {
            node.host.ip(&["route", "add", &addr.to_string(), "dev", &wanted]);
        }
        if is_calicos {
            forget_whose(&node);
        }
        let taken = node.in_use();
        let answer = node.add(&thief);
        let msg = answer.error();
        assert!(msg.contains(&wanted) && !msg.contains("victim"), "{msg}");
        assert!(answer.stderr.contains("pod default/victim"), "{}", answer.stderr);
        assert_eq!(node.in_use(), taken, "nothing was assigned");
        ok(node.call_at("DEL", &thief, "", json!({})));
        ok(node.del(&thief));
        assert!(answers(&node, &victim, &addresses[..1]));
        ok(node.del(&victim));
        assert!(node.host.interfaces().is_empty());
    }
}

/// The address to which an old end leads is free by now. Such an end is in nobody's way, and is replaced.
#[test]
fn what_is_left_of_a_pods_last_container_makes_room() {
    let Some(node) = Node::new() else { return };
    let (old, new) = (Container::new("aaaa", "web-0"), Container::new("bbbb", "web-0"));
    node.add(&old).addresses();
    let name = node.host.interfaces().remove(0);
    // The addresses are released without the plugin.
    node.release(&old);
    assert_eq!(node.in_use(), 0);
    assert_eq!(node.host.interfaces(), [name]);
    let addresses = node.add(&new).addresses();
    assert!(answers(&node, &new, &addresses));
    let unused: Namespace = Namespace::new().unwrap();
    ok(node.call_at("DEL", &old, &unused.path(), json!({})));
    assert!(answers(&node, &new, &addresses));
}
