//! What others do between a request's writes and its attempts, and what the request then leaves.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::{Attribute, Family, Key, Value};
use ipam::{EnsureBlock, IdleBlock, ReleaseIdleBlocks, Which, run};
use store::Effects;
use store::testing::{CommitFault, FaultPlan, Step};

use crate::world::*;

/// Somebody frees one of the addresses that a request has taken, so the request fails: it takes back the
/// others, in the block of that address and in others. The write that took them may have been answered or
/// not.
#[test]
fn the_rest_of_what_others_freed_is_taken_back() {
    let lost = CommitFault::ReplyLost { answered: 7, lost: 1, landed: true };
    for plan in [FaultPlan::one_by_one(), FaultPlan::one_by_one().fault(0, lost)] {
        let world = World::with_pool("10.0.0.0/28", 30);
        let has_freed = AtomicUsize::new(0);
        // Two blocks are claimed by three writes each; then come the handle and the addresses.
        let store = stepped(&world, plan, move |world, step| {
            if step == Step::AfterWrite(7) && has_freed.fetch_add(1, Ordering::Relaxed) == 0 {
                let taken = *world.assigned().keys().next().unwrap();
                world.run(ipam::ReleaseIps::new(vec![just(&taken.to_string())]).planner()).unwrap();
                // The request's next write is too late.
                for mut block in world.blocks() {
                    ipam::block::bump(&mut block);
                    world.store.put(Key::Block(block.cidr), Value::Block(block));
                }
            }
        });
        let answer = block_on(run(&store, &world.clock, request("a", "h", 6, 0).planner(), WITHIN));
        let error = answer.unwrap_err().to_string();
        assert_eq!(error, "the handle was released while its addresses were being assigned");
        assert_eq!((world.assigned().len(), world.handle("h")), (0, None));
        world.check_at_rest();
    }
}

/// The write that takes two addresses of a block is late. The retry takes one address of it, and may count no
/// less than the two before it has made sure that the late write does not arrive.
#[test]
fn a_late_write_that_takes_more_than_the_retry() {
    let lost = CommitFault::ReplyLost { answered: 7, lost: 1, landed: false };
    for seed in 0..8 {
        let world = World { clock: Clock::new(seed), ..World::with_pool("10.0.0.0/30", 31) };
        let commits = AtomicUsize::new(0);
        let store = stepped(&world, FaultPlan::one_by_one().fault(0, lost), move |world, step| {
            if step == Step::BeforeWrite(0) && commits.fetch_add(1, Ordering::Relaxed) == 1 {
                let counted = world.handle("h").unwrap().blocks;
                let (cidr, _) = counted.into_iter().find(|(_, count)| *count == 2).unwrap();
                let mut block = world.block(&cidr.to_string()).unwrap();
                let owner = request("a", "h", 3, 0).attributes;
                let attribute = Attribute { handle_id: Some("h".into()), owner, ..Attribute::default() };
                let attribute = Arc::new(attribute);
                ipam::block::assign(&mut block, 2, None, &attribute, &Default::default()).unwrap();
                ipam::block::bump(&mut block);
                world.store.put(Key::Block(cidr), Value::Block(block));
            }
            world.check();
        });
        let answer = block_on(run(&store, &world.clock, request("a", "h", 3, 0).planner(), WITHIN)).unwrap();
        assert_eq!((answer.v4.addresses.len(), world.assigned().len()), (3, 3), "seed {seed}");
        world.check_at_rest();
    }
}

/// A request that gives up creates the block that a lost write of it might create. Others that found no block
/// meanwhile delete the affinity as stale: the request makes it again.
#[test]
fn a_block_that_is_created_to_give_up_keeps_its_affinity() {
    let world = World::with_pool("10.0.0.0/28", 30);
    let (released, created) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let lost = CommitFault::ReplyLost { answered: 4, lost: 1, landed: true };
    let store = stepped(&world, FaultPlan::one_by_one().fault(0, lost), move |world, step| {
        if step == Step::AfterWrite(4) && released.fetch_add(1, Ordering::Relaxed) == 0 {
            world.del("h");
            world.release_affinities(Which::Owner(host("a")), true);
            assert_eq!((world.blocks().len(), world.affinities().len()), (0, 0));
        }
        // The first block is created by the claim, the second one by giving up.
        if step == Step::BeforeWrite(1) && created.fetch_add(1, Ordering::Relaxed) == 1 {
            let block = world.affinities()[0].split(' ').nth(1).unwrap().to_string();
            world.release_affinities(Which::One(host("a"), block_cidr(&block)), true);
            assert_eq!(world.affinities().len(), 0);
        }
    });
    let answer = block_on(run(&store, &world.clock, request("a", "h", 1, 0).planner(), WITHIN));
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!((world.blocks().len(), world.affinities().len()), (1, 1), "{:?}", world.affinities());
    world.check_at_rest();
    assert_eq!(world.auto(request("a", "i", 16, 0)).v4.addresses.len(), 16);
}

/// A pool was made anew with smaller blocks. A late write then created a large empty block to which its owner
/// has no affinity any more, or which is nobody's.
fn with_a_late_block(is_nobodys: bool) -> World {
    let world = World::with_pool("10.0.0.0/29", 30);
    let claimed = world.clock.now();
    let mut late = ipam::block::create(block_cidr("10.0.0.0/29"), &host("a"), None, claimed);
    if is_nobodys {
        ipam::block::disown(&mut late);
    }
    world.store.put(Key::Block(late.cidr), Value::Block(late));
    world
}

/// A block of another size is in the way of all others. Its owner's next request releases it, and then claims
/// one of the pool's.
#[test]
fn an_owner_clears_away_a_block_that_is_in_the_way() {
    for (all_or_nothing, is_nobodys) in [(false, false), (true, false), (false, true), (true, true)] {
        let world = with_a_late_block(is_nobodys);
        let request = ipam::AutoAssign { all_or_nothing, ..request("a", "h", 5, 0) };
        let question = ipam::explain::Question {
            request: request.clone(),
            namespace: None,
            annotation: None,
            is_on_kubernetes: false,
        };
        let told = block_on(ipam::explain::explain(&world.store, &world.clock, &question, WITHIN)).unwrap();
        assert!(told.next.is_some(), "{told:?}");
        let answer = world.auto(request);
        assert_eq!(answer.v4.shortage(Family::V4, None), None);
        assert_eq!(
            world.blocks().iter().map(|block| block.cidr.cidr().prefix()).collect::<Vec<_>>(),
            [30, 30]
        );
        world.check_at_rest();
    }
    for is_nobodys in [false, true] {
        let world = with_a_late_block(is_nobodys);
        let ensured = world.run(EnsureBlock { v4: true, ..EnsureBlock::new("a") }.planner()).unwrap();
        assert_eq!(ensured.v4.unwrap().cidr().prefix(), 30);
        world.check_at_rest();
    }
}

/// The controllers give it back where its owner asks for nothing.
#[test]
fn an_idle_block_without_its_affinity_is_given_back() {
    let world = with_a_late_block(false);
    let block = world.blocks().remove(0);
    let seen = |sequence_number| vec![IdleBlock { cidr: block.cidr, sequence_number }];
    for (blocks, left) in [(seen(block.sequence_number + 1), 1), (seen(block.sequence_number), 0)] {
        let request = ReleaseIdleBlocks { host: "a".to_string(), blocks };
        world.run(request.planner()).unwrap();
        assert_eq!((world.blocks().len(), world.affinities().len()), (left, 0));
    }
    assert_eq!(world.auto(request("b", "h", 8, 0)).v4.addresses.len(), 8);
}
