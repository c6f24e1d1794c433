//! Calls that are refused leave nothing behind.

use std::fs;

use serde_json::json;
use setup::Environment;

use crate::harness::{Container, Node, run};

#[test]
fn nothing_begins_while_the_datastore_is_locked() {
    let Some(node) = Node::new() else { return };
    let container = Container::new("aaaa", "pod-a");
    node.lock(true);
    for command in ["ADD", "DEL"] {
        let msg = node.call(command, &container, json!({})).error();
        assert_eq!(msg, "Calico is currently not ready to process requests", "{command}");
    }
    node.lock(false);
    assert_eq!(node.add(&container).code, 0);
}

/// Where nothing names a store and there is none, a container still loses its interface.
#[test]
fn a_container_ends_without_a_store() {
    let Some(node) = Node::new() else { return };
    if !matches!(std::path::Path::new(setup::MACHINE_STORE).try_exists(), Ok(false)) {
        println!("skipped: this machine has a store");
        return;
    }
    let container = Container::new("aaaa", "pod-a");
    node.add(&container).addresses();
    let unnamed = || json!({"datastore_type": "", "rackpool_db": ""});
    let ended = node.call("DEL", &container, unnamed());
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");
    assert!(node.host.interfaces().is_empty() && container.netns.interfaces().is_empty());
    let msg = node.call("ADD", &container, unnamed()).error();
    assert!(msg.starts_with("error creating calico client: no store here yet: "), "{msg}");
    assert!(!std::path::Path::new(setup::MACHINE_STORE).exists());
}

#[test]
fn nothing_begins_without_the_nodes_name() {
    let Some(node) = Node::new() else { return };
    fs::remove_file(node.path("nodename")).unwrap();
    let msg = node.add(&Container::new("aaaa", "pod-a")).error();
    assert!(msg.contains("nodename: no such file or directory: check that the calico/node"), "{msg}");
}

/// After a start of the node no container comes before the agent has made its routes and filter. Those that
/// are there can be looked at and ended at any time.
#[test]
fn nothing_is_attached_before_the_agents_first_sync() {
    let Some(node) = Node::new() else { return };
    let container = Container::new("aaaa", "pod-a");
    let mark = node.path("synced");
    let required = || json!({"require_agent_sync": true, "agent_sync_file": mark});
    let refused = node.call("ADD", &container, required());
    assert!(refused.error().contains("rackpoold node, has not finished its first sync"), "{refused:?}");
    assert!(refused.stdout.contains(r#""code": 11,"#), "{refused:?}");
    assert_eq!((node.in_use(), node.endpoints().len()), (0, 0));
    fs::write(&mark, "").unwrap();
    assert_eq!(node.call("ADD", &container, required()).code, 0);
    fs::remove_file(&mark).unwrap();
    assert_eq!(node.call("DEL", &container, required()).code, 0);
    assert_eq!((node.in_use(), node.endpoints().len()), (0, 0));
}

/// TEST decides whether containers may come at all, so it also works before the node has its name.
#[test]
fn a_test_looks_at_the_datastore_alone() {
    let Some(node) = Node::new() else { return };
    fs::remove_file(node.path("nodename")).unwrap();
    let test = || run(&["-t"], Environment::default(), &node.configuration(json!({})));
    assert_eq!(test().code, 0);
    node.lock(true);
    let locked = test();
    assert_eq!(locked.error(), "data store connection failed");
    assert!(locked.stdout.contains("not ready to process requests"), "{locked:?}");
}

#[test]
fn a_failure_after_the_address_was_given_gives_it_back() {
    let Some(node) = Node::new() else { return };
    let container = Container::new("aaaa", "pod-a");
    let msg = node.call("ADD", &container, json!({"device_type": "teapot"})).error();
    assert!(msg.contains("teapot"), "{msg}");
    let msg = node.call("ADD", &container, json!({"mtu": 20})).error();
    assert!(msg.contains("MTU") && msg.contains("20"), "{msg}");
    assert_eq!((node.in_use(), node.endpoints().len()), (0, 0));
    assert!(node.host.interfaces().is_empty() && container.netns.interfaces().is_empty());
}

/// The IPAM plugin releases addresses by the container's name, so it also releases those of the earlier ADD.
/// The endpoint of that ADD has to go, too.
#[test]
fn a_failure_of_a_second_add_leaves_nothing_of_the_first() {
    let Some(node) = Node::new() else { return };
    let container = Container::new("aaaa", "pod-a");
    node.add(&container).addresses();
    node.call("ADD", &container, json!({"mtu": 20})).error();
    assert_eq!((node.in_use(), node.endpoints().len()), (0, 0));
    // Addresses were given back, so no route may lead to them.
    assert!(node.host.interfaces().is_empty() && container.netns.interfaces().is_empty());
    assert_eq!(node.del(&container).code, 0);
}

#[test]
fn the_ipam_plugins_words_are_the_answer() {
    let Some(node) = Node::new() else { return };
    let container = Container::new("aaaa", "pod-a");
    let pools = json!({"ipam": {"type": "calico-ipam", "ipv4_pools": ["nope"]}});
    assert_eq!(
        node.call("ADD", &container, pools).error(),
        "error parsing pool \"nope\": invalid CIDR address: nope"
    );
    let missing = node.call("ADD", &container, json!({"ipam": {"type": "no-such-plugin"}})).error();
    assert!(missing.starts_with("failed to find plugin \"no-such-plugin\" in path ["), "{missing}");
    let outside = node.call("ADD", &container, json!({"ipam": {"type": "../calico-ipam"}})).error();
    assert_eq!(outside, "invalid plugin name: ../calico-ipam");
}

#[test]
fn check_names_what_is_not_as_it_was() {
    let Some(node) = Node::new() else { return };
    let container = Container::new("aaaa", "pod-a");
    node.add(&container);
    container.netns.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap());
    node.host.run(|| {
        let interface = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let name = interface.lines().find_map(|line| line.trim().strip_prefix("cali")).unwrap();
        let name = format!("cali{}", name.split(':').next().unwrap());
        fs::write(format!("/proc/sys/net/ipv4/conf/{name}/proxy_arp"), "0").unwrap();
    });
    let msg = node.check(&container).error();
    assert!(msg.contains("proxy_arp is 0 instead of 1"), "{msg}");
}

#[test]
fn versions_and_commands() {
    let Some(node) = Node::new() else { return };
    let container = Container::new("aaaa", "pod-a");
    let new = node.call("ADD", &container, json!({"cniVersion": "1.1.0"}));
    assert_eq!(new.error(), "incompatible CNI versions");
    let old = node.call("CHECK", &container, json!({"cniVersion": "0.3.1"}));
    assert_eq!(old.error(), "config version does not allow CHECK");
    assert_eq!(node.call("DANCE", &container, json!({})).error(), "unknown CNI_COMMAND: DANCE");
    let versions = node.call("VERSION", &container, json!({}));
    assert!(versions.code == 0 && versions.stdout.contains("1.0.0"), "{versions:?}");
}

/// Another dataplane is refused, and nothing is attached as if it were Linux's.
#[test]
fn another_dataplane() {
    let Some(node) = Node::new() else { return };
    let container = Container::new("aaaa", "pod-a");
    for (options, told) in [
        (json!({"type": "grpc", "socket": "unix:///run/x.sock"}), "dataplane_options.type is \"grpc\""),
        (json!({"type": "vpp"}), "Invalid dataplane type: vpp"),
    ] {
        let more = json!({"dataplane_options": options});
        let msg = node.call("ADD", &container, more.clone()).error();
        assert!(msg.contains(told) && msg.contains("take dataplane_options out"), "{msg}");
        assert_eq!((node.in_use(), node.endpoints().len()), (0, 0));
        assert!(node.host.interfaces().is_empty() && container.netns.interfaces().is_empty());
        assert_eq!(node.call("DEL", &container, more.clone()).code, 0, "there is nothing to be taken down");

        // A container that the other dataplane attached keeps its address.
        node.add(&container).addresses();
        for command in ["CHECK", "DEL"] {
            assert!(node.call(command, &container, more.clone()).error().contains(told), "{command}");
        }
        assert_eq!((node.in_use(), node.endpoints().len()), (2, 1));
        assert_eq!(node.del(&container).code, 0);
    }
    node.call("ADD", &container, json!({"dataplane_options": {"type": "linux"}})).addresses();
}

#[test]
fn more_queues_than_there_can_be() {
    let Some(node) = Node::new() else { return };
    let container = Container::new("aaaa", "pod-a");
    for (wanted, told) in [(5000_i64, "number of queues \"5000\""), (5_000_000_000, "num_queues 5000000000")]
    {
        let msg = node.call("ADD", &container, json!({"num_queues": wanted})).error();
        assert!(msg.contains(told), "{msg}");
    }
    assert_eq!(node.in_use(), 0);
    node.call("ADD", &container, json!({"num_queues": -1})).addresses();
}
