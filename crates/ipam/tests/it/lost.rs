//! What was lost, and who finds it again: affinities, and the labels of affinities.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::Key;
use ipam::{AutoAssignError, HandleRelease, PodName, ReleaseByHandle, Which, Whose, run};
use store::testing::{CommitFault, Counting, FaultPlan, Faulty, RecordType, Step};
use store::{Batch, MemoryStore, ReadSet, Report, Scope, Store, StoreError, View};

use crate::world::*;

fn lose_affinity(world: &World, owner: &str, block: &str) {
    world.delete(Key::Affinity { owner: host(owner), block: block_cidr(block) });
}

/// A host with a limit of blocks takes up its block again, whether the block has room or is full, and counts
/// it.
/// Calico counts a block that it finds so as new, though the host owns it.
#[test]
fn a_block_without_its_affinity_is_taken_up_and_counted() {
    for (limit, taken, held) in [(1, 1, 4), (1, 4, 4), (2, 4, 8), (2, 2, 8)] {
        let world = World::with_pool("10.0.0.0/24", 30);
        world.config(|config| {
            config.strict_affinity = true;
            config.max_blocks_per_host = limit;
        });
        world.auto(request("a", "before", taken, 0));
        let first = world.blocks()[0].cidr;
        lose_affinity(&world, "a", &first.to_string());
        let answer = world.auto(request("a", "after", 9, 0));
        let what = format!("limit {limit}, {taken} taken");
        assert_eq!(world.assigned().len(), held, "{what}");
        assert_eq!(answer.v4.error, Some(AutoAssignError::BlockLimit), "{what}");
        assert_eq!(world.blocks().len(), limit as usize, "{what}");
        assert!(world.affinities().contains(&format!("a {first} Confirmed")), "{what}");
        assert_eq!(world.affinities().len(), limit as usize, "{what}");
    }
}

/// A claim reads the keys of all blocks. It also reads the contents of the nearest blocks to which nobody has
/// an affinity. It reads no contents of a block to which another host has an affinity.
#[test]
fn blocks_without_affinities_are_read_up_to_a_bound() {
    for (lost, read) in [(0, 0), (3, 3), (200, 64)] {
        let world = full_pool("10.0.0.0/22", 30, 20, 0);
        for block in world.blocks().iter().take(lost) {
            lose_affinity(&world, "other", &block.cidr.to_string());
        }
        let counting = Counting::new(world.store.clone());
        let answer = block_on(run(&counting, &world.clock, request("a", "h", 1, 0).planner(), WITHIN));
        assert_eq!(answer.unwrap().v4.addresses.len(), 1);
        let counts = counting.counts();
        // The nearest of the lost blocks may be as far as it wants; all that is read of any is a claim's.
        let blocks = counts.records.get(&RecordType::Block).copied().unwrap_or_default();
        let keys = world.blocks().len() as u64 - 1;
        assert_eq!((blocks, counts.reads), (keys + read, 2 + u64::from(read > 0)), "{lost} lost");
    }
}

/// A store whose list of the affinities of one owner lacks some, as in Kubernetes where they have no labels.
struct Unlabelled {
    inner: Counting<MemoryStore>,
    hidden: fn(&Key) -> bool,
}

impl Store for Unlabelled {
    type Watch = <MemoryStore as Store>::Watch;
    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        let whole = self.inner.read(set, within).await?;
        let mut view = View::new();
        let is_named = |key: &Key| set.keys.iter().any(|(named, _)| named == key);
        let is_listed = |key: &Key| {
            let is_of_all = |scope: &Scope| !matches!(scope, Scope::Affinities { owner: Some(_), .. });
            set.scopes.iter().any(|read| is_of_all(&read.scope) && read.scope.holds(key))
        };
        for (key, slot) in whole.all() {
            if !(self.hidden)(key) || is_named(key) || is_listed(key) {
                view.insert(key.clone(), slot.clone());
            }
        }
        for read in &set.scopes {
            // The server's list of affinities is told in full, whatever is asked for.
            view.page_read(read, None);
        }
        Ok(view)
    }
    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        self.inner.commit(batch, within).await
    }
    async fn watch(&self, scope: Scope) -> Result<Self::Watch, StoreError> {
        self.inner.watch(scope).await
    }
}

/// All blocks are found whose affinities have no labels, wherever they are in the host's order; names of
/// hosts may have dots. Calico gives old affinities without a type an empty label, and then finds none of
/// them by its lists: each of the host's requests looks through all blocks.
#[test]
fn every_unlabelled_affinity_is_found() {
    for name in ["a", "a.example.org", "a.example.com"] {
        let world = World::with_pool("10.0.0.0/24", 30);
        ["a", "a.example.org", "a.example.com"].iter().for_each(|name| world.node(name, &[]));
        world.config(|config| {
            config.strict_affinity = true;
            config.max_blocks_per_host = 4;
        });
        // Its namesake up to the dot has blocks, too.
        world.auto(request(if name == "a" { "a.example.org" } else { "a" }, "other", 6, 0));
        let before = world.auto(request(name, "before", 16, 0));
        assert_eq!(before.v4.addresses.len(), 16);
        let (second, third) = (before.v4.addresses[5].addr, before.v4.addresses[9].addr);
        world.release(vec![just(&second.to_string()), just(&third.to_string())]);
        let store = Unlabelled {
            inner: Counting::new(world.store.clone()),
            hidden: |key| matches!(key, Key::Affinity { .. }),
        };
        let answer = block_on(run(&store, &world.clock, request(name, "after", 3, 0).planner(), WITHIN));
        let answer = answer.unwrap().v4;
        let mut got: Vec<_> = answer.addresses.iter().map(|address| address.addr).collect();
        got.sort();
        let mut wanted = vec![second, third];
        wanted.sort();
        assert_eq!((got, answer.error), (wanted, Some(AutoAssignError::BlockLimit)), "{name}");
        world.check();
        let own = format!("{name} ");
        let confirmed = world.affinities().into_iter().filter(|text| text.starts_with(&own));
        assert_eq!(confirmed.count(), 4, "{name}");
    }
}

/// An empty block that is nobody's goes with the next claim of any host; a block in use stays, and one in
/// which an address is cooling down. A claim that needs the block takes it.
#[test]
fn nobodys_empty_block_is_deleted() {
    for (text, left) in [("10.0.0.0/24", 2), ("10.0.0.0/29", 2)] {
        let world = World::with_pool(text, 30);
        world.config(|config| config.cooldown_seconds = 30);
        world.assign(request_ip("a", "cold", "10.0.0.1")).unwrap();
        world.assign(request_ip("a", "used", "10.0.0.5")).unwrap();
        world.release_affinities(Which::Owner(host("a")), false);
        world.del("cold");
        let ownerless = || world.blocks().iter().filter(|block| block.affinity.is_none()).count();
        // Nothing is cold yet.
        if text == "10.0.0.0/24" {
            world.add("c", "first");
            assert_eq!(ownerless(), left, "{text}");
        }
        world.clock.advance(100);
        world.add("b", "h");
        let blocks: Vec<_> =
            world.blocks().iter().map(|block| (block.cidr, block.affinity.clone())).collect();
        assert_eq!(ownerless(), 1, "{text} {blocks:?}");
        assert!(blocks.contains(&(block_cidr("10.0.0.4/30"), None)), "{text} {blocks:?}");
    }
}

/// A release by a caller who knows the addresses that the handle was given.
fn del(world: &World, id: &str) -> ReleaseByHandle {
    let held = world.assigned().into_iter().filter(|(_, holder)| holder == id);
    ReleaseByHandle::new(vec![handle(id)], Some("a".into())).given(held.map(|(addr, _)| addr))
}

/// An address whose handle is gone is found by a caller who was given it, whatever fails meanwhile.
#[test]
fn an_address_whose_handle_is_gone_is_released() {
    let lost = || {
        let world = World::with_pool("10.0.0.0/24", 30);
        world.auto(request("a", "other", 5, 0));
        world.auto(request("a", "gone", 4, 0));
        world.delete(Key::Handle(handle("gone")));
        world
    };
    let is_done = |world: &World, what: &str| {
        assert!(world.assigned().values().all(|id| id == "other"), "{what}");
        assert_eq!((world.assigned().len(), world.handles()), (5, 1), "{what}");
        world.check();
    };
    let world = lost();
    let counting = Counting::new(world.store.clone());
    let answer = block_on(run(&counting, &world.clock, del(&world, "gone").planner(), WITHIN)).unwrap();
    assert!(
        matches!(&answer[..], [HandleRelease::Released(addresses)] if addresses.len() == 4),
        "{answer:?}"
    );
    is_done(&world, "no fault");
    // The handle, the two blocks, the handle.
    let writes = counting.counts().writes_sent() as usize;
    assert_eq!(writes, 4);
    for landed in [false, true] {
        for answered in 0..writes {
            let fault = CommitFault::ReplyLost { answered, lost: 1, landed };
            let world = lost();
            let store = Faulty::new(world.store.clone(), FaultPlan::one_by_one().fault(0, fault));
            block_on(run(&store, &world.clock, del(&world, "gone").planner(), WITHIN)).unwrap();
            is_done(&world, &format!("{fault:?}"));
        }
    }
    for writes in 0..=writes {
        let world = lost();
        let plan = FaultPlan::one_by_one().fault(0, CommitFault::Crash { writes });
        let store = Faulty::new(world.store.clone(), plan);
        block_on(run(&store, &world.clock, del(&world, "gone").planner(), WITHIN)).unwrap_err();
        if writes > 0 {
            world.check();
        }
        world.run(del(&world, "gone").planner()).unwrap();
        is_done(&world, &format!("a crash after {writes}"));
    }
}

/// A search for a handle that does not exist costs one read, of the blocks of the addresses that the caller
/// names, and is made only where no handle of the request exists.
#[test]
fn what_a_missing_handle_costs() {
    let world = World::with_pool("10.0.0.0/24", 30);
    world.add("a", "other");
    world.add("a", "h");
    let reads = |release: ReleaseByHandle| {
        let counting = Counting::new(world.store.clone());
        block_on(run(&counting, &world.clock, release.planner(), WITHIN)).unwrap();
        counting.counts().reads
    };
    let given = ip("10.0.0.1");
    let both = || ReleaseByHandle::new(vec![handle("h"), handle("default.h")], Some("a".into()));
    assert_eq!(reads(both().given([given])), 2, "the handles and more, and the block");
    assert_eq!(reads(both().given([given])), 2, "the block of the address");
    assert_eq!(reads(both().given([ip("172.16.0.1")])), 1, "there is no such pool");
    assert_eq!(reads(both()), 1);
}

/// An ADD makes the handle again while a DEL looks for the addresses that have none: what the ADD counts
/// stays counted, and its address is released with the others.
#[test]
fn a_handle_that_is_made_again_meanwhile_is_seen() {
    let world = World::with_pool("10.0.0.0/24", 30);
    world.add("a", "h");
    world.delete(Key::Handle(handle("h")));
    let once = AtomicUsize::new(0);
    let store = stepped(&world, FaultPlan::one_by_one(), move |world, step| {
        if step == Step::BeforeWrite(0) && once.fetch_add(1, Ordering::Relaxed) == 0 {
            world.run(request("a", "h", 4, 0).planner()).unwrap();
        }
    });
    block_on(run(&store, &world.clock, del(&world, "h").planner(), WITHIN)).unwrap();
    assert_eq!((world.assigned().len(), world.handles()), (0, 0));
    world.check();
}

/// Of a handle's text that two pods share, only the pod's own addresses are released; the handle is made
/// again for the other's.
#[test]
fn anothers_address_of_a_lost_handle_gets_its_handle_back() {
    let world = World::with_pool("10.0.0.0/24", 30);
    let mut theirs = request("a", "h", 1, 0);
    theirs.attributes.insert("pod".into(), "another".into());
    world.auto(theirs);
    world.auto(request("a", "h", 1, 0));
    world.delete(Key::Handle(handle("h")));
    let pod = PodName { namespace: "default".into(), name: "h".into() };
    let given: Vec<_> = world.assigned().into_keys().collect();
    let release = ReleaseByHandle::new(Vec::new(), None).given(given).and(handle("h"), Whose::Pods(pod));
    let answer = world.run(release.planner()).unwrap();
    assert!(
        matches!(&answer[..], [HandleRelease::Released(addresses)] if addresses.len() == 1),
        "{answer:?}"
    );
    assert_eq!((world.assigned().len(), world.handles()), (1, 1));
    world.check();
}
