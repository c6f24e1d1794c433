//! Deleting a node, and everything that is deleted or released with it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{Key, Kind, Resource, Value};
use resources::Identifier;
use serde_json::json;
use store::{Batch, Expect, MemoryStore, Store};

use crate::common::{Fixed, allocation_keys, assign, client, id, pool, resource, run, stored};

fn endpoint(node: &str, pod: &str, addr: IpAddr) -> Resource {
    Resource::from_input(json!({"kind": "WorkloadEndpoint", "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": format!("{node}-k8s-{pod}-eth0"), "namespace": "default"},
        "spec": {"node": node, "orchestrator": "k8s", "pod": pod, "endpoint": "eth0", "containerID": "c", "interfaceName": "cali0",
            "ipNetworks": [format!("{addr}/32")]}}))
    .unwrap()
}

#[test]
fn a_node_takes_along_what_is_its_own() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    run(client.create(&pool("a", "10.0.0.0/24"))).unwrap();
    run(client.create(&resource(Kind::IPPool, "six", json!({"cidr": "fd00::/120"})))).unwrap();
    let (workload, other) =
        (assign(&store, &effects, "n1", "w1", 1)[0], assign(&store, &effects, "n2", "w2", 1)[0]);
    let mut tunnel = ipam::AutoAssign::new("n1", api::Use::Tunnel);
    tunnel.handle = api::HandleId::new("vxlan-v6-tunnel-addr-n1");
    tunnel.attributes = BTreeMap::from([("node".to_string(), "n1".to_string())]);
    tunnel.v6 = 1;
    let v6 = run(ipam::run(&store, &effects, tunnel.planner(), crate::common::WITHIN)).unwrap().v6.addresses
        [0]
    .addr;
    run(client.apply(&resource(Kind::Node, "n1", json!({"ipv6VXLANTunnelAddr": v6.to_string()})))).unwrap();
    run(client.create(&endpoint("n1", "p1", workload))).unwrap();
    // This endpoint is out of date: its address was assigned to another node long ago.
    run(client.create(&endpoint("n1", "p2", other))).unwrap();
    run(client.create(&endpoint("n2", "p3", other))).unwrap();
    let peer = |node: &str| json!({"node": node, "peerIP": "10.9.9.9", "asNumber": 64512});
    run(client.create(&resource(Kind::BGPPeer, "one", peer("n1")))).unwrap();
    run(client.create(&resource(Kind::BGPPeer, "two", peer("n2")))).unwrap();

    // Old clusters have a record of each host.
    for host in ["n1", "n2"] {
        store.put(Key::IpamHost(host.to_string()), Value::IpamHost);
    }

    run(client.delete(&id(Kind::Node, "n1"), None)).unwrap();
    let hosts: Vec<Key> = store.records().iter().map(|record| record.key.clone()).collect();
    let is_host = |key: &&Key| matches!(key, Key::IpamHost(_));
    assert_eq!(hosts.iter().filter(is_host).collect::<Vec<_>>(), [&Key::IpamHost("n2".to_string())]);
    let left = allocation_keys(&store);
    assert!(left.iter().all(|key| !key.contains("n1") && !key.ends_with("w1")), "{left:?}");
    assert!(left.iter().any(|key| key.ends_with("/handle/w2")), "{left:?}");
    let endpoints = run(client.list(Kind::WorkloadEndpoint, None)).unwrap().items;
    assert_eq!(endpoints.iter().map(|endpoint| endpoint.name()).collect::<Vec<_>>(), ["n2-k8s-p3-eth0"]);
    assert_eq!(stored(&store, &id(Kind::BGPPeer, "one")), None);
    assert!(stored(&store, &id(Kind::BGPPeer, "two")).is_some());
    assert_eq!(stored(&store, &id(Kind::Node, "n1")), None);
}

#[test]
fn a_wrong_revision_is_found_before_anything_is_done() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    run(client.create(&pool("a", "10.0.0.0/24"))).unwrap();
    let workload = assign(&store, &effects, "n1", "w1", 1)[0];
    run(client.create(&endpoint("n1", "p1", workload))).unwrap();
    let before = store.records();
    let error = run(client.delete(&id(Kind::Node, "n1"), Some("0"))).unwrap_err();
    assert_eq!(error.to_string(), "update conflict: Node(n1)");
    assert_eq!(store.records(), before);
}

#[test]
fn a_node_that_is_gone_is_still_cleaned_up() {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    let client = client(&store, &effects);
    run(client.create(&pool("a", "10.0.0.0/24"))).unwrap();
    let workload = assign(&store, &effects, "n1", "w1", 1)[0];
    run(client.create(&endpoint("n1", "p1", workload))).unwrap();
    let key = id(Kind::Node, "n1").key();
    let node = store.records().into_iter().find(|record| record.key == key).unwrap();
    let mut batch = Batch::new();
    batch.delete(key, Expect::Revision(node.revision.clone()));
    assert!(run(store.commit(&batch, crate::common::WITHIN)).unwrap().is_applied());
    let error = run(client.delete(&id(Kind::Node, "n1"), None)).unwrap_err();
    assert!(error.is_does_not_exist(), "{error}");
    assert_eq!(allocation_keys(&store), Vec::<String>::new());
    let endpoint = Identifier::new(Kind::WorkloadEndpoint, Some("default"), "n1-k8s-p1-eth0");
    assert_eq!(stored(&store, &endpoint), None);
}
