//! A pool is made anew with another block size while a request of the old one is under way, on a store
//! without transactions and guards. Of two blocks that overlap, only one is ever taken from.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::{AffinityState, Key, Value};
use ipam::invariants::Violation;
use ipam::{AutoAssign, Planner, RunError};
use store::Effects;
use store::testing::fault::Step;
use store::testing::{FaultPlan, Faulty};

use crate::world::*;

/// Runs a request. Right before its write with that number, the pool is made anew with the block size `to`,
/// and another host gets addresses from as many of its blocks as there are.
fn while_the_pool_changes<P: Planner>(
    world: &Arc<World>,
    planner: P,
    to: u8,
    before: usize,
) -> Result<P::Answer, RunError<P::Error>> {
    let others = world.clone();
    let store =
        Faulty::new(world.store.clone(), FaultPlan::like_kubernetes()).with_hook(Arc::new(move |step| {
            let world = others.clone();
            Box::pin(async move {
                let is_first = world.record(&Key::Handle(handle("other"))).is_none();
                if step == Step::BeforeWrite(before) && is_first {
                    world.pool("pool", "10.0.0.0/27", to);
                    let other =
                        ipam::run(&world.store, &world.clock, request("b", "other", 12, 0).planner(), WITHIN);
                    assert!(other.await.unwrap().is_whole());
                }
            })
        }));
    block_on(ipam::run(&store, &world.clock, planner, WITHIN))
}

fn world_of(size: u8) -> Arc<World> {
    Arc::new(World::with_pool("10.0.0.0/27", size))
}

/// What holds in the end: each address has one holder, and blocks that hold addresses do not overlap; a
/// host that asks again gives up what cannot be used.
fn all_is_well(world: &World) {
    fits(world);
    let addresses: BTreeSet<_> = world.assigned().into_keys().collect();
    let held: usize = world.blocks().iter().map(|block| block.allocations.iter().flatten().count()).sum();
    assert_eq!(addresses.len(), held, "an address was given twice");
    let again = request("a", "again", 1, 0).planner();
    assert!(block_on(ipam::run(&world.store, &world.clock, again, WITHIN)).unwrap().is_whole());
    let blocks = world.blocks();
    for (at, one) in blocks.iter().enumerate() {
        let overlaps = |other: &&api::Block| other.cidr.cidr().overlaps(&one.cidr.cidr());
        assert_eq!(blocks[at + 1..].iter().find(overlaps).map(|block| block.cidr), None, "of {}", one.cidr);
    }
    fits(world);
}

/// The records fit together, but for blocks that are not of the size of the pool as it is now.
fn fits(world: &World) {
    let mut violations = ipam::invariants::check(&world.store.records(), None);
    violations.retain(|violation| !matches!(violation, Violation::NoBlockOfPool { .. }));
    assert_eq!(violations, []);
}

#[test]
fn addresses_that_are_assigned() {
    for (from, to) in [(28, 29), (29, 28), (29, 30), (30, 28)] {
        for before in 0..6 {
            let world = world_of(from);
            let planner = AutoAssign { ..request("a", "h", 3, 0) }.planner();
            let answer = while_the_pool_changes(&world, planner, to, before).unwrap();
            assert!(answer.is_whole(), "/{from}, then /{to}, before write {before}: {answer:?}");
            all_is_well(&world);
        }
    }
}

#[test]
fn an_address_that_is_named() {
    for (from, to) in [(28, 29), (29, 28), (29, 30), (30, 28)] {
        for before in 0..6 {
            let world = world_of(from);
            let planner = request_ip("a", "h", "10.0.0.5").planner();
            // Whether the address is free then is chance; whatever the answer, nobody else has the address.
            let answer = while_the_pool_changes(&world, planner, to, before);
            let holder = world.assigned().get(&ip("10.0.0.5")).cloned();
            assert_eq!(answer.is_ok(), holder.as_deref() == Some("h"), "before write {before}: {answer:?}");
            all_is_well(&world);
        }
    }
}

#[test]
fn networks_that_are_claimed() {
    for before in 0..8 {
        let world = world_of(29);
        let planner = ipam::ClaimAffinity::new(cidr("10.0.0.0/27"), host("a")).planner();
        drop(while_the_pool_changes(&world, planner, 28, before));
        all_is_well(&world);
    }
}

/// A request reads that its host's affinity is confirmed. Before it reads the empty block, the block is
/// released, another host gets blocks of another size there, and the block is created again by a claim that
/// rests on a pool that is gone.
#[test]
fn a_confirmed_affinity_says_nothing_about_a_block_that_came_later() {
    let world = World::with_pool("10.0.0.0/26", 29);
    assert!(world.auto(request("b", "other", 12, 0)).is_whole());
    world.pool("pool", "10.0.0.0/26", 28);
    let taken = world.blocks();
    let block = api::BlockCidr::holding(taken[0].cidr.addr(0).unwrap(), 28).unwrap();
    let created = ipam::block::create(block, &host("a"), None, world.clock.now());
    world.affinity("a", &block.to_string(), AffinityState::Confirmed);
    let again = world.clone();
    let store =
        Faulty::new(world.store.clone(), FaultPlan::like_kubernetes()).with_hook(Arc::new(move |step| {
            let (world, created) = (again.clone(), created.clone());
            Box::pin(async move {
                if step == Step::AfterRead && world.record(&Key::Block(block)).is_none() {
                    world.affinity("a", &block.to_string(), AffinityState::Pending);
                    world.store.put(Key::Block(block), Value::Block(created));
                }
            })
        }));
    let answer = block_on(ipam::run(&store, &world.clock, request("a", "h", 1, 0).planner(), WITHIN));
    assert!(answer.unwrap().is_whole());
    all_is_well(&world);
}
