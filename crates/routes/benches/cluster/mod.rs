//! The records of a cluster, 40 nodes to a rack, with two blocks each.

use api::{BlockCidr, Key, Kind, Record, Revision, Value};
use routes::{Known, Snapshot};
use serde_json::{Value as Json, json};

const NODES_OF_A_RACK: usize = 40;

fn put(snapshot: &mut Snapshot, key: Key, json: &Json) {
    snapshot.take(&record(key, json));
}

fn record(key: Key, json: &Json) -> Record {
    let value = Value::from_stored_text(&key, &json.to_string()).expect("it is a record");
    Record { key, value, revision: Revision::from(1) }
}

/// A block of a node, without addresses in use.
pub fn block(rack: usize, at: usize, nth: usize) -> Record {
    let cidr: BlockCidr = format!("10.{rack}.{at}.{}/26", nth * 64).parse().expect("it is a block");
    let free: Vec<u32> = (0..64).collect();
    let json = json!({"cidr": cidr.to_string(), "affinity": format!("host:n{rack}-{at}"),
        "allocations": vec![Json::Null; 64], "unallocated": free, "attributes": []});
    record(Key::Block(cidr), &json)
}

/// A cluster of so many nodes.
pub fn cluster(nodes: usize, mode: &str) -> Snapshot {
    let mut snapshot = Snapshot::new(Known::ByBlocks);
    for rack in 0..nodes / NODES_OF_A_RACK {
        let name = format!("rack-{rack}");
        let spec = json!({"cidr": format!("10.{rack}.0.0/16"), "vxlanMode": mode, "nodeSelector": format!("rack == '{rack}'")});
        put(
            &mut snapshot,
            Key::global(Kind::IPPool, name.as_str()),
            &json!({"metadata": {"name": name}, "spec": spec}),
        );
        for at in 0..NODES_OF_A_RACK {
            let name = format!("n{rack}-{at}");
            let labels = json!({"rack": rack.to_string(), "kubernetes.io/hostname": name});
            let spec = json!({"bgp": {"ipv4Address": format!("172.16.{rack}.{}/24", at + 1)},
                "ipv4VXLANTunnelAddr": format!("10.{rack}.{at}.0")});
            let document = json!({"metadata": {"name": name, "labels": labels}, "spec": spec});
            put(&mut snapshot, Key::global(Kind::Node, name.as_str()), &document);
            for nth in 0..2 {
                snapshot.take(&block(rack, at, nth));
            }
        }
    }
    snapshot
}
