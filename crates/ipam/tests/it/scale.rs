//! Pools that are too large to be searched completely, and clusters that are full.

use api::{AffinityState, Key, Value};

use crate::world::*;

#[test]
fn a_pool_of_more_blocks_than_can_be_counted() {
    let world = World::new();
    world.pool("p", "fd00::/48", 122);
    world.node("a", &[]);
    assert_eq!(world.auto(request("a", "h", 0, 100)).v6.addresses.len(), 100);
    // Almost all addresses of the pool are reserved.
    let mut reserved: Vec<String> = Vec::new();
    for prefix in 49..=120u8 {
        let bit = 1u128 << (128 - prefix);
        reserved.push(format!("{}/{prefix}", api::cidr::offset(ip("fd00::"), bit)));
    }
    world.reserve(&reserved.iter().map(String::as_str).collect::<Vec<_>>());
    world.node("b", &[]);
    let answer = world.auto(request("b", "i", 0, 300));
    assert_eq!(answer.v6.addresses.len(), 256, "{:?}", answer.v6.messages);
    assert!(answer.v6.addresses.iter().all(|a| cidr("fd00::/120").contains(a.addr)));
}

/// 16,384 blocks, all owned and full except for one. That one is either nearly full and found last among the
/// others', or free and claimed.
/// Calico lists all blocks in full for that, and then reads them once more, one by one, to borrow.
#[test]
fn a_pool_that_is_full_but_for_one_block() {
    let world = World::with_pool("10.0.0.0/12", 26);
    let now = api::Timestamp::from_second(1_785_578_400).unwrap();
    let attribute = std::sync::Arc::new(api::Attribute::default());
    let owner = host("other");
    let all: Vec<_> = (0..16_384u128)
        .map(|n| api::BlockCidr::holding(api::cidr::offset(ip("10.0.0.0"), n * 64), 26).unwrap())
        .collect();
    let hole = all[7_777];
    for block in &all {
        let mut made = ipam::block::create(*block, &owner, None, now);
        let taken = if *block == hole { 60 } else { 64 };
        ipam::block::assign(&mut made, taken, None, &attribute, &Default::default()).unwrap();
        world.store.put(Key::Block(*block), Value::Block(made));
        let affinity = api::Affinity::new(AffinityState::Confirmed);
        world.store.put(Key::Affinity { owner: owner.clone(), block: *block }, Value::Affinity(affinity));
    }
    let borrowed = world.run(request("a", "h", 5, 0).planner()).unwrap();
    assert_eq!(borrowed.v4.addresses.len(), 4);
    assert!(borrowed.v4.addresses.iter().all(|a| hole.cidr().contains(a.addr)));
    assert_eq!(words(&borrowed.v4), ["No IPs available in pools: [10.0.0.0/12]"]);
    world.delete(Key::Block(hole));
    world.delete(Key::Affinity { owner, block: hole });
    world.delete(Key::Handle(handle("h")));
    let claimed = world.run(request("a", "h", 64, 0).planner()).unwrap();
    assert_eq!(claimed.v4.addresses.len(), 64);
    assert!(world.affinities().contains(&format!("a {hole} Confirmed")));
}
