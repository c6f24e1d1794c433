use api::{Affinity, Handle, HandleId, IpamConfig, Owner, Resource, Value};
use serde_json::json;

use super::*;
use crate::block::{self, ReleaseIp};

fn view(records: Vec<(Key, Value)>) -> View {
    let mut view = View::new();
    for (key, value) in records {
        view.insert_record(Arc::new(api::Record { key, value, revision: api::Revision::from(1) }));
    }
    view
}

fn resource(kind: Kind, name: &str, spec: serde_json::Value) -> (Key, Value) {
    let document = json!({"metadata": {"name": name}, "spec": spec});
    (Key::global(kind, name), Value::Resource(Resource::from_json(kind, document).unwrap()))
}

fn pool(name: &str, cidr: &str) -> (Key, Value) {
    resource(Kind::IPPool, name, json!({"cidr": cidr}))
}

fn now() -> Timestamp {
    Timestamp::from_second(1_785_578_400).unwrap()
}

fn attribute(pairs: &[(&str, &str)]) -> Arc<Attribute> {
    let owner = pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Arc::new(Attribute { handle_id: Some("h".into()), owner, ..Attribute::default() })
}

/// A block in which each of these nodes has taken an address.
fn used(cidr: &str, owner: &str, nodes: &[&str]) -> Block {
    let mut made = block::create(cidr.parse().unwrap(), &Owner::Host(owner.into()), None, now());
    for node in nodes {
        let taken = block::assign(&mut made, 1, None, &attribute(&[("node", node)]), &Reserved::default());
        assert_eq!(taken.unwrap().len(), 1);
    }
    made
}

fn stored(block: Block) -> (Key, Value) {
    (Key::Block(block.cidr), Value::Block(block))
}

fn numbers(usage: &Usage) -> (u128, u128, u128, u128) {
    (usage.total, usage.in_use, usage.reserved, usage.free)
}

/// The rows of Calico's own test of utilization, and those recorded in 104-ipam-show-reserved.
#[test]
fn reservations_count_in_pools_and_blocks() {
    let one = || {
        let mut block = used("10.0.0.0/26", "a", &[]);
        block::assign_addr(&mut block, "10.0.0.5".parse().unwrap(), None, &attribute(&[])).unwrap();
        block
    };
    for (reserved, of_pool, of_block) in [
        (&[][..], (256, 1, 0, 255), (64, 1, 0, 63)),
        (&["10.0.0.32/30"], (256, 1, 4, 251), (64, 1, 4, 59)),
        (&["10.0.0.128/25"], (256, 1, 128, 127), (64, 1, 0, 63)),
        (&["10.0.0.5/32"], (256, 1, 1, 255), (64, 1, 1, 63)),
        (&["10.0.0.0/25", "10.0.0.5/32", "10.0.0.64/26"], (256, 1, 128, 128), (64, 1, 64, 0)),
        (&["10.0.0.0/16"], (256, 1, 256, 0), (64, 1, 64, 0)),
    ] {
        let spec = json!({"reservedCIDRs": reserved});
        let view =
            view(vec![pool("p", "10.0.0.0/24"), resource(Kind::IPReservation, "r", spec), stored(one())]);
        let usage = pools(&view);
        assert_eq!(numbers(&usage.pools[0].usage), of_pool, "{reserved:?}");
        assert_eq!(numbers(&usage.pools[0].blocks[0].usage), of_block, "{reserved:?}");
        assert_eq!(usage.orphans, []);
    }
}

/// As recorded in 101-ipam-show-racks and 103-ipam-show-ipv6, without the clamping.
#[test]
fn blocks_go_to_the_pool_that_they_overlap_in_the_order_of_their_text() {
    let view = view(vec![
        pool("six", "fd00:1::/64"),
        pool("a", "10.0.0.0/16"),
        stored(used("10.0.44.64/26", "a", &["a"])),
        stored(used("10.0.7.128/26", "b", &["a", "b"])),
        stored(used("fd00:1::40/122", "a", &["a"])),
        stored(used("fd00:2::40/122", "a", &["a"])),
        stored(used("192.168.0.0/26", "a", &["a"])),
    ]);
    let usage = pools(&view);
    let names: Vec<_> = usage.pools.iter().map(|p| p.pool.name.as_str()).collect();
    assert_eq!(names, ["a", "six"]);
    let rows = |blocks: &[BlockUsage]| blocks.iter().map(|b| b.cidr.to_string()).collect::<Vec<_>>();
    assert_eq!(rows(&usage.pools[0].blocks), ["10.0.44.64/26", "10.0.7.128/26"]);
    assert_eq!(numbers(&usage.pools[0].usage), (65536, 3, 0, 65533));
    let all = 1u128 << 64;
    assert_eq!(numbers(&usage.pools[1].usage), (all, 1, 0, all - 1));
    assert_eq!(rows(&usage.orphans), ["192.168.0.0/26", "fd00:2::40/122"]);
    assert_eq!(numbers(&usage.orphans[0].usage), (64, 1, 0, 63));
}

#[test]
fn the_largest_pool_and_the_whole_of_it_reserved_do_not_overflow() {
    let records = || vec![pool("p", "::/0"), stored(used("fd00::/122", "a", &["a"]))];
    assert_eq!(numbers(&pools(&view(records())).pools[0].usage), (u128::MAX, 1, 0, u128::MAX - 1));
    let mut reserved = records();
    reserved.push(resource(Kind::IPReservation, "r", json!({"reservedCIDRs": ["::/0"]})));
    assert_eq!(numbers(&pools(&view(reserved)).pools[0].usage), (u128::MAX, 1, u128::MAX, 0));
}

#[test]
fn an_address_is_found_in_a_block_of_any_size_and_without_a_pool() {
    let mut block = used("10.0.0.16/28", "a", &["a", "b"]);
    let gone = ReleaseIp { addr: "10.0.0.17".parse().unwrap(), handle: None, sequence: None };
    block::release(&mut block, &[gone], now(), 300).unwrap();
    let records = vec![stored(block.clone()), (Key::IpamConfig, Value::IpamConfig(IpamConfig::default()))];
    let view = view(records);
    let of = |addr: &str| allocation_of(&view, addr.parse().unwrap());
    let wanted = Allocation::Assigned {
        block: block.cidr,
        attribute: attribute(&[("node", "a")]),
        sequence: block.sequence_of(0),
    };
    assert_eq!(of("10.0.0.16"), wanted);
    assert_eq!(of("10.0.0.17"), Allocation::Cooling { block: block.cidr, since: now() });
    for free in ["10.0.0.18", "10.0.0.32", "fd00::1"] {
        assert_eq!(of(free), Allocation::None, "{free}");
    }
    let read = reads_of("10.0.0.17".parse().unwrap());
    assert!(read.scopes.is_empty() && read.keys.iter().any(|(key, _)| *key == Key::Block(block.cidr)));
    let usage = of_block(&block, &Reserved::default());
    assert_eq!((usage.in_use, usage.cooling, usage.free), (2, 1, 14));
}

/// As recorded in 008-explicit-ip and 015-borrowing of the Kubernetes datastore.
#[test]
fn what_is_borrowed() {
    let none = Reserved::default();
    let mut block = used("10.0.0.0/28", "n1", &["n1"]);
    for pairs in [
        &[("node", "n2"), ("pod", "c"), ("namespace", "default")][..],
        &[("node", "n2")],
        &[("node", "n2"), ("type", "ipipTunnelAddress")],
        &[("node", "n2"), ("vmi-name", "vm"), ("pod", "p"), ("namespace", "ns")],
        &[("note", "an old one")],
    ] {
        block::assign(&mut block, 1, None, &attribute(pairs), &none).unwrap();
    }
    let mut nobodys = used("10.0.0.16/28", "n1", &["n1", "n2"]);
    block::disown(&mut nobodys);
    let gone = ReleaseIp { addr: "10.0.0.17".parse().unwrap(), handle: None, sequence: None };
    block::release(&mut nobodys, &[gone], now(), 300).unwrap();
    let mut records = vec![stored(block), stored(nobodys)];
    records.push((
        Key::Affinity { owner: Owner::Host("n1".into()), block: "10.0.0.0/28".parse().unwrap() },
        Value::Affinity(Affinity::default()),
    ));
    records.push((Key::Handle(HandleId::new("h").unwrap()), Value::Handle(Handle::default())));
    let found = borrowed(&view(records));
    let rows: Vec<String> = found
        .addresses
        .iter()
        .map(|b| {
            let owner = b.owner.as_deref().unwrap_or("-");
            format!("{} {} {} {owner} {} {}", b.addr, b.node, b.block, b.kind, b.user)
        })
        .collect();
    assert_eq!(
        rows,
        [
            "10.0.0.1 n2 10.0.0.0/28 n1 pod default/c",
            "10.0.0.2 n2 10.0.0.0/28 n1  ",
            "10.0.0.3 n2 10.0.0.0/28 n1 ipipTunnelAddress ",
            "10.0.0.4 n2 10.0.0.0/28 n1 vmi ns/vm",
            "10.0.0.16 n1 10.0.0.16/28 -  ",
        ]
    );
    assert_eq!(found.without_node, 1);
}
