//! IPAM plugins of other projects, played by scripts that record how they were called.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value as Json, json};

use crate::harness::{Container, Node};

/// Installs a plugin that gives 10.7.0.9 in that result, and records how it was called.
fn plugin(node: &mut Node, name: &str, result: &Json) {
    let folder = node.path("bin");
    fs::create_dir_all(&folder).unwrap();
    let script = format!(
        "#!/bin/sh\ncat > \"$TEST_DIR/$CNI_COMMAND.json\"\necho \"$CNI_ARGS\" > \"$TEST_DIR/$CNI_COMMAND.args\"\n\
         [ \"$CNI_COMMAND\" = ADD ] && cat <<'EOF'\n{result}\nEOF\nexit 0\n"
    );
    fs::write(folder.join(name), script).unwrap();
    fs::set_permissions(folder.join(name), Permissions::from_mode(0o755)).unwrap();
    node.bin = folder;
}

fn noted(node: &Node, command: &str) -> Json {
    serde_json::from_str(&fs::read_to_string(node.path(&format!("{command}.json"))).unwrap()).unwrap()
}

#[test]
fn an_old_result_is_understood_and_the_answer_is_the_configurations() {
    let Some(mut node) = Node::new() else { return };
    let result = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.7.0.9/24", "gateway": "10.7.0.1"}, "dns": {"nameservers": ["10.0.0.53"]}});
    plugin(&mut node, "old-ipam", &result);
    let container = Container::new("aaaa", "pod-a");
    let more = json!({"ipam": {"type": "old-ipam", "mine": [1]}});
    let answer = node.call("ADD", &container, more.clone());
    assert_eq!(answer.addresses(), ["10.7.0.9".parse::<std::net::IpAddr>().unwrap()]);
    let json: Json = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(json["dns"], json!({"nameservers": ["10.0.0.53"]}));
    assert_eq!(noted(&node, "ADD")["ipam"], more["ipam"], "it gets its own fields");
    let args = fs::read_to_string(node.path("ADD.args")).unwrap();
    assert_eq!(args, "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=pod-a\n");
    assert!(node.host.reaches(&container.netns, "10.7.0.9".parse().unwrap()));
    assert_eq!(node.call("DEL", &container, more).code, 0);
    assert_eq!(noted(&node, "DEL")["name"], "net");
}

#[test]
fn a_plugin_that_gives_nothing_is_asked_to_take_it_back() {
    let Some(mut node) = Node::new() else { return };
    plugin(&mut node, "empty-ipam", &json!({"cniVersion": "1.0.0"}));
    let answer = node.call("ADD", &Container::new("aaaa", "pod-a"), json!({"ipam": {"type": "empty-ipam"}}));
    assert_eq!(answer.error(), "IPAM plugin returned missing IP config");
    assert!(node.path("DEL.json").exists());
}

#[test]
fn host_local_gets_the_nodes_own_pod_cidr() {
    let Some(mut node) = Node::new() else { return };
    plugin(&mut node, "host-local", &json!({"cniVersion": "1.0.0", "ips": [{"address": "10.7.0.9/24"}]}));
    let container = Container::new("aaaa", "pod-a");
    let more = json!({"ipam": {"type": "host-local", "subnet": "usePodCidr"}});
    let refused = node.call("ADD", &container, more.clone()).error();
    assert!(refused.contains("usePodCidr") && refused.contains("n1"), "{refused}");
    node.give_pod_cidrs(&["10.7.0.0/24"]);
    node.call("ADD", &container, more.clone()).addresses();
    assert_eq!(noted(&node, "ADD")["ipam"]["subnet"], "10.7.0.0/24");
    // A DEL fills in a network even when the node has no pod CIDRs any more.
    node.give_pod_cidrs(&[]);
    assert_eq!(node.call("DEL", &container, more).code, 0);
    assert_eq!(noted(&node, "DEL")["ipam"]["subnet"], "0.0.0.0/0");

    let routed = Container::new("bbbb", "pod-b");
    let routes = json!({"ipam": {"type": "host-local", "routes": [{"dst": "10.0.0.0/8"}]}});
    node.call("ADD", &routed, routes).addresses();
    let table = routed.netns.run(|| fs::read_to_string("/proc/thread-self/net/route").unwrap());
    let destinations: Vec<_> = table.lines().skip(1).filter_map(|line| line.split('\t').nth(1)).collect();
    assert!(destinations.contains(&"0000000A") && !destinations.contains(&"00000000"), "{table}");
}

/// The interface to which the address is routed is removed before the address is given back, whatever the
/// interface's name.
#[test]
fn an_end_of_another_name_goes_before_the_plugin_is_asked() {
    let Some(mut node) = Node::new() else { return };
    plugin(&mut node, "mine-ipam", &json!({"cniVersion": "1.0.0", "ips": [{"address": "10.7.0.9/24"}]}));
    let container = Container::new("aaaa", "pod-a");
    let more = json!({"ipam": {"type": "mine-ipam"}});
    let addr = node.call("ADD", &container, more.clone()).addresses()[0].to_string();
    let name = node.host.interfaces().remove(0);
    for line in [
        format!("link set {name} down"),
        format!("link set {name} name other0"),
        "link set other0 up".to_string(),
    ] {
        node.host.ip(&line.split(' ').collect::<Vec<_>>());
    }
    node.host.ip(&["route", "replace", &addr, "dev", "other0"]);
    // The end's alias names another container: the end stays, and nothing is given back.
    node.host.ip(&["link", "set", "other0", "alias", "cccc"]);
    let msg = node.call_at("DEL", &container, "", more.clone()).error();
    assert!(msg.contains("10.7.0.9") && msg.contains("ip link delete other0"), "{msg}");
    assert!(!node.path("DEL.json").exists());
    node.host.ip(&["link", "set", "other0", "alias", "aaaa"]);
    assert_eq!(node.call_at("DEL", &container, "", more).code, 0);
    assert!(node.host.interfaces().is_empty() && node.path("DEL.json").exists());
}
