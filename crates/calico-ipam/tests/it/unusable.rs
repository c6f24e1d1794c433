//! No setting of a network configuration that cannot be used is taken without a word: an error or a line in
//! the log follows.

use serde_json::json;

use crate::harness::{Machine, node, pool};

#[test]
fn no_setting_is_ignored_without_a_word() {
    let machine = Machine::new(&[node("n1", json!({})), pool("four", "10.0.0.0/24", json!({}))]);
    let odd = [
        ("datastore_type", json!("mongodb")),
        ("log_level", json!("loud")),
        ("log_file_max_size", json!(-1)),
        ("log_file_max_age", json!(-1)),
        ("log_file_max_count", json!(-1)),
        ("calico_api_group", json!("crd.example.org/v1")),
        ("etcd_scheme", json!("gopher")),
        ("etcd_endpoints", json!("::::")),
        ("burst", json!(-1)),
        ("num_queues", json!(-1)),
        ("mode", json!("vxlan")),
        ("vxlan_mac_prefix", json!("0E-2A")),
        ("vxlan_vni", json!(4096)),
        ("ipam_lock_file", json!("/dev/full/x")),
        ("ipam", json!({"type": "calico-ipam", "ipv4_pools": ["x y"]})),
        ("ipam", json!({"type": "calico-ipam", "assign_ipv4": "maybe"})),
        ("ipam", json!({"type": "calico-ipam", "asign_ipv6": "true"})),
        ("ipam", json!({"type": "calico-ipam", "ipv4_pool": ["four"]})),
        ("nodname", json!("n1")),
        ("log_levl", json!("debug")),
        ("kubernets", json!({})),
    ];
    let mut ignored = Vec::new();
    for (n, (field, value)) in odd.iter().enumerate() {
        let conf = machine.conf(json!({(*field): value}));
        let answer = machine.run_with("ADD", &format!("c{n}"), "", &conf);
        if answer.code == Some(0) && answer.stderr.is_empty() {
            ignored.push(format!("{field} = {value}"));
        }
    }
    assert!(ignored.is_empty(), "{} of {}: {ignored:#?}", ignored.len(), odd.len());
}
