//! Pods that wait until the node agent has made their rules.

use std::fs;
use std::thread;

use serde_json::json;

use crate::harness::{Container, Node};

#[test]
fn a_pod_waits_for_its_policy() {
    let Some(node) = Node::new() else { return };
    let folder = node.path("status");
    let more = json!({"policy_setup_timeout_seconds": 600, "endpoint_status_dir": folder});
    thread::scope(|scope| {
        let add = scope.spawn(|| node.call("ADD", &Container::new("aaaa", "pod-a"), more));
        // The node agent learns of the endpoint from the store.
        while node.endpoints().is_empty() {
            thread::yield_now();
        }
        assert!(!add.is_finished(), "it waits");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("k8s default%2Fpod-a eth0"), "").unwrap();
        let answer = add.join().unwrap();
        assert_eq!(answer.addresses().len(), 2);
        assert!(!answer.stderr.contains("the node agent"), "{}", answer.stderr);
    });
}

#[test]
fn a_pod_starts_without_its_policy_when_the_time_is_over() {
    let Some(node) = Node::new() else { return };
    let more = json!({"policy_setup_timeout_seconds": 1, "endpoint_status_dir": node.path("status")});
    let answer = node.call("ADD", &Container::new("aaaa", "pod-a"), more);
    assert_eq!(answer.addresses().len(), 2);
    assert!(answer.stderr.contains("status/k8s default%2Fpod-a eth0 within 1s"), "{}", answer.stderr);
}

#[test]
fn less_than_no_time() {
    let Some(node) = Node::new() else { return };
    let answer =
        node.call("ADD", &Container::new("aaaa", "pod-a"), json!({"policy_setup_timeout_seconds": -1}));
    assert!(answer.error().starts_with("invalid pod startup delay of -1"), "{answer:?}");
    assert_eq!((node.in_use(), node.endpoints().len()), (0, 0));
}
