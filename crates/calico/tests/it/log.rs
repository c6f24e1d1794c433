//! What is logged, and where.

use std::fs;

use serde_json::json;

use crate::harness::{Container, Node};

/// calico-ipam gets the same configuration, and what it writes to standard error reaches the runtime.
#[test]
fn both_plugins_write_the_same_file() {
    let Some(node) = Node::new() else { return };
    let path = node.path("log/cni.log");
    let secret = "hidden-token";
    let more = json!({"log_file_path": path, "policy": {"k8s_auth_token": secret}});
    let answer = node.call("ADD", &Container::new("aaaa", "pod-a"), more);
    assert_eq!(answer.code, 0, "{answer:?}");
    let file = fs::read_to_string(path).unwrap();
    let sorted = |text: &str| {
        let mut lines: Vec<_> = text.lines().map(str::to_string).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&file), sorted(&answer.stderr));
    for program in ["calico: attached aaaa", "calico: created the profile net", "calico-ipam: "] {
        assert!(file.contains(program), "{program} is not in {file}");
    }
    assert!(!file.contains(secret), "{file}");
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let Some(node) = Node::new() else { return };
    let path = node.path("nodename").join("cni.log");
    let answer = node.call("ADD", &Container::new("aaaa", "pod-a"), json!({"log_file_path": path}));
    assert_eq!(answer.addresses().len(), 2);
    assert!(answer.stderr.contains("no log file is written: "), "{}", answer.stderr);
}
