//! What the plan of a node costs in clusters of 1,000 and of 5,000 nodes, 40 to a rack, with two blocks each.
//! The work grows with the number of blocks, and hardly faster: of two figures of a kind the second is five
//! to seven times the first.

use std::hint::black_box;

use api::{BlockCidr, Key, Kind, Record, Revision, Value};
use criterion::{Criterion, criterion_group, criterion_main};
use routes::destination::Destinations;
use routes::{Difference, Exported, Known, List, Options, Present, Racks, Snapshot, node};
use serde_json::{Value as Json, json};

const NODES_OF_A_RACK: usize = 40;

fn put(snapshot: &mut Snapshot, key: Key, json: &Json) {
    let value = Value::from_stored_text(&key, &json.to_string()).expect("it is a record");
    snapshot.take(&Record { key, value, revision: Revision::from(1) });
}

fn cluster(nodes: usize, mode: &str) -> Snapshot {
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
            for block in 0..2 {
                let cidr: BlockCidr =
                    format!("10.{rack}.{at}.{}/26", block * 64).parse().expect("it is a block");
                let free: Vec<u32> = (0..64).collect();
                let block = json!({"cidr": cidr.to_string(), "affinity": format!("host:{name}"),
                    "allocations": vec![Json::Null; 64], "unallocated": free, "attributes": []});
                put(&mut snapshot, Key::Block(cidr), &block);
            }
        }
    }
    snapshot
}

fn benches(c: &mut Criterion) {
    let gateway = "172.16.7.254".parse().expect("it is an address");
    let options = Options { via: vec![gateway], ..Options::default() };
    for (mode, pools) in [("Never", "without encapsulation"), ("Always", "with VXLAN")] {
        for nodes in [1_000, 5_000] {
            let snapshot = cluster(nodes, mode);
            let plan = |snapshot: &Snapshot| {
                let destinations = Destinations::of(snapshot);
                let racks = Racks::of(&destinations, Some("rack"), Exported::Plain);
                node::desired(&destinations, &racks, "n7-0", &options).expect("the node exists")
            };
            c.bench_function(&format!("the plan of one of {nodes} nodes, {pools}"), |b| {
                b.iter(|| plan(black_box(&snapshot)));
            });
            let desired = plan(&snapshot);
            let mut present = Present::default();
            let (steps, _) = Difference::between(&present, &desired).steps(List::Fresh);
            steps.iter().for_each(|step| present.apply(step));
            c.bench_function(&format!("comparing the table of one of {nodes} nodes, {pools}"), |b| {
                b.iter(|| assert!(Difference::between(black_box(&present), &desired).is_empty()));
            });
        }
    }
}

criterion_group!(plan, benches);
criterion_main!(plan);
