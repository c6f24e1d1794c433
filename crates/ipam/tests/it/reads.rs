//! The number of records that an operation reads does not depend on the size of the cluster.

use std::time::Duration;

use api::{AffinityState, Key, Value};
use store::testing::{Counting, Counts, RecordType};

use crate::world::*;

/// A cluster with that many other nodes, each with a block, a handle and an address.
fn cluster(others: usize) -> World {
    let world = World::with_pool("10.0.0.0/12", 26);
    world.reserve(&["10.0.0.0/30"]);
    world.config(|_| {});
    world.add("a", "h");
    let mine = world.blocks()[0].cidr;
    let attribute = std::sync::Arc::new(api::Attribute { handle_id: Some("x".into()), ..Default::default() });
    let now = api::Timestamp::from_second(1_785_578_400).unwrap();
    let blocks = (0..).filter_map(|n| {
        let addr = api::cidr::offset(ip("10.0.0.0"), n * 64);
        api::BlockCidr::holding(addr, 26).filter(|block| *block != mine)
    });
    for (at, block) in blocks.take(others).enumerate() {
        let owner = host(&format!("node{at}"));
        let mut made = ipam::block::create(block, &owner, None, now);
        ipam::block::assign(&mut made, 1, None, &attribute, &Default::default()).unwrap();
        world.store.put(
            Key::Affinity { owner, block },
            Value::Affinity(api::Affinity::new(AffinityState::Confirmed)),
        );
        world.store.put(Key::Block(block), Value::Block(made));
        world.node(&format!("node{at}"), &[]);
        let handle = api::Handle { blocks: [(block, 1)].into(), deleted: false };
        world.store.put(Key::Handle(handle_of(at)), Value::Handle(handle));
    }
    world
}

fn handle_of(at: usize) -> api::HandleId {
    handle(&format!("x{at}"))
}

fn counted<P: ipam::Planner>(world: &World, planner: P) -> Counts
where
    P::Error: std::fmt::Debug,
{
    let counting = Counting::new(world.store.clone());
    block_on(ipam::run(&counting, &world.clock, planner, Duration::from_secs(10))).unwrap();
    counting.counts()
}

#[test]
fn an_address_from_an_own_block() {
    let [small, large] = [10, 2_000].map(|others| {
        let world = cluster(others);
        counted(&world, request("a", "i", 1, 0).planner())
    });
    assert_eq!(small, large);
    assert_eq!((large.reads, large.commits), (2, 1));
    assert_eq!(large.writes_sent(), 2, "the handle and the block");
    let records: Vec<_> = large.records.iter().map(|(of, n)| (*of, *n)).collect();
    let wanted = [
        // The node, the pool and the reservation.
        (RecordType::Resource, 3),
        (RecordType::IpamConfig, 1),
        (RecordType::Affinity, 1),
        (RecordType::Block, 1),
    ];
    assert_eq!(records, wanted);
}

/// What a request reads, it reads once. Calico reads the handle twice in a release, node and pools after
/// each, and configuration, reservations, node and pools again for the second family.
#[test]
fn releases_and_named_addresses() {
    type Count = fn(&World) -> Counts;
    let rows: [(&str, Count, u64, u64); 4] = [
        (
            "by handle",
            |w| counted(w, ipam::ReleaseByHandle::new(vec![handle("h")], Some("a".into())).planner()),
            2,
            2,
        ),
        (
            "by address",
            |w| {
                let addr = *w.assigned().iter().find(|(_, id)| *id == "h").unwrap().0;
                let ip = ipam::ReleaseIp { addr, handle: None, sequence: None };
                counted(w, ipam::ReleaseIps::new(vec![ip]).planner())
            },
            3,
            2,
        ),
        (
            "an address that is in no pool",
            |w| counted(w, ipam::ReleaseIps::new(vec![just("172.16.0.1")]).planner()),
            2,
            0,
        ),
        (
            "a named address",
            |w| {
                let block =
                    w.blocks().into_iter().find(|b| b.affinity.as_deref() == Some("host:a")).unwrap().cidr;
                counted(w, request_ip("a", "i", &block.addr(9).unwrap().to_string()).planner())
            },
            2,
            2,
        ),
    ];
    for (what, count, reads, writes) in rows {
        let [small, large] = [10, 2_000].map(|others| count(&cluster(others)));
        assert_eq!(small, large, "{what}");
        assert_eq!((large.reads, large.writes_sent()), (reads, writes), "{what}");
    }
}

/// For a host's first block, the keys of all blocks are read, but no other block. Calico lists and decodes
/// every block of the cluster for that.
#[test]
fn a_first_block_reads_no_other() {
    let world = cluster(2_000);
    world.node("new", &[]);
    let counts = counted(&world, request("new", "i", 1, 0).planner());
    assert_eq!((counts.reads, counts.commits, counts.writes_sent()), (2, 1, 5));
}

/// What the caller has read is not read again, unless it turns out to be out of date.
#[test]
fn a_view_that_was_read_before() {
    let within = Duration::from_secs(10);
    for is_old in [false, true] {
        let world = cluster(10);
        let counting = Counting::new(world.store.clone());
        let planner = request("a", "i", 1, 0).planner();
        let set = ipam::Planner::reads(&planner);
        let view = block_on(store::Store::read(&world.store, &set, within)).unwrap();
        if is_old {
            // Another request has created the handle in the meantime.
            world.run(request("a", "i", 1, 0).planner()).unwrap();
        }
        let answer = block_on(ipam::run_from(&counting, &world.clock, planner, view, within)).unwrap();
        assert_eq!(answer.v4.addresses.len(), 1);
        let counts = counting.counts();
        let wanted = if is_old { (3, 2) } else { (1, 1) };
        assert_eq!((counts.reads, counts.commits), wanted, "is_old: {is_old}");
    }
}
