//! Hosts with so many blocks that a request does not read them all.

use api::{AffinityState, Key};
use ipam::{EnsureBlock, ReleaseByHandle};
use serde_json::json;
use store::testing::{CommitFault, FaultPlan, Faulty};

use crate::world::*;

const BLOCKS: u32 = 200;

fn block(n: u32) -> String {
    format!("{}/30", api::cidr::offset(ip("10.0.0.0"), u128::from(n) * 4))
}

/// The address of pod `h`, which lies in the block with room.
fn finds(world: &World, n: u32) {
    let addr = world.add("a", "h");
    assert!(cidr(&block(n)).contains(addr), "{addr} in block {n}");
    assert_eq!(world.blocks().len(), BLOCKS as usize);
    world.check_at_rest();
}

/// If the host may claim no block, it finds the one with room, wherever that is.
#[test]
fn the_only_block_with_room() {
    for n in (0..BLOCKS).step_by(7) {
        let world = one_host(BLOCKS, &[n]);
        match n % 2 {
            0 => world.config(|config| config.max_blocks_per_host = BLOCKS.into()),
            _ => world.config(|config| {
                config.max_blocks_per_host = -1;
                config.auto_allocate_blocks = false;
            }),
        }
        finds(&world, n);
        // Now all are full.
        let answer = world.auto(request("a", "i", 1, 0));
        assert!(answer.v4.addresses.is_empty() && answer.v4.error.is_some(), "{answer:?}");
    }
}

/// The pool has no other block: all of the host's are read, rather than another owner's block taken.
#[test]
fn the_only_block_with_room_in_a_full_pool() {
    for strict in [true, false] {
        let world = one_host(BLOCKS, &[100]);
        world.config(|config| {
            config.max_blocks_per_host = -1;
            config.strict_affinity = strict;
        });
        world.reserve(&["10.0.4.0/22", "10.0.8.0/21", "10.0.16.0/20", "10.0.32.0/19", "10.0.64.0/18"]);
        world.resource(api::Kind::IPReservation, "more", json!({"reservedCIDRs": ["10.0.128.0/17"]}), &[]);
        let others: Vec<_> = (BLOCKS..256).map(block).collect();
        let others: Vec<_> = others.iter().map(String::as_str).collect();
        world.resource(api::Kind::IPReservation, "others", json!({"reservedCIDRs": others}), &[]);
        finds(&world, 100);
    }
}

/// The first blocks in order are used before all others, and the newest before a further one is claimed.
#[test]
fn the_first_and_the_newest_come_first() {
    finds(&one_host(BLOCKS, &[5, 100, BLOCKS - 1]), 5);
    finds(&one_host(BLOCKS, &[BLOCKS - 1]), BLOCKS - 1);
}

/// A host with room in some of its blocks finds it with no claim.
#[test]
fn room_anywhere() {
    let roomy: Vec<u32> = (0..BLOCKS).filter(|n| n % 20 == 13).collect();
    let world = one_host(BLOCKS, &roomy);
    world.config(|config| config.max_blocks_per_host = BLOCKS.into());
    for n in 0..roomy.len() {
        world.add("a", &format!("h{n}"));
    }
    assert_eq!(world.blocks().len(), BLOCKS as usize);
    world.check_at_rest();
}

/// A block that is not the host's any more does not count against the limit, though its affinity does as long
/// as it is not known to be stale.
#[test]
fn stale_affinities_do_not_count() {
    for n in (3..BLOCKS).step_by(28) {
        let world = one_host(BLOCKS, &[]);
        world.config(|config| config.max_blocks_per_host = BLOCKS.into());
        let key = Key::Block(block_cidr(&block(n)));
        let mut made = world.block(&block(n)).unwrap();
        made.affinity = Some(host("b").affinity_text().into());
        world.store.put(key, api::Value::Block(made));
        world.affinity("b", &block(n), AffinityState::Confirmed);
        world.add("a", "h");
        assert_eq!(world.blocks().len(), BLOCKS as usize + 1);
        assert!(!world.affinities().contains(&format!("a {} Confirmed", block(n))));
        world.check_at_rest();
    }
}

/// A block that the host is to own is one of those that it has.
#[test]
fn an_owned_block_is_enough() {
    let world = one_host(BLOCKS, &[]);
    let answer = world.run(EnsureBlock { v4: true, ..EnsureBlock::new("a") }.planner()).unwrap();
    assert_eq!(answer.v4, Some(block_cidr("10.0.0.0/30")));
    assert_eq!(world.blocks().len(), BLOCKS as usize);
}

/// Empty blocks of a pool that no longer selects the host are released by and by.
#[test]
fn blocks_of_a_deselected_pool_go() {
    let world = one_host(BLOCKS, &[]);
    let pods: Vec<_> = (0..BLOCKS).filter(|n| n % 2 == 0).map(|n| handle(&format!("pod{n}"))).collect();
    world.run(ReleaseByHandle::new(pods, None).planner()).unwrap();
    world.pool_with("pool", json!({"cidr": "10.0.0.0/16", "blockSize": 30, "nodeSelector": "rack == 'x'"}));
    world.pool("other", "10.1.0.0/16", 26);
    for n in 0..60 {
        world.add("a", &format!("h{n}"));
    }
    let pool = cidr("10.0.0.0/16");
    let left = world.blocks().into_iter().filter(|block| pool.contains(block.cidr.cidr().first())).count();
    assert_eq!(left, BLOCKS as usize / 2);
    world.check_at_rest();
}

/// The replies of an address' writes are lost, one after the other, whether the block is found or claimed.
#[test]
fn lost_replies() {
    for (roomy, writes) in [(&[BLOCKS - 1][..], 2), (&[], 5)] {
        for answered in 0..writes {
            for landed in [false, true] {
                let world = one_host(BLOCKS, roomy);
                let lost = CommitFault::ReplyLost { answered, lost: 1, landed };
                let plan = FaultPlan::one_by_one().fault(0, lost);
                let store = Faulty::new(world.store.clone(), plan);
                let planner = request("a", "h", 1, 0).planner();
                let answer = block_on(ipam::run(&store, &world.clock, planner, WITHIN)).unwrap();
                assert_eq!(answer.v4.addresses.len(), 1, "{lost:?}");
                let held = world.assigned().values().filter(|id| *id == "h").count();
                assert_eq!(held, 1, "{lost:?}");
                world.check_at_rest();
            }
        }
    }
}
