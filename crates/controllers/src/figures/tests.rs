use std::sync::Arc;

use api::{Block, BlockCidr, Key, Kind, Owner, Record, Resource, Value};
use serde_json::{Value as Json, json};

use super::*;

fn insert(view: &mut View, key: Key, value: Value) {
    view.insert_record(Arc::new(Record { key, value, revision: 1i64.into() }));
}

fn resource(view: &mut View, kind: Kind, json: Json) {
    let resource = Resource::from_json(kind, json).unwrap();
    insert(view, resource.key(), Value::Resource(resource));
}

fn node(view: &mut View, name: &str, rack: &str) {
    resource(view, Kind::Node, json!({"metadata": {"name": name, "labels": {"rack": rack}}}));
}

fn pool(view: &mut View, name: &str, cidr: &str, selector: &str) {
    let spec = json!({"cidr": cidr, "blockSize": 28, "nodeSelector": selector});
    resource(view, Kind::IPPool, json!({"metadata": {"name": name}, "spec": spec}));
}

/// A block with addresses for these nodes; an empty name is a node that is not told.
fn block(view: &mut View, cidr: &str, owner: Option<&str>, nodes: &[&str]) {
    let cidr: BlockCidr = cidr.parse().unwrap();
    let now = "2026-08-01T10:00:00Z".parse().unwrap();
    let owner = owner.map(|name| Owner::Host(name.to_string()));
    let any = owner.clone().unwrap_or_else(Owner::load_balancer);
    let mut block: Block = ipam::block::create(cidr, &any, None, now);
    if owner.is_none() {
        ipam::block::disown(&mut block);
    }
    for (at, node) in nodes.iter().enumerate() {
        let attribute = api::Attribute {
            handle_id: Some(format!("h{at}")),
            owner: [("node".to_string(), (*node).to_string())].into_iter().collect(),
            ..api::Attribute::default()
        };
        block.attributes.push(Arc::new(attribute));
        block.allocations[at] = Some(at as u32);
        block.unallocated.retain(|ordinal| *ordinal != at as u32);
    }
    insert(view, Key::Block(cidr), Value::Block(block));
}

fn facts<'a>(view: &'a View, none: &'a Counts) -> Facts<'a> {
    Facts {
        view,
        candidates: none,
        reclamations: none,
        rack_label: Some("rack"),
        most_of_nodes: MOST_OF_NODES,
    }
}

fn lines(figures: &Figures, name: &str) -> Vec<String> {
    let families = figures.families.iter().filter(|family| family.name == name);
    let of = |sample: &Sample| {
        let labels: Vec<&str> = sample.labels.iter().map(|(_, value)| value.as_str()).collect();
        format!("{} {}", labels.join(" "), sample.value)
    };
    families.flat_map(|family| &family.samples).map(of).collect()
}

fn cluster() -> View {
    let mut view = View::new();
    node(&mut view, "n1", "a");
    node(&mut view, "n2", "b");
    pool(&mut view, "p", "10.0.0.0/24", "rack == \"a\"");
    pool(&mut view, "q", "10.0.1.0/24", "all()");
    block(&mut view, "10.0.0.0/28", Some("n1"), &["n1", "gone", ""]);
    block(&mut view, "10.0.0.16/28", None, &["n1"]);
    block(&mut view, "10.9.0.0/28", Some("n2"), &["n2"]);
    view
}

#[test]
fn pseudo_pools_and_nodes() {
    let view = cluster();
    let none = Counts::new();
    let figures = figures(facts(&view, &none));
    assert_eq!(
        lines(&figures, "ipam_allocations_in_use"),
        ["no_ippool n2 1", "p gone 1", "p n1 2", "p n2 0", "p unknown_node 1", "q n1 0", "q n2 0"]
    );
    // An address whose node is not told is not known to be borrowed.
    assert_eq!(
        lines(&figures, "ipam_allocations_borrowed"),
        ["p gone 1", "p n1 1", "p n2 0", "q n1 0", "q n2 0"]
    );
    assert_eq!(lines(&figures, "ipam_blocks"), ["no_ippool n2 1", "p n1 1", "p no_affinity 1"]);
    assert_eq!(lines(&figures, "ipam_allocations_per_node"), ["gone 1", "n1 2", "n2 1"]);
    assert_eq!(lines(&figures, "ipam_allocations_borrowed_per_node"), ["gone 1", "n1 1"]);
    assert_eq!(lines(&figures, "ipam_allocations_gc_reclamations"), [""; 0]);
}

#[test]
fn candidates_and_reclamations_come_from_outside() {
    let view = cluster();
    let place = |pool: &str, node: &str| Place { pool: pool.to_string(), node: node.to_string() };
    let candidates = Counts::from([(place("p", "gone"), 1)]);
    let reclamations = Counts::from([(place("q", "n1"), 7)]);
    let figures =
        figures(Facts { reclamations: &reclamations, candidates: &candidates, ..facts(&view, &candidates) });
    assert_eq!(
        lines(&figures, "ipam_allocations_gc_candidates"),
        ["p gone 1", "p n1 0", "p n2 0", "q n1 0", "q n2 0"]
    );
    assert_eq!(lines(&figures, "ipam_allocations_gc_reclamations"), ["q n1 7"]);
}

#[test]
fn too_many_nodes() {
    let view = cluster();
    let none = Counts::new();
    let all = figures(facts(&view, &none));
    let few = figures(Facts { most_of_nodes: 5, ..facts(&view, &none) });
    assert!(few.left_out > 5 && all.left_out == 0);
    assert_eq!(lines(&few, "rackpool_node_series_left_out"), [format!(" {}", few.left_out)]);
    assert_eq!(lines(&few, "ipam_blocks"), [""; 0]);
    assert_eq!(lines(&few, "ipam_ippool_size"), lines(&all, "ipam_ippool_size"));
    assert_eq!(lines(&few, "rackpool_ippool_addresses_free"), ["p 252", "q 256"]);
}

#[test]
fn what_racks_can_reach() {
    let mut view = cluster();
    let spec = json!({"reservedCIDRs": ["10.0.1.0/25"]});
    resource(&mut view, Kind::IPReservation, json!({"metadata": {"name": "r"}, "spec": spec}));
    block(&mut view, "10.0.1.128/28", Some("n2"), &["n2"]);
    let none = Counts::new();
    let free = lines(&figures(facts(&view, &none)), "rackpool_rack_addresses_free");
    assert_eq!(free, ["rack a ipv4 379", "rack b ipv4 127"]);
    let total = lines(&figures(facts(&view, &none)), "rackpool_rack_addresses");
    assert_eq!(total, ["rack a ipv4 384", "rack b ipv4 128"]);
    // Where affinity is strict, rack a cannot get what is free in a block of rack b.
    let strict = api::IpamConfig { strict_affinity: true, ..api::IpamConfig::default() };
    insert(&mut view, Key::IpamConfig, Value::IpamConfig(strict));
    let free = lines(&figures(facts(&view, &none)), "rackpool_rack_addresses_free");
    assert_eq!(free, ["rack a ipv4 364", "rack b ipv4 127"]);
}
