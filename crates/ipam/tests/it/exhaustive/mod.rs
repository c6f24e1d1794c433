//! Bounded set-ups, searched to the end: every order of the steps of up to three hosts, and every write that
//! goes astray and every crash in it.

#![allow(clippy::print_stdout, reason = "the searches tell how many states there were")]

mod parts;
mod search;

use api::{Key, Kind, Value};
use ipam::{ReleaseAffinities, ReleaseByHandle, ReleaseIp, ReleaseIps, Which};

use serde_json::Value as Json;
use store::{Batch, Expect, Outcome, ReadSet, Store};

use crate::witness::Asks;
use crate::world::*;
use search::{Caller, Found, Setup, Task, search};

fn task<A: Asks + 'static>(caller: Caller, asks: A) -> Task {
    Box::pin(async move { caller.ask(asks).await })
}

fn add_a(caller: Caller) -> Task {
    task(caller, request("a", "h", 1, 0))
}

fn add_b(caller: Caller) -> Task {
    task(caller, request("b", "i", 1, 0))
}

#[cfg(not(debug_assertions))]
fn add_c(caller: Caller) -> Task {
    task(caller, request("c", "j", 1, 0))
}

/// All or nothing, of a host that finds room for a part.
#[cfg(not(debug_assertions))]
fn add_two_c(caller: Caller) -> Task {
    task(caller, ipam::AutoAssign { all_or_nothing: true, ..request("c", "j", 2, 0) })
}

fn del_h(caller: Caller) -> Task {
    task(caller, ReleaseByHandle::new(vec![handle("h")], None))
}

fn give_up_a(caller: Caller) -> Task {
    task(caller, ReleaseAffinities { which: Which::Owner(host("a")), must_be_empty: true })
}

/// Deletes the pool as an administrator does: nobody may use it any more, its blocks lose their owners, and
/// it goes when they have.
fn delete_pool(caller: Caller) -> Task {
    let key = Key::global(Kind::IPPool, "pool");
    Box::pin(async move {
        let read = ReadSet::new().key(key.clone());
        let view = caller.parts.read(&read, WITHIN).await.unwrap();
        let Some((pool, revision)) = view.resource(&key).flatten() else { return true };
        let disabled = pool.with(|_, body| {
            if let Some(Json::Object(spec)) = body.get_mut("spec") {
                spec.insert("disabled".into(), true.into());
            }
        });
        let mut batch = Batch::new();
        batch.put(key.clone(), Expect::Revision(revision.clone()), Value::Resource(disabled));
        let report = caller.parts.commit(&batch, WITHIN).await.unwrap();
        let Some(Outcome::Applied(revision)) = report.outcomes.into_iter().next() else { return false };
        let release = || ReleaseAffinities { which: Which::Within(cidr(TINY.0)), must_be_empty: false };
        if !caller.ask(release()).await {
            return false;
        }
        let mut batch = Batch::new();
        batch.delete(key, Expect::Revision(revision));
        let is_deleted = caller.parts.commit(&batch, WITHIN).await.unwrap().is_applied();
        // Whoever saw the pool before it was disabled may have claimed a block meanwhile.
        caller.ask(release()).await && is_deleted
    })
}

/// What the collector frees: an address as it was seen, by handle and sequence number.
fn collect(caller: Caller) -> Task {
    let block = caller.parts.mem.records().into_iter().find_map(|record| record.block().cloned());
    let seen = block.map(|block| ReleaseIp {
        addr: block.cidr.addr(0).unwrap(),
        handle: Some("h".to_string()),
        sequence: Some(block.sequence_of(0)),
    });
    task(caller, ReleaseIps::new(seen.into_iter().collect()))
}

fn told(setup: &Setup) -> Found {
    let begun = std::time::Instant::now();
    let found = search(setup);
    println!("{}: {found:?} in {:.1?}", setup.name, begun.elapsed());
    found
}

fn assigned(world: &World, count: usize) {
    let held = world.assigned();
    assert_eq!(held.len(), count, "{held:?}");
}

const NOTHING: fn(&World) = |_| {};
/// One block of two addresses.
const ONE: (&str, u8) = ("10.0.0.0/31", 31);
/// Two blocks of two addresses.
const TINY: (&str, u8) = ("10.0.0.0/30", 31);

const BASE: Setup = Setup {
    name: "",
    pool: TINY,
    prepare: NOTHING,
    actors: &[],
    faults: 0,
    pools_change: false,
    own: &[],
    is_careless: false,
    check: |_, _| {},
};

/// Host `a` owns an empty block.
fn own_empty(world: &World) {
    world.add("a", "before");
    world.del("before");
}

/// Host `a` has an address of the handle `h`.
fn add_h(world: &World) {
    world.add("a", "h");
}

fn is_held(world: &World, id: &str) -> bool {
    world.assigned().values().any(|held| held == id)
}

/// What each actor was answered is so, where nobody takes it back.
fn first_adds(world: &World, answers: &[bool]) {
    assert!(answers.iter().all(|answer| *answer));
    assigned(world, answers.len());
}

/// The set-ups of every run of the tests.
fn small() -> Vec<Setup> {
    vec![
        Setup {
            name: "first ADDs of two hosts on one block",
            pool: ONE,
            actors: &[add_a, add_b],
            own: &["h", "i"],
            check: first_adds,
            ..BASE
        },
        Setup {
            name: "an ADD and its DEL",
            actors: &[add_a, del_h],
            faults: 1,
            // What the DEL did not see stays, and nothing but what was answered is there.
            check: |world, answers| assert!(!is_held(world, "h") || answers[0]),
            ..BASE
        },
        Setup {
            name: "an address that two free, and a third takes",
            prepare: add_h,
            actors: &[del_h, collect, add_b],
            check: |world, answers| {
                assert!(answers[2] && is_held(world, "i"));
                assigned(world, 1);
            },
            ..BASE
        },
        Setup {
            name: "another's ADD while a host gives up its empty block",
            prepare: own_empty,
            actors: &[give_up_a, add_b],
            faults: 1,
            check: |world, answers| {
                assert!(answers[1]);
                assigned(world, 1);
            },
            ..BASE
        },
        Setup {
            name: "a first ADD while the pool is deleted",
            actors: &[add_a, delete_pool],
            pools_change: true,
            check: |world, answers| {
                // An answer may be that there is no pool.
                assert!(!is_held(world, "h") || answers[0]);
                assert!(answers[1], "the pool is gone: nobody else writes it");
            },
            ..BASE
        },
    ]
}

/// The set-ups of the nightly run. They have millions of states, which take an unoptimised build hours.
#[cfg(not(debug_assertions))]
fn large() -> Vec<Setup> {
    vec![
        Setup {
            name: "first ADDs of three hosts",
            actors: &[add_a, add_b, add_c],
            own: &["h", "i", "j"],
            check: first_adds,
            ..BASE
        },
        Setup {
            name: "first ADDs of three hosts on one block",
            pool: ONE,
            actors: &[add_a, add_b, add_c],
            own: &["h", "i", "j"],
            // One of them is told that there is no room.
            check: |world, _| assigned(world, 2),
            ..BASE
        },
        Setup {
            name: "first ADDs of two hosts on one block, and faults",
            pool: ONE,
            actors: &[add_a, add_b],
            own: &["h", "i"],
            faults: 1,
            ..BASE
        },
        Setup {
            name: "three hosts on two blocks: an ADD, one of all or nothing, and a block given up",
            prepare: own_empty,
            actors: &[give_up_a, add_b, add_two_c],
            ..BASE
        },
        Setup {
            name: "an address that two free, and a third takes, and faults",
            prepare: add_h,
            actors: &[del_h, collect, add_b],
            faults: 1,
            ..BASE
        },
        Setup {
            name: "ADDs of two hosts while the pool is deleted",
            actors: &[add_a, add_b, delete_pool],
            pools_change: true,
            ..BASE
        },
        Setup {
            name: "a first ADD while the pool is deleted, and faults",
            actors: &[add_a, delete_pool],
            pools_change: true,
            faults: 1,
            ..BASE
        },
    ]
}

#[test]
fn small_set_ups_to_the_end() {
    small().iter().for_each(|setup| assert!(told(setup).states > 100, "{}", setup.name));
}

#[cfg(not(debug_assertions))]
#[test]
fn large_set_ups_to_the_end() {
    let (all, next) = (large(), std::sync::atomic::AtomicUsize::new(0));
    let work = || {
        while let Some(setup) = all.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            assert!(told(setup).states > 10_000, "{}", setup.name);
        }
    };
    std::thread::scope(|scope| [scope.spawn(work), scope.spawn(work)].map(drop));
}

/// A store that compares nothing gives an address twice, and the search finds that.
#[test]
fn a_store_that_compares_nothing_is_found_out() {
    let setup = Setup { name: "careless", pool: ONE, actors: &[add_a, add_b], is_careless: true, ..BASE };
    let found = std::panic::catch_unwind(|| search(&setup));
    let told = found.unwrap_err().downcast::<String>().unwrap();
    assert!(told.contains("writes BlockKey"), "{told}");
}
