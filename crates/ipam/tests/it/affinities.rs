//! Releasing affinities, and claims and releases that stopped half-way.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::{AffinityState, Key, Kind, Owner};
use ipam::{ReleaseAffinities, ReleaseByHandle, ReleaseIp, RemoveHost, Which, run};
use store::testing::fault::{Hook, Step};
use store::testing::{CommitFault, Counting, FaultPlan, Faulty, RecordType};

use crate::world::*;

#[test]
fn only_empty_ones() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
    let one = || Which::One(host("a"), block_cidr("10.0.0.0/26"));
    let refused = world.release_affinities(one(), true);
    assert_eq!((refused.in_use, refused.released), (vec![block_cidr("10.0.0.0/26")], vec![]));
    assert_eq!(world.affinities(), ["a 10.0.0.0/26 Confirmed"]);
    world.del("h");
    assert_eq!(world.release_affinities(one(), true).released, [block_cidr("10.0.0.0/26")]);
    assert_eq!((world.affinities().len(), world.blocks().len()), (0, 0));
}

#[test]
fn of_a_host() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.auto(request("a", "h", 129, 0));
    world.add("b", "i");
    let used = world
        .blocks()
        .iter()
        .find(|b| b.unallocated.len() == 63 && b.affinity.as_deref() == Some("host:a"))
        .unwrap()
        .cidr;
    let keep = world.assigned().into_keys().find(|addr| used.cidr().contains(*addr)).unwrap();
    let ips = world.assigned().into_iter().filter(|(addr, id)| id == "h" && *addr != keep);
    world.release(ips.map(|(addr, _)| ReleaseIp { addr, handle: None, sequence: None }).collect());
    let answer = world.release_affinities(Which::Owner(host("a")), true);
    assert_eq!((answer.released.len(), answer.in_use, answer.more), (2, vec![used], false));
    assert_eq!(world.release_affinities(Which::Owner(host("a")), false).released, [used]);
    assert_eq!(world.affinities().len(), 1);
    assert_eq!(world.block(&used.to_string()).unwrap().affinity, None);
    let nobody = ReleaseAffinities { which: Which::Owner(host("")), must_be_empty: false }.planner();
    assert_eq!(
        world.run(nobody).unwrap_err().to_string(),
        "Hostname must be specified to release block affinity"
    );
    assert_eq!(world.release_affinities(Which::Owner(host("unknown")), false).released, []);
}

/// Blocks of others, of other networks and of the other family are left alone. Where blocks must be empty,
/// those that are not are named.
#[test]
fn of_a_host_in_a_network() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.pool("six", "fd00::/120", 122);
    world.auto(request("a", "six", 0, 1));
    for (name, id, addr) in [("a", "h", "10.0.0.1"), ("b", "i", "10.0.0.65"), ("a", "j", "10.0.0.129")] {
        world.assign(request_ip(name, id, addr)).unwrap();
    }
    world.run(ipam::ClaimAffinity::new(cidr("10.0.0.192/26"), host("a")).planner()).unwrap();
    let within = |network: &str| Which::OwnerWithin(host("a"), cidr(network));
    let refused = world.release_affinities(within("10.0.0.128/25"), true);
    assert_eq!(refused.released, [block_cidr("10.0.0.192/26")]);
    assert_eq!(refused.in_use, [block_cidr("10.0.0.128/26")]);
    let both = ["10.0.0.0/26", "10.0.0.128/26"].map(block_cidr);
    assert_eq!(world.release_affinities(within("10.0.0.0/24"), true).in_use, both);
    assert_eq!(world.release_affinities(within("10.0.0.0/24"), false).released, both);
    assert_eq!(world.release_affinities(within("10.0.0.0/24"), false).released, []);
    let left = world.affinities();
    assert!(left.len() == 2 && left[0].starts_with("a fd00::"), "{left:?}");
    assert_eq!(left[1], "b 10.0.0.64/26 Confirmed");
    assert_eq!(world.block("10.0.0.128/26").unwrap().affinity, None);
    assert_eq!(world.assigned().len(), 4);
    world.check_at_rest();
}

/// A host goes with all its affinities and its own record, and its addresses stay. Nothing happens to a host
/// that nobody knows.
#[test]
fn a_host_is_removed() {
    let world = World::with_pool("10.0.0.0/24", 30);
    let record = Key::IpamHost("a".to_string());
    let remove = |name: &str| {
        let removed = world.run(RemoveHost { host: name.to_string() }.planner());
        world.check_at_rest();
        removed.map_err(|error| error.to_string())
    };
    assert_eq!(remove("a"), Ok(ipam::ReleasedAffinities::default()));
    world.store.put(record.clone(), api::Value::IpamHost);
    world.store.put(Key::IpamHost("ab".to_string()), api::Value::IpamHost);
    world.auto(request("a", "h", 70, 0));
    world.auto(request("b", "i", 4, 0));
    let first = remove("a").unwrap();
    assert!(first.more && first.released.len() == 16, "{first:?}");
    assert!(world.record(&record).is_some(), "the record goes when all affinities are gone");
    let second = remove("a").unwrap();
    assert!(!second.more && second.released.len() == 2, "{second:?}");
    assert_eq!(world.record(&record), None);
    assert!(world.record(&Key::IpamHost("ab".to_string())).is_some());
    assert_eq!(remove("a").unwrap().released, []);
    let affinities = world.affinities();
    assert!(affinities.len() == 1 && affinities[0].starts_with("b "), "{affinities:?}");
    assert_eq!(world.assigned().len(), 74);
    assert_eq!(remove("").unwrap_err(), "Hostname must be specified to release block affinity");
}

/// The reply to any write is lost, the last one deletes the record, or the program dies before it.
#[test]
fn the_record_of_a_host_goes_whatever_is_lost() {
    let record = Key::IpamHost("a".to_string());
    for (answered, landed) in (0..4).flat_map(|n| [(n, false), (n, true)]) {
        for crash in [false, true] {
            let world = World::with_pool("10.0.0.0/24", 26);
            world.store.put(record.clone(), api::Value::IpamHost);
            world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
            let fault = match crash {
                true => CommitFault::Crash { writes: answered },
                false => CommitFault::ReplyLost { answered, lost: 1, landed },
            };
            let store = Faulty::new(world.store.clone(), FaultPlan::one_by_one().fault(0, fault));
            let remove = || RemoveHost { host: "a".to_string() }.planner();
            let answer = block_on(run(&store, &world.clock, remove(), WITHIN));
            world.check();
            if crash {
                assert!(answer.is_err() && world.record(&record).is_some(), "{answered}");
                block_on(run(&world.store, &world.clock, remove(), WITHIN)).unwrap();
            } else {
                assert_eq!(answer.unwrap().released, [block_cidr("10.0.0.0/26")], "{fault:?}");
            }
            assert_eq!((world.record(&record), world.affinities().len()), (None, 0), "{fault:?}");
            assert_eq!(world.assigned().len(), 1);
            world.check_at_rest();
        }
    }
}

#[test]
fn of_a_host_in_a_network_of_no_pool() {
    let world = World::with_pool("10.0.0.0/24", 26);
    for (name, network, wanted) in [
        ("a", "10.0.0.0/27", "The requested CIDR (10.0.0.0/27) is smaller than the minimum."),
        ("a", "10.9.0.0/24", "The requested CIDR (10.9.0.0/24) is not within any configured pools."),
        ("", "10.0.0.0/24", "Hostname must be specified to release block affinity"),
    ] {
        let which = Which::OwnerWithin(host(name), cidr(network));
        let error = world.run(ReleaseAffinities { which, must_be_empty: true }.planner()).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    }
}

/// The owner gave up the block while it was in use, and stopped before it deleted the affinity. Since then
/// the block became empty, or its addresses cool down. Each row: cooldown, in use, must be empty, is the
/// block left.
#[test]
fn nobodys_block_goes_with_the_affinity_that_is_left_of_it() {
    for (cooldown, used, must_be_empty, left) in [
        (0, false, false, false),
        (0, false, true, false),
        (30, false, false, false),
        (0, true, false, true),
        (0, true, true, true),
    ] {
        for state in [AffinityState::PendingDeletion, AffinityState::Confirmed, AffinityState::Pending] {
            let world = World::with_pool("10.0.0.0/24", 26);
            world.config(|config| config.cooldown_seconds = cooldown);
            world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
            let one = Which::One(host("a"), block_cidr("10.0.0.0/26"));
            world.release_affinities(one.clone(), false);
            if !used && cooldown == 0 {
                let mut block = world.block("10.0.0.0/26").unwrap();
                ipam::block::release_by_handle(
                    &mut block,
                    "h",
                    |_| true,
                    store::Effects::now(&world.clock),
                    0,
                );
                world.store.put(Key::Block(block.cidr), api::Value::Block(block));
                world.delete(Key::Handle(handle("h")));
            } else if !used {
                world.del("h");
                assert_eq!(world.blocks().len(), 1, "it cools down");
                world.clock.advance(100);
            }
            world.affinity("a", "10.0.0.0/26", state);
            let answer = world.release_affinities(one, must_be_empty);
            assert_eq!(answer.released, [block_cidr("10.0.0.0/26")]);
            assert_eq!(world.affinities(), [""; 0], "{state:?} {used} {must_be_empty}");
            assert_eq!(world.blocks().len(), usize::from(left), "{state:?} {used} {must_be_empty}");
            world.check();
        }
    }
}

/// All affinities of a network are released, a few at a time. Blocks in use are left alone.
#[test]
fn of_a_network() {
    let world = World::with_pool("10.0.0.0/20", 28);
    world.config(|config| config.max_blocks_per_host = 100);
    world.auto(request("a", "h", 16 * 50, 0));
    world.pool("other", "10.1.0.0/24", 26);
    world.assign(request_ip("b", "i", "10.1.0.1")).unwrap();
    world.store.put(
        Key::Affinity { owner: Owner::load_balancer(), block: block_cidr("10.0.15.0/28") },
        api::Value::Affinity(api::Affinity::default()),
    );
    world.delete(Key::global(Kind::IPPool, "pool"));
    let within = || Which::Within(cidr("10.0.0.0/20"));
    let refused = world.run(ReleaseAffinities { which: within(), must_be_empty: true }.planner()).unwrap();
    assert_eq!((refused.in_use.len(), refused.released.len(), refused.more), (50, 1, false));
    let mut rounds = 0;
    while world.release_affinities(within(), false).more {
        rounds += 1;
    }
    assert!(rounds > 1);
    assert_eq!(world.affinities(), ["b 10.1.0.0/26 Confirmed"]);
    assert_eq!(world.blocks().len(), 51);
    world.del("h");
    assert_eq!(world.blocks().len(), 1);
}

/// The states recorded in 033-half-done-states, and all other pairs of the healing table. Each row: the state
/// before, the host that asks, and the state after.
#[test]
fn half_done_claims_are_healed_by_their_owner() {
    use AffinityState::{Confirmed, Pending, PendingDeletion};
    for block_of in [None, Some("a"), Some("b"), Some("")] {
        for state in [None, Some(Confirmed), Some(Pending), Some(PendingDeletion)] {
            let world = World::with_pool("10.0.0.0/27", 28);
            if let Some(owner) = block_of {
                let of = if owner.is_empty() { "b" } else { owner };
                world.assign(request_ip(of, "x", "10.0.0.1")).unwrap();
                if owner.is_empty() {
                    world.release_affinities(Which::Owner(host(of)), false);
                }
            }
            if let Some(state) = state {
                world.affinity("a", "10.0.0.0/28", state);
            } else if block_of == Some("a") {
                world.delete(Key::Affinity { owner: host("a"), block: block_cidr("10.0.0.0/28") });
            }
            let answer = world.run(request("a", "h", 30, 0).planner()).unwrap();
            let has = usize::from(block_of.is_some());
            assert_eq!(answer.v4.addresses.len(), 32 - has.max(2), "{block_of:?} {state:?}");
            world.check();
            let mine = world.affinities().iter().any(|text| text == "a 10.0.0.0/28 Confirmed");
            assert_eq!(
                mine,
                matches!(block_of, None | Some("a")),
                "{block_of:?} {state:?} {:?}",
                world.affinities()
            );
            assert!(world.affinities().iter().all(|text| text.ends_with("Confirmed")));
        }
    }
}

/// The pool was disabled, and then enabled with another selector. An empty block of a node that is no longer
/// selected is given up at the node's next request.
#[test]
fn empty_blocks_of_deselected_pools_go_back() {
    let world = World::new();
    world.pool_with("p", serde_json::json!({"cidr": "10.0.0.0/24", "nodeSelector": "rack == '0'"}));
    world.pool_with("q", serde_json::json!({"cidr": "10.1.0.0/24"}));
    world.node("a", &[("rack", "0")]);
    world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
    world.assign(request_ip("a", "i", "10.0.0.65")).unwrap();
    world.del("h");
    world.node("a", &[("rack", "1")]);
    assert!(cidr("10.1.0.0/24").contains(world.add("a", "j")));
    let left = world.affinities();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.contains(&"a 10.0.0.64/26 Confirmed".to_string()), "it is in use: {left:?}");
}

/// Addresses whose cooldown is over do not keep a block from being given up or reclaimed.
#[test]
fn blocks_in_which_all_has_cooled_down_count_as_empty() {
    let world = World::with_pool("10.0.0.0/30", 30);
    world.config(|config| config.cooldown_seconds = 30);
    world.add("a", "h");
    world.del("h");
    world.clock.advance(100);
    world.config(|config| {
        config.cooldown_seconds = 30;
        config.strict_affinity = true;
    });
    world.add("b", "i");
    assert_eq!(world.affinities(), ["b 10.0.0.0/30 Confirmed"]);

    let world = World::new();
    world.config(|config| config.cooldown_seconds = 30);
    world.pool_with(
        "p",
        serde_json::json!({"cidr": "10.0.0.0/30", "blockSize": 30, "nodeSelector": "!has(gone)"}),
    );
    world.pool("q", "10.1.0.0/30", 30);
    world.node("a", &[]);
    world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
    world.del("h");
    world.clock.advance(100);
    world.node("a", &[("gone", "")]);
    world.add("a", "i");
    assert_eq!(world.affinities(), ["a 10.1.0.0/30 Confirmed"]);
    assert_eq!(world.blocks().len(), 1);
}

#[test]
fn an_empty_block_is_reclaimed_after_a_minute() {
    let world = World::with_pool("10.0.0.0/26", 26);
    world.config(|config| config.strict_affinity = true);
    world.add("a", "h");
    world.del("h");
    for (wait, got) in [(0, 0), (59, 0), (2, 1)] {
        world.clock.advance(wait);
        let answer = world.auto(request("b", "i", 1, 0));
        assert_eq!(answer.v4.addresses.len(), got, "after {wait} more seconds");
    }
    assert_eq!(world.affinities(), ["b 10.0.0.0/26 Confirmed"]);
    world.clock.advance(100);
    assert_eq!(world.auto(request("a", "j", 1, 0)).v4.addresses.len(), 0, "it is in use");
}

/// Does something once, before a step.
fn once(at: Step, what: impl Fn() + Send + Sync + Clone + 'static) -> Hook {
    let count = Arc::new(AtomicUsize::new(0));
    Arc::new(move |step| {
        if step == at && count.fetch_add(1, Ordering::Relaxed) == 0 {
            let what = what.clone();
            std::thread::spawn(what).join().unwrap();
        }
        Box::pin(async {}) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
    })
}

/// A release reads an affinity that an earlier release left, or none, and then the block. In between the
/// owner heals the block: it stays the owner's, and no confirmed affinity is without its block, even if the
/// release ends after its first write.
#[test]
fn a_block_that_was_healed_while_it_was_to_be_released_stays() {
    for state in [None, Some(AffinityState::PendingDeletion), Some(AffinityState::Pending)] {
        for is_used in [false, true] {
            let world = World::with_pool("10.0.0.0/30", 30);
            world.add("a", "h");
            if !is_used {
                world.del("h");
            }
            match state {
                Some(state) => world.affinity("a", "10.0.0.0/30", state),
                None => world.delete(Key::Affinity { owner: host("a"), block: block_cidr("10.0.0.0/30") }),
            }
            let reads = AtomicUsize::new(0);
            let plan = FaultPlan::one_by_one().fault(0, CommitFault::Crash { writes: 1 });
            let store = stepped(&world, plan, move |world, step| {
                if step == Step::BeforeRead && reads.fetch_add(1, Ordering::Relaxed) == 1 {
                    world.run(request_ip("a", "healing", "10.0.0.3").planner()).unwrap();
                }
            });
            let which = Which::One(host("a"), block_cidr("10.0.0.0/30"));
            let planner = ReleaseAffinities { which, must_be_empty: false }.planner();
            block_on(run(&store, &world.clock, planner, WITHIN)).unwrap_err();
            assert!(world.assigned().values().any(|id| id == "healing"));
            let owner = world.blocks()[0].affinity.clone();
            assert_eq!(owner.as_deref(), Some("host:a"), "{state:?} {is_used}");
            assert_eq!(world.affinities(), ["a 10.0.0.0/30 Confirmed"], "{state:?} {is_used}");
        }
    }
}

/// An address of another owner's block is borrowed, and the own affinity to that block is stale. Before the
/// first write the block changes hands, in a claim that has not confirmed its affinity yet: the affinity,
/// the same as before, is that claim's.
#[test]
fn an_affinity_is_not_taken_for_stale_when_its_block_has_changed() {
    let world = World::with_pool("10.0.0.0/30", 30);
    world.assign(request_ip("b", "theirs", "10.0.0.1")).unwrap();
    world.affinity("a", "10.0.0.0/30", AffinityState::Pending);
    let w = world.clone();
    let hook = once(Step::BeforeWrite(0), move || {
        let w = w.clone();
        w.run(ReleaseByHandle::new(vec![handle("theirs")], None).planner()).unwrap();
        let which = Which::One(host("b"), block_cidr("10.0.0.0/30"));
        w.run(ReleaseAffinities { which, must_be_empty: true }.planner()).unwrap();
        let now = store::Effects::now(&w.clock);
        let block = ipam::block::create(block_cidr("10.0.0.0/30"), &host("a"), None, now);
        w.store.put(Key::Block(block.cidr), api::Value::Block(block));
    });
    let plan = FaultPlan::one_by_one().fault(0, CommitFault::Crash { writes: 9 });
    let store = Faulty::new(world.store.clone(), plan).with_hook(hook);
    block_on(run(&store, &world.clock, request_ip("a", "h", "10.0.0.2").planner(), WITHIN)).unwrap_err();
    assert_eq!(world.affinities(), ["a 10.0.0.0/30 Pending"]);
    world.check();
}

/// The affinity that is to be tidied away changes before it is, and the time is over: the address has been
/// assigned nevertheless.
#[test]
fn a_conflict_in_tidying_takes_nothing_back() {
    for is_named in [false, true] {
        let world = World::with_pool("10.0.0.0/29", 30);
        world.assign(request_ip("b", "theirs", "10.0.0.1")).unwrap();
        world.affinity("a", "10.0.0.0/30", AffinityState::Pending);
        if !is_named {
            world.assign(request_ip("a", "before", "10.0.0.5")).unwrap();
        }
        let w = world.clone();
        // The first write is the handle's, the second the block's.
        let hook = once(Step::BeforeWrite(2), move || {
            w.affinity("a", "10.0.0.0/30", AffinityState::PendingDeletion);
            w.clock.advance(WITHIN.as_secs());
        });
        let store = Faulty::new(world.store.clone(), FaultPlan::one_by_one()).with_hook(hook);
        if is_named {
            let planner = request_ip("a", "h", "10.0.0.2").planner();
            block_on(run(&store, &world.clock, planner, WITHIN)).unwrap();
        } else {
            let answer =
                block_on(run(&store, &world.clock, request("a", "h", 1, 0).planner(), WITHIN)).unwrap();
            assert!(answer.is_whole());
        }
        assert_eq!(world.assigned().values().filter(|id| *id == "h").count(), 1, "{is_named}");
        let left = "a 10.0.0.0/30 PendingDeletion".to_string();
        assert!(world.affinities().contains(&left), "the hook ran: {:?}", world.affinities());
        world.check();
    }
}

/// The host's own affinity to an empty block that is nobody's is stale: the host claims the block, and does
/// not try to delete the affinity that it has made valid.
#[test]
fn nobodys_empty_block_is_taken_over_by_a_host_with_a_stale_affinity() {
    use AffinityState::{Confirmed, Pending, PendingDeletion};
    for state in [Confirmed, Pending, PendingDeletion] {
        let world = World::with_pool("10.0.0.0/30", 30);
        let now = store::Effects::now(&world.clock);
        let mut block = ipam::block::create(block_cidr("10.0.0.0/30"), &host("b"), None, now);
        ipam::block::disown(&mut block);
        world.store.put(Key::Block(block.cidr), api::Value::Block(block));
        world.affinity("a", "10.0.0.0/30", state);
        let counting = Counting::new(world.store.clone());
        let answer = block_on(run(&counting, &world.clock, request("a", "h", 1, 0).planner(), WITHIN));
        assert!(answer.unwrap().is_whole(), "{state:?}");
        // The affinity becomes pending, and then confirmed.
        let written = counting.counts().writes[&RecordType::Affinity];
        assert_eq!(written, 2 - u64::from(state == Pending), "{state:?}");
        assert_eq!(world.affinities(), ["a 10.0.0.0/30 Confirmed"], "{state:?}");
        world.check();
    }
}

/// Nobody's empty block is taken over at once or later, as its claim time says; Calico loses such blocks.
/// They became empty while their last address cooled down: then nobody looks, and no claim may take them.
#[test]
fn nobodys_empty_block_is_taken_over() {
    let world = World::with_pool("10.0.0.0/26", 26);
    world.config(|config| {
        config.cooldown_seconds = 10;
        config.strict_affinity = true;
    });
    world.add("a", "h");
    world.release_affinities(Which::Owner(host("a")), false);
    world.del("h");
    assert_eq!(world.blocks().len(), 1, "what cools down keeps it");
    world.clock.advance(20);
    world.add("b", "i");
    assert_eq!(world.affinities(), ["b 10.0.0.0/26 Confirmed"]);
}
