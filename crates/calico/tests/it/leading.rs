//! An address goes to another container only when no route of this plugin leads to its last holder any more,
//! whatever the host's end is called and whatever the runtime says.

use serde_json::{Value as Json, json};

use crate::harness::{Answer, Container, Node, run};

fn ok(answer: Answer) {
    assert_eq!(answer.code, 0, "{answer:?}");
}

/// Calls DEL without a namespace, with these further variables and fields.
fn late_del(node: &Node, container: &Container, variables: &[(&str, &str)], more: &Json) -> Answer {
    let mut environment = container.environment("DEL", &node.bin).with("CNI_NETNS", "");
    for (name, value) in variables {
        environment = environment.with(name, value);
    }
    node.host.run(|| run(&[], environment, &node.configuration(more.clone())))
}

/// The end's name and alias may have changed, and the runtime may have forgotten the container's pod.
#[test]
fn what_is_not_found_by_name_is_found_by_its_route() {
    for case in ["no arguments", "prefix", "alias", "no alias", "name", "name, no alias"] {
        let Some(node) = Node::new() else { return };
        let one = node.pool_of_one();
        let (first, next) = (Container::new("aaaa", "web-0"), Container::new("bbbb", "other"));
        let addresses = node.call("ADD", &first, one.clone()).addresses();
        let name = node.host.interfaces().remove(0);
        let mut variables = Vec::new();
        match case {
            "no arguments" => variables.push(("CNI_ARGS", "")),
            "prefix" => variables.push(("FELIX_INTERFACEPREFIX", "eni")),
            "alias" => drop(node.host.ip(&["link", "set", &name, "alias", "web frontend"])),
            "no alias" => {
                node.host.ip(&["link", "set", &name, "alias", ""]);
                variables.push(("CNI_ARGS", ""));
            }
            _ => {
                node.host.ip(&["link", "set", &name, "down"]);
                node.host.ip(&["link", "set", &name, "name", "other0"]);
                node.host.ip(&["link", "set", "other0", "up"]);
                node.host.ip(&["route", "replace", &addresses[0].to_string(), "dev", "other0"]);
                if case != "name" {
                    node.host.ip(&["link", "set", "other0", "alias", ""]);
                }
            }
        }
        ok(late_del(&node, &first, &variables, &one));
        assert!(node.host.interfaces().is_empty() && node.in_use() == 0, "{case}");
        assert_eq!(node.call("ADD", &next, one.clone()).addresses(), addresses, "{case}");
        assert!(node.host.reaches(&next.netns, addresses[0]), "{case}");
    }
}

/// An address that another container holds is not taken, and one that leads to another container's end is not
/// given back.
#[test]
fn an_address_that_leads_to_anothers_end_is_kept() {
    let Some(node) = Node::new() else { return };
    let one = node.pool_of_one();
    let container = Container::new("aaaa", "web-0");
    let addr = node.call("ADD", &container, one.clone()).addresses()[0].to_string();
    let name = node.host.interfaces().remove(0);
    node.host.ip(&["link", "set", &name, "alias", "cccc"]);
    let msg = node.call_at("DEL", &container, "", one.clone()).error();
    for part in [addr.as_str(), &name, "container cccc's", &format!("ip link delete {name}")] {
        assert!(msg.contains(part), "{msg}");
    }
    assert_eq!((node.in_use(), node.host.interfaces()), (1, vec![name.clone()]));
    node.host.ip(&["link", "delete", &name]);
    ok(node.call_at("DEL", &container, "", one));
    assert_eq!((node.in_use(), node.endpoints().len()), (0, 0));
}

/// The pod's next container asks for the address of the former container's second interface.
#[test]
fn an_address_moves_only_after_the_interface_that_had_it() {
    let Some(node) = Node::new() else { return };
    let one = node.pool_of_one();
    let netb = |more: Json| {
        let mut fields = one.clone();
        fields["name"] = "netb".into();
        for (name, value) in more.as_object().unwrap() {
            fields[name] = value.clone();
        }
        fields
    };
    let asked = netb(json!({"runtimeConfig": {"ips": ["10.8.0.1"]}}));
    let (mut old, mut new) = (Container::new("aaaa", "web-0"), Container::new("bbbb", "web-0"));
    let first = node.add(&old).addresses();
    (old.interface, new.interface) = ("net1", "net1");
    let addresses = node.call("ADD", &old, netb(json!({}))).addresses();
    let ends = node.host.interfaces();
    assert_eq!(ends.len(), 2);

    // The end belongs to another container: its address is not given back, and the end stays.
    let shown = |name: &String| node.host.ip(&["route", "show", "dev", name]);
    let routed = |name: &&String| shown(name).contains("10.8.0.1");
    let second = ends.iter().find(routed).unwrap();
    node.host.ip(&["link", "set", second, "alias", "cccc"]);
    node.call("ADD", &new, asked.clone()).error();
    assert_eq!(node.host.interfaces(), ends);
    assert!(first.iter().all(|addr| node.host.reaches(&old.netns, *addr)));
    assert!(node.host.reaches(&old.netns, addresses[0]));
    assert_eq!(node.in_use(), 3);

    node.host.ip(&["link", "set", second, "alias", "aaaa"]);
    assert_eq!(node.call("ADD", &new, asked).addresses(), addresses);
    assert!(old.netns.interfaces().iter().all(|name| name != "net1"));
    assert!(node.host.reaches(&new.netns, addresses[0]));
}

/// The path belongs to another container by now, as the record shows; its end has no alias.
#[test]
fn an_unmarked_end_under_an_old_path_is_not_the_containers() {
    let Some(node) = Node::new() else { return };
    let (gone, other) = (Container::new("aaaa", "web-0"), Container::new("bbbb", "web-1"));
    node.add(&gone).addresses();
    let addresses = node.add(&other).addresses();
    for name in node.host.interfaces() {
        node.host.ip(&["link", "set", &name, "alias", ""]);
    }
    ok(node.call_at("DEL", &gone, &other.netns.path(), json!({})));
    assert!(addresses.iter().all(|addr| node.host.reaches(&other.netns, *addr)));
    assert_eq!((node.host.interfaces().len(), node.in_use(), node.endpoints().len()), (1, 2, 1));
}

/// An address is free in the blocks, but the host routes it to a container. The next container that gets this
/// address fails, gives it back, and changes nothing else.
#[test]
fn an_address_that_two_were_given_stays_the_firsts() {
    for is_calicos in [false, true] {
        let Some(node) = Node::new() else { return };
        let one = node.pool_of_one();
        let (first, next) = (Container::new("aaaa", "web-0"), Container::new("bbbb", "other"));
        let addresses = node.call("ADD", &first, one.clone()).addresses();
        node.release(&first);
        assert_eq!(node.in_use(), 0);
        let name = node.host.interfaces().remove(0);
        if is_calicos {
            node.host.ip(&["link", "set", &name, "alias", ""]);
        }
        for _ in 0..2 {
            let msg = node.call("ADD", &next, one.clone()).error();
            assert!(msg.contains(&format!("leads to {name}")), "{msg}");
            ok(node.call("DEL", &next, one.clone()));
            assert!(node.host.reaches(&first.netns, addresses[0]), "{is_calicos}");
            assert_eq!((node.in_use(), node.host.interfaces()), (0, vec![name.clone()]));
        }
    }
}

/// The address is held under a handle of Calico's version 2, which DEL also releases.
#[test]
fn what_an_old_handle_holds_is_cut_off() {
    let Some(node) = Node::new() else { return };
    // With such names, the network and the container make the same handle as Calico's version 2.
    let old = Container::new("web-0", "web-0");
    node.call("ADD", &old, json!({"name": "default"})).addresses();
    let name = node.host.interfaces().remove(0);
    node.host.ip(&["link", "set", &name, "alias", ""]);
    ok(node.call_at("DEL", &Container::new("aaaa", "web-0"), "", json!({})));
    assert_eq!((node.in_use(), node.host.interfaces().len()), (0, 0));
}

/// An address that its block assigns to another pod is not given back, and its container stays connected.
#[test]
fn a_call_for_another_pod_leaves_wire_and_address() {
    let Some(node) = Node::new() else { return };
    let (container, wrong) = (Container::new("aaaa", "web-0"), Container::new("aaaa", "web-1"));
    let addresses = node.add(&container).addresses();
    ok(node.call_at("DEL", &wrong, "", json!({})));
    assert!(addresses.iter().all(|addr| node.host.reaches(&container.netns, *addr)));
    assert_eq!(node.in_use(), 2);
    ok(node.del(&container));
    assert_eq!((node.in_use(), node.host.interfaces().len()), (0, 0));
}
