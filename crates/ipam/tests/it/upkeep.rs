//! What is done for a cluster, and not for a pod: cooldowns end, idle blocks are given back.

use api::{AffinityState, Key};
use ipam::{CollectCooldowns, Collected, IdleBlock, Kept, ReleaseIdleBlocks, ReleasedIdleBlocks, Which, run};
use serde_json::json;
use store::testing::{Counting, RecordType};
use store::{Depth, Effects, Page, ReadSet, Scope, Store, View};

use crate::operations::upkeep::{cooled_down, idle};
use crate::world::*;

const BLOCKS: Scope = Scope::Blocks { family: None };

fn headers(world: &World) -> View {
    let set = ReadSet::new().key(Key::IpamConfig).scope(BLOCKS, Depth::Header);
    block_on(world.store.read(&set, WITHIN)).unwrap()
}

fn collect(world: &World, blocks: &[&str]) -> Collected {
    let blocks = blocks.iter().map(|text| block_cidr(text)).collect();
    let answer = world.run(CollectCooldowns { blocks }.planner()).unwrap();
    world.check_at_rest();
    answer
}

#[test]
fn what_has_cooled_down_is_free_again() {
    let world = World::with_pool("10.0.0.0/28", 30);
    cooled_down(&world);
    let answer = collect(&world, &["10.0.0.0/30", "10.0.0.4/30", "10.0.0.0/30", "10.9.0.0/30"]);
    let wanted =
        Collected { freed: vec![ip("10.0.0.1"), ip("10.0.0.5")], deleted: vec![block_cidr("10.0.0.4/30")] };
    assert_eq!(answer, wanted);
    let block = world.block("10.0.0.0/30").unwrap();
    assert_eq!(block.unallocated, [0, 2, 3, 1], "in the order of the queue");
    assert!(block.attributes.is_empty() && block.sequence_numbers.is_empty());
    assert_eq!(collect(&world, &["10.0.0.0/30", "10.0.0.4/30"]), Collected::default());
}

#[test]
fn what_is_still_cooling_stays() {
    let world = World::with_pool("10.0.0.0/28", 30);
    cooled_down(&world);
    world.config(|config| config.cooldown_seconds = 60);
    let before = world.store.records();
    let blocks = ["10.0.0.0/30", "10.0.0.4/30"];
    assert_eq!(collect(&world, &blocks), Collected::default());
    world.store.put_text(Key::IpamConfig, "nonsense");
    world.clock.advance(1_000_000);
    let answer = world.run(CollectCooldowns { blocks: blocks.map(block_cidr).to_vec() }.planner()).unwrap();
    assert_eq!(answer, Collected::default(), "nobody knows how long the cooldown is");
    let of_blocks = |records: &[std::sync::Arc<api::Record>]| {
        let is_block = |r: &&std::sync::Arc<api::Record>| r.block().is_some();
        records.iter().filter(is_block).cloned().collect::<Vec<_>>()
    };
    assert_eq!(of_blocks(&world.store.records()), of_blocks(&before), "nothing is written");
}

/// A block that is in use, and one that cannot be read, keep nobody from the others.
#[test]
fn only_what_is_due_is_touched() {
    let world = World::with_pool("10.0.0.0/28", 30);
    cooled_down(&world);
    world.assign(request_ip("a", "kept", "10.0.0.0")).unwrap();
    world.assign(request_ip("b", "other", "10.0.0.6")).unwrap();
    world.store.put_text(Key::Block(block_cidr("10.0.0.8/30")), "nonsense");
    let blocks = ["10.0.0.8/30", "10.0.0.0/30", "10.0.0.4/30"].map(block_cidr).to_vec();
    let answer = world.run(CollectCooldowns { blocks }.planner()).unwrap();
    // The allocator itself has freed what lay in the blocks that it wrote.
    assert_eq!(answer, Collected::default());
    let held: Vec<String> = world.assigned().into_values().collect();
    assert_eq!(held, ["kept", "other"]);
}

/// Whoever looks through a cluster reads headers page by page, and in full only what has something to free.
#[test]
fn a_large_cluster_page_by_page() {
    let world = full_pool("10.0.0.0/20", 30, 0, 30);
    let mut held = api::Handle::default();
    held.blocks.extend(world.blocks().iter().map(|block| (block.cidr, 4)));
    world.store.put(Key::Handle(handle("x")), api::Value::Handle(held));
    let released: Vec<_> = (0..20u128).map(|n| api::cidr::offset(ip("10.0.0.1"), n * 48 * 4)).collect();
    world.release(released.iter().map(|addr| just(&addr.to_string())).collect());
    for n in [0u128, 48] {
        let block = api::BlockCidr::holding(api::cidr::offset(ip("10.0.0.0"), n * 4), 30).unwrap();
        world.release_affinities(Which::One(host("other"), block), false);
    }
    world.clock.advance(31);
    let counting = Counting::new(world.store.clone());
    let mut answer = Collected::default();
    let mut after = None;
    block_on(async {
        loop {
            let page = Page { after: after.clone(), limit: 100 };
            let set = ReadSet::new().key(Key::IpamConfig).page(BLOCKS, Depth::Header, page);
            let view = counting.read(&set, WITHIN).await.unwrap();
            for request in CollectCooldowns::in_view(&view, world.clock.now()) {
                let some = run(&counting, &world.clock, request.planner(), WITHIN).await.unwrap();
                answer.freed.extend(some.freed);
                answer.deleted.extend(some.deleted);
            }
            after = view.page_end(&BLOCKS).cloned();
            if after.is_none() {
                break;
            }
        }
    });
    answer.freed.sort();
    assert_eq!((answer.freed, answer.deleted), (released, vec![]), "nobody's blocks hold three more each");
    let counts = counting.counts();
    assert_eq!((counts.records[&RecordType::Block], counts.writes_sent()), (1024 + 20, 20));
    world.check();
    assert_eq!(CollectCooldowns::in_view(&headers(&world), world.clock.now()), []);
}

/// An interrupted release, or another program, can leave an empty block that is nobody's and has no cooldown.
#[test]
fn an_empty_block_that_is_nobodys_goes() {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.add("a", "h");
    world.del("h");
    let mut block = world.blocks().pop().unwrap();
    ipam::block::disown(&mut block);
    world.delete(Key::Affinity { owner: host("a"), block: block.cidr });
    world.store.put(Key::Block(block.cidr), api::Value::Block(block));
    let requests = CollectCooldowns::in_view(&headers(&world), world.clock.now());
    assert_eq!(requests.len(), 1);
    let answer = world.run(requests[0].clone().planner()).unwrap();
    assert_eq!((answer.deleted.len(), world.blocks().len()), (1, 0));
}

fn idle_of(world: &World, name: &str) -> Vec<IdleBlock> {
    let idle = IdleBlock::in_view(&headers(world), world.clock.now());
    idle.into_iter().filter(|(host, _)| host == name).map(|(_, block)| block).collect()
}

fn release_idle(world: &World, blocks: Vec<IdleBlock>) -> ReleasedIdleBlocks {
    let answer = world.run(ReleaseIdleBlocks { host: "a".to_string(), blocks }.planner()).unwrap();
    world.check_at_rest();
    answer
}

#[test]
fn idle_blocks_are_given_back() {
    let world = World::with_pool("10.0.0.0/28", 30);
    idle(&world);
    let answer = release_idle(&world, idle_of(&world, "a"));
    assert_eq!(answer.released, ["10.0.0.0/30", "10.0.0.8/30"].map(block_cidr));
    assert_eq!((answer.kept, answer.more), (vec![], false));
    assert_eq!(world.affinities(), ["a 10.0.0.4/30 Confirmed"]);
}

#[test]
fn a_host_keeps_a_block_of_each_pool() {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.pool("second", "10.1.0.0/28", 30);
    world.pool("six", "fd00::/124", 126);
    for addr in ["10.0.0.1", "10.0.0.5", "10.1.0.1", "10.1.0.9", "fd00::1"] {
        world.assign(request_ip("a", "old", addr)).unwrap();
    }
    world.del("old");
    let answer = release_idle(&world, idle_of(&world, "a"));
    assert_eq!(answer.released, ["10.0.0.4/30", "10.1.0.8/30"].map(block_cidr));
    let last = ["10.0.0.0/30", "10.1.0.0/30", "fd00::/126"].map(|text| (block_cidr(text), Kept::Last));
    assert_eq!(answer.kept, last);
    // A pool that does not select the host any more, or is disabled, gives it nothing.
    let disabled = json!({"cidr": "10.0.0.0/28", "blockSize": 30, "disabled": true});
    world.pool_with("pool", disabled);
    let others = json!({"cidr": "10.1.0.0/28", "blockSize": 30, "nodeSelector": "has(no)"});
    world.pool_with("second", others);
    let answer = release_idle(&world, idle_of(&world, "a"));
    assert_eq!(answer.released, ["10.0.0.0/30", "10.1.0.0/30"].map(block_cidr));
    assert_eq!(answer.kept, [(block_cidr("fd00::/126"), Kept::Last)]);
}

#[test]
fn what_is_not_idle_stays() {
    let world = World::with_pool("10.0.0.0/27", 30);
    idle(&world);
    world.assign(request_ip("b", "other", "10.0.0.13")).unwrap();
    world.assign(request_ip("a", "cooling", "10.0.0.17")).unwrap();
    world.affinity("a", "10.0.0.20/30", AffinityState::Pending);
    let seen = idle_of(&world, "a");
    assert_eq!(seen.len(), 2);
    // Used and empty again since it was seen.
    world.assign(request_ip("a", "short", "10.0.0.2")).unwrap();
    world.del("short");
    world.config(|config| config.cooldown_seconds = 30);
    world.del("cooling");
    assert_eq!(idle_of(&world, "a").len(), 2);
    let as_it_is = |text: &str| {
        let sequence_number = world.block(text).map_or(7, |block| block.sequence_number);
        IdleBlock { cidr: block_cidr(text), sequence_number }
    };
    let others =
        ["10.0.0.4/30", "10.0.0.12/30", "10.0.0.16/30", "10.0.0.20/30", "10.0.0.24/30"].map(as_it_is);
    let answer = release_idle(&world, seen.into_iter().chain(others).collect());
    assert_eq!(answer.released, [block_cidr("10.0.0.8/30")]);
    let kept = [
        ("10.0.0.0/30", Kept::Changed),
        ("10.0.0.4/30", Kept::InUse),
        ("10.0.0.12/30", Kept::NotTheHosts),
        ("10.0.0.16/30", Kept::InUse),
        ("10.0.0.20/30", Kept::NotTheHosts),
        ("10.0.0.24/30", Kept::NotTheHosts),
    ];
    assert_eq!(answer.kept, kept.map(|(text, why)| (block_cidr(text), why)));
}

#[test]
fn many_idle_blocks_go_in_several_requests() {
    let world = World::with_pool("10.0.0.0/24", 30);
    world.config(|config| config.max_blocks_per_host = 64);
    world.auto(request("a", "old", 40 * 4, 0));
    world.del("old");
    let idle = idle_of(&world, "a");
    let mut released = 0;
    loop {
        let answer = release_idle(&world, idle.clone());
        assert!(answer.released.len() <= 16, "{answer:?}");
        released += answer.released.len();
        if !answer.more {
            break;
        }
    }
    assert_eq!((idle.len(), released, world.blocks().len()), (40, 39, 1));
}
