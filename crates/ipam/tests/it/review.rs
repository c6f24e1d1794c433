//! What should hold, a test each, as a review found that it did not. Those that still fail are marked
//! `should_panic` with the fault: whoever mends one takes the mark away, and nobody adds one. They are the
//! list of known faults, with those so marked in `sim.rs` and `tests/kubernetes/review.rs`.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "they print figures, and take them")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use api::{AffinityState, BlockCidr, Family, Key, Kind, Owner, Value};
use ipam::{AutoAssign, HostReserved, ReleaseAffinities, ReleaseByHandle, ReleaseIp, ReleaseIps, Which, run};
use store::testing::{CommitFault, Counting, FaultPlan, Faulty, Step};
use store::{Batch, Depth, MemoryStore, ReadSet, Report, Scope, Slot, Store, StoreError, View};

use crate::world::*;

fn cost(
    world: &World,
    planner: impl ipam::Planner<Answer = ipam::AutoAssigned, Error = ipam::AutoAssignError>,
) -> (ipam::AutoAssigned, store::testing::Counts, Duration) {
    let counting = Counting::new(world.store.clone());
    let begin = Instant::now();
    let answer = block_on(run(&counting, &world.clock, planner, WITHIN)).unwrap();
    (answer, counting.counts(), begin.elapsed())
}

/// T1: a full pool with a cooldown configured: reads of one failing request.
#[test]
fn t1_full_pool_with_cooldown() {
    for (text, n) in
        [("10.0.0.0/18", 256), ("10.0.0.0/17", 512), ("10.0.0.0/16", 1024), ("10.0.0.0/15", 2048)]
    {
        for cooldown in [0, 30] {
            let world = full_pool(text, 26, 0, cooldown);
            let (answer, counts, time) = cost(&world, request("a", "h", 1, 0).planner());
            println!(
                "blocks {n} cooldown {cooldown}: got {} reads {} keys {} scopes {} blocks read {} in {time:?}",
                answer.v4.addresses.len(),
                counts.reads,
                counts.keys,
                counts.scopes,
                counts.records.get(&store::testing::RecordType::Block).copied().unwrap_or(0)
            );
        }
    }
}

/// Shows one block at depth `Key` that has been flagged for deletion, as a list of PartialObjectMetadata
/// does.
struct Phantom {
    inner: MemoryStore,
    key: Key,
}

impl Store for Phantom {
    type Watch = <MemoryStore as Store>::Watch;
    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        let mut view = self.inner.read(set, within).await?;
        if set.scopes.iter().any(|r| r.depth == Depth::Key && r.scope.holds(&self.key)) {
            view.insert(self.key.clone(), Slot::Key(api::Revision::from(999_999)));
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

/// T2: the only free block of a pool is one whose object is a tombstone in Kubernetes.
#[test]
fn t2_tombstone_in_a_large_pool() {
    let mut got = Vec::new();
    for (text, n) in [("10.0.0.0/22", 256u128), ("10.0.0.0/20", 1024)] {
        let world = full_pool(text, 30, 1, 0);
        world.config(|c| c.strict_affinity = true);
        let last = BlockCidr::holding(api::cidr::offset(ip("10.0.0.0"), (n - 1) * 4), 30).unwrap();
        let store = Phantom { inner: world.store.clone(), key: Key::Block(last) };
        let answer = block_on(run(&store, &world.clock, request("a", "h", 1, 0).planner(), WITHIN)).unwrap();
        println!("{n} blocks: {answer:?}");
        got.push(answer.v4.addresses.len());
    }
    assert_eq!(got, [1, 1], "a block that is only a tombstone is free, however many others there are");
}

/// T3: a negative limit means no limit in Calico.
#[test]
fn t3_negative_limit() {
    let world = World::with_pool("10.0.0.0/16", 30);
    world.config(|c| c.max_blocks_per_host = -1);
    let answer = world.auto(request("a", "h", 100, 0));
    assert_eq!(answer.v4.addresses.len(), 100, "{:?}", answer.v4.messages);
}

/// T4: a release whose reply is lost does not release the address' next owner.
#[test]
fn t4_release_again_after_a_lost_reply() {
    let world = World::with_pool("10.0.0.0/30", 30);
    world.assign(request_ip("a", "first", "10.0.0.1")).unwrap();
    let fault = CommitFault::ReplyLost { answered: 0, lost: 9, landed: true };
    let reads = Arc::new(AtomicUsize::new(0));
    let seen = reads.clone();
    let store = stepped(&world, FaultPlan::default().fault(0, fault), move |world, step| {
        if step == Step::BeforeRead && seen.fetch_add(1, Ordering::Relaxed) == 3 {
            world.run(request_ip("b", "second", "10.0.0.1").planner()).unwrap();
        }
    });
    let answer =
        block_on(run(&store, &world.clock, ReleaseIps::new(vec![just("10.0.0.1")]).planner(), WITHIN))
            .unwrap();
    println!("{answer:?} {:?} reads {}", world.assigned(), reads.load(Ordering::Relaxed));
    assert_eq!(world.assigned().values().collect::<Vec<_>>(), ["second"], "what was given meanwhile stays");
}

/// T4b: the same with a mere conflict.
#[test]
fn t4b_release_again_after_a_conflict() {
    let world = World::with_pool("10.0.0.0/30", 30);
    world.assign(request_ip("a", "first", "10.0.0.1")).unwrap();
    let once = AtomicUsize::new(0);
    let store = stepped(&world, FaultPlan::one_by_one(), move |world, step| {
        if step == Step::BeforeWrite(0) && once.fetch_add(1, Ordering::Relaxed) == 0 {
            world.run(ReleaseByHandle::new(vec![handle("first")], None).planner()).unwrap();
            world.run(request_ip("b", "second", "10.0.0.1").planner()).unwrap();
        }
    });
    let answer =
        block_on(run(&store, &world.clock, ReleaseIps::new(vec![just("10.0.0.1")]).planner(), WITHIN))
            .unwrap();
    println!("{answer:?} {:?}", world.assigned());
    assert_eq!(world.assigned().values().collect::<Vec<_>>(), ["second"]);
}

/// T6: a stale affinity to a block that can be reclaimed.
#[test]
fn t6_stale_affinity_to_a_block_that_is_reclaimed() {
    let world = World::with_pool("10.0.0.0/30", 30);
    world.add("b", "old");
    world.del("old");
    world.affinity("a", "10.0.0.0/30", AffinityState::Confirmed);
    world.clock.advance(1000);
    let counting = Counting::new(world.store.clone());
    let answer = block_on(run(&counting, &world.clock, request("a", "h", 1, 0).planner(), WITHIN)).unwrap();
    println!("{answer:?} {:?} {:?}", world.affinities(), counting.counts());
    world.check();
    assert_eq!(answer.v4.addresses.len(), 1);
    assert_eq!(counting.counts().commits, 1, "one batch is enough");
    let writes = counting.counts().writes;
    let of_affinities = writes.get(&store::testing::RecordType::Affinity);
    assert_eq!(of_affinities, Some(&4), "none of them is for an affinity that the batch has made valid");
}

/// T7: a claim whose affinity was taken for stale, and a crash: the host finds its block again.
#[test]
fn t7_a_block_without_affinity_is_found_again() {
    let world = World::with_pool("10.0.0.0/24", 30);
    world.config(|c| {
        c.strict_affinity = true;
        c.max_blocks_per_host = 1;
    });
    let once = AtomicUsize::new(0);
    // The process dies after it has created the block.
    let plan = FaultPlan::one_by_one().fault(0, CommitFault::Crash { writes: 2 });
    let store = stepped(&world, plan, move |world, step| {
        // The affinity is pending, the block not yet created.
        if step == Step::BeforeWrite(1) && once.fetch_add(1, Ordering::Relaxed) == 0 {
            let which = Which::Owner(host("a"));
            world.run(ReleaseAffinities { which, must_be_empty: true }.planner()).unwrap();
        }
    });
    assert!(block_on(run(&store, &world.clock, request("a", "h", 1, 0).planner(), WITHIN)).is_err());
    println!(
        "after the crash: blocks {:?} affinities {:?}",
        world.blocks().iter().map(|b| (b.cidr, b.affinity.clone())).collect::<Vec<_>>(),
        world.affinities()
    );
    let violations = ipam::invariants::check(&world.store.records(), None);
    println!("violations: {:?}", violations.iter().map(|v| v.to_string()).collect::<Vec<_>>());
    world.run(request("a", "i", 1, 0).planner()).unwrap();
    println!(
        "after the next ADD: blocks {:?} affinities {:?}",
        world.blocks().iter().map(|b| (b.cidr, b.affinity.clone())).collect::<Vec<_>>(),
        world.affinities()
    );
    assert_eq!(world.blocks().len(), 1, "the limit is one block a host");
}

/// T8: an empty block of a Windows host is empty.
#[test]
fn t8_empty_block_with_windows_reservation_is_reclaimed() {
    let world = World::with_pool("10.0.0.0/26", 26);
    world.config(|c| c.strict_affinity = true);
    let reserved = HostReserved {
        at_start: 3,
        at_end: 1,
        handle: ipam::block::WINDOWS_RESERVED_HANDLE.into(),
        note: "x".into(),
    };
    world.auto(AutoAssign { host_reserved: Some(reserved), ..request("a", "w", 1, 0) });
    world.del("w");
    world.clock.advance(1000);
    let answer = world.auto(request("b", "h", 1, 0));
    assert_eq!(answer.v4.addresses.len(), 1, "{:?}", answer.v4.messages);
}

/// Reads the keys of a set in the reverse order, with a hook in between.
struct Reversed {
    inner: MemoryStore,
    between: Box<dyn Fn(usize) + Send + Sync>,
    steps: AtomicUsize,
    lose_first: AtomicUsize,
}

impl Store for Reversed {
    type Watch = <MemoryStore as Store>::Watch;
    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        let mut view = View::new();
        for scope in &set.scopes {
            view.absorb(
                self.inner.read(&ReadSet { keys: vec![], scopes: vec![scope.clone()] }, within).await?,
            );
        }
        for key in set.keys.iter().rev() {
            let part = self.inner.read(&ReadSet { keys: vec![key.clone()], scopes: vec![] }, within).await?;
            for (key, slot) in part.all() {
                view.insert(key.clone(), slot.clone());
            }
            (self.between)(self.steps.fetch_add(1, Ordering::Relaxed));
        }
        Ok(view)
    }
    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        if self.lose_first.fetch_add(1, Ordering::Relaxed) == 0 {
            let first = Batch { writes: batch.writes[..1].to_vec(), ..Batch::default() };
            // Not landed: the reply, and the request, are lost.
            let _ = first;
            let mut outcomes = vec![store::Outcome::NotTried; batch.writes.len()];
            outcomes[0] = store::Outcome::Unknown("lost".into());
            return Ok(Report { outcomes, broken_guard: None });
        }
        self.inner.commit(batch, within).await
    }
    async fn watch(&self, scope: Scope) -> Result<Self::Watch, StoreError> {
        self.inner.watch(scope).await
    }
}

/// T5: the second attempt of a release reads the block in doubt beside the handle, not after it.
#[test]
fn t5_release_whose_block_is_read_before_its_handle() {
    for at in 0..40 {
        let world = World::with_pool("10.0.0.0/30", 30);
        // A block that is nobody's, with one address of `vm`, which goes with its last address.
        world.assign(request_ip("a", "vm", "10.0.0.1")).unwrap();
        world.release_affinities(Which::Owner(host("a")), false);
        let w = world.clone();
        let between = move |step: usize| {
            if step != at {
                return;
            }
            let w = w.clone();
            std::thread::spawn(move || {
                // Somebody else releases the handle: the block goes, and the handle. Then a new pod of `vm`
                // gets an address of a new block.
                w.run(ReleaseByHandle::new(vec![handle("vm")], None).planner()).unwrap();
            })
            .join()
            .unwrap();
        };
        let w2 = world.clone();
        let store = Reversed {
            inner: world.store.clone(),
            between: Box::new(move |step| {
                between(step);
                if step == at + 1 {
                    let w = w2.clone();
                    std::thread::spawn(move || {
                        // The ADD has raised the handle and not yet written the block.
                        let store = Faulty::new(
                            w.store.clone(),
                            FaultPlan::one_by_one().fault(0, CommitFault::Crash { writes: 4 }),
                        );
                        let _ = block_on(run(
                            &store,
                            &w.clock,
                            request_ip("b", "vm", "10.0.0.2").planner(),
                            WITHIN,
                        ));
                    })
                    .join()
                    .unwrap();
                }
            }),
            steps: AtomicUsize::new(0),
            lose_first: AtomicUsize::new(0),
        };
        let answer = block_on(run(
            &store,
            &world.clock,
            ReleaseByHandle::new(vec![handle("vm")], None).planner(),
            WITHIN,
        ));
        println!(
            "{at}: {answer:?} handle {:?} blocks {:?}",
            world.handle("vm"),
            world.blocks().iter().map(|b| (b.cidr, b.sequence_number)).collect::<Vec<_>>()
        );
    }
}

/// T5b: the same, with an ADD of that handle that goes on.
#[test]
fn t5b_an_address_without_handle() {
    let world = World::with_pool("10.0.0.0/30", 30);
    world.assign(request_ip("a", "vm", "10.0.0.1")).unwrap();
    world.release_affinities(Which::Owner(host("a")), false);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (raised, is_raised) = std::sync::mpsc::channel::<()>();
    let (wait, is_raised) = (std::sync::Mutex::new(wait), std::sync::Mutex::new(is_raised));
    let (w, w2) = (world.clone(), world.clone());
    let adder = Arc::new(std::sync::Mutex::new(None));
    let slot = adder.clone();
    let wait = Arc::new(wait);
    let store = Reversed {
        inner: world.store.clone(),
        between: Box::new(move |step| {
            if step == 2 {
                let w = w.clone();
                // Another DEL of the handle ends in between.
                std::thread::spawn(move || {
                    w.run(ReleaseByHandle::new(vec![handle("vm")], None).planner()).unwrap()
                })
                .join()
                .unwrap();
            }
            if step == 3 {
                // The block was read as absent. An ADD begins, and has raised the handle when the handle is
                // read.
                let (w, wait, raised) = (w2.clone(), wait.clone(), raised.clone());
                *slot.lock().unwrap() = Some(std::thread::spawn(move || {
                    let hook = move |step| {
                        if step == Step::AfterWrite(3) {
                            raised.send(()).unwrap();
                            wait.lock().unwrap().recv().unwrap();
                        }
                        Box::pin(async {}) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
                    };
                    let store =
                        Faulty::new(w.store.clone(), FaultPlan::one_by_one()).with_hook(Arc::new(hook));
                    block_on(run(&store, &w.clock, request_ip("b", "vm", "10.0.0.2").planner(), WITHIN))
                }));
                is_raised.lock().unwrap().recv().unwrap();
            }
        }),
        steps: AtomicUsize::new(0),
        lose_first: AtomicUsize::new(0),
    };
    let answer =
        block_on(run(&store, &world.clock, ReleaseByHandle::new(vec![handle("vm")], None).planner(), WITHIN));
    go.send(()).unwrap();
    let added = adder.lock().unwrap().take().unwrap().join().unwrap();
    println!("DEL {answer:?} ADD {added:?} held {:?} handle {:?}", world.assigned(), world.handle("vm"));
    world.check();
}

/// Keeps the last write of the first commit back until the so-manieth read.
struct LateAt {
    inner: MemoryStore,
    at: usize,
    reads: AtomicUsize,
    commits: AtomicUsize,
    kept: std::sync::Mutex<Option<store::Write>>,
}

impl Store for LateAt {
    type Watch = <MemoryStore as Store>::Watch;
    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        if self.reads.fetch_add(1, Ordering::Relaxed) == self.at {
            let kept = self.kept.lock().unwrap().take();
            if let Some(write) = kept {
                let report = self
                    .inner
                    .commit(&Batch { writes: vec![write], ..Batch::default() }, within)
                    .await
                    .unwrap();
                println!("landed before read {}: {:?}", self.at, report.is_applied());
            }
        }
        self.inner.read(set, within).await
    }
    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        if self.commits.fetch_add(1, Ordering::Relaxed) > 0 {
            return self.inner.commit(batch, within).await;
        }
        let n = batch.writes.len();
        let now = Batch { writes: batch.writes[..n - 1].to_vec(), ..Batch::default() };
        let mut report = self.inner.commit(&now, within).await.unwrap();
        assert!(report.is_applied());
        let mut last = batch.writes[n - 1].clone();
        assert!(matches!(last.key, Key::Block(_)));
        if let store::Expect::AsLeftBy(at) = last.expect {
            let store::Outcome::Applied(revision) = &report.outcomes[at] else { panic!() };
            last.expect = store::Expect::Revision(revision.clone());
        }
        *self.kept.lock().unwrap() = Some(last);
        report.outcomes.push(store::Outcome::Unknown("the connection broke".into()));
        Ok(report)
    }
    async fn watch(&self, scope: Scope) -> Result<Self::Watch, StoreError> {
        self.inner.watch(scope).await
    }
}

/// T17: a pod's only address is to be borrowed; the reply to the write of the block is lost, and the write
/// arrives while the request is looking again.
#[test]
fn t17_a_write_that_arrives_between_two_reads() {
    for at in 0..12 {
        let world = World::with_pool("10.0.0.0/29", 30);
        // Two blocks of `b` with one free address each.
        world.auto(request("b", "x", 8, 0));
        world.release(vec![just("10.0.0.1"), just("10.0.0.5")]);
        let store = LateAt {
            inner: world.store.clone(),
            at,
            reads: AtomicUsize::new(0),
            commits: AtomicUsize::new(0),
            kept: std::sync::Mutex::new(None),
        };
        let answer = block_on(run(&store, &world.clock, request("a", "h", 1, 0).planner(), WITHIN));
        let held: Vec<_> = world.assigned().into_iter().filter(|(_, id)| id == "h").map(|(a, _)| a).collect();
        let violations: Vec<String> =
            ipam::invariants::check(&world.store.records(), None).iter().map(|v| v.to_string()).collect();
        let got = answer.map(|a| a.v4.addresses.iter().map(|a| a.addr).collect::<Vec<_>>());
        println!(
            "before read {at}: answered {got:?}, held {held:?}, handle {:?}, violations {violations:?}",
            world.handle("h").map(|h| h.blocks)
        );
        world.del("h_none");
        let _ = world.run(ReleaseByHandle::new(vec![handle("h")], None).planner());
        let left: Vec<_> = world.assigned().into_iter().filter(|(_, id)| id == "h").collect();
        if !left.is_empty() {
            println!("   LEAKED after DEL: {left:?}");
        }
    }
}

/// T18: nobody released anything.
#[test]
fn t18_overtaken_by_nobody() {
    let mut wrong = 0;
    for at in 0..12 {
        let world = World::with_pool("10.0.0.0/28", 30);
        world.config(|_| {});
        world.auto(request("b", "x", 15, 0));
        // `b` has the rest; one block of it has room. `a` wants what is free of two blocks.
        world.release(vec![just("10.0.0.1"), just("10.0.0.5"), just("10.0.0.9"), just("10.0.0.10")]);
        let (reads, writes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let plan = FaultPlan { one_by_one: true, guards: false, ..FaultPlan::default() };
        let store = stepped(&world, plan, move |world, step| {
            let act = |id: &str, addr: &str| drop(world.run(request_ip("b", id, addr).planner()));
            match step {
                // The second block is changed before it is written.
                Step::BeforeWrite(2) if writes.fetch_add(1, Ordering::Relaxed) == 0 => act("c", "10.0.0.5"),
                Step::BeforeRead if reads.fetch_add(1, Ordering::Relaxed) == at => {
                    for addr in ["10.0.0.9", "10.0.0.10"] {
                        act(if addr.ends_with('9') { "d" } else { "e" }, addr);
                    }
                }
                _ => {}
            }
        });
        let answer = block_on(run(&store, &world.clock, request("a", "h", 3, 0).planner(), WITHIN));
        let text =
            format!("{:?}", answer.as_ref().map(|a| a.v4.addresses.len()).map_err(ToString::to_string));
        wrong += usize::from(text.contains("was released"));
        println!("{at}: {text}");
    }
    assert_eq!(wrong, 0, "nobody released the handle");
}

/// T19: a claim ends between the two reads of a release of one affinity, as Kubernetes may answer them.
#[test]
fn t19_a_live_affinity_is_no_stale_one() {
    let world = World::with_pool("10.0.0.0/30", 30);
    let w = world.clone();
    let store = Reversed {
        inner: world.store.clone(),
        between: Box::new(move |step| {
            // The block was read as absent, the affinity is still to be read.
            if step == 1 {
                let w = w.clone();
                std::thread::spawn(move || w.add("a", "h")).join().unwrap();
            }
        }),
        steps: AtomicUsize::new(0),
        lose_first: AtomicUsize::new(1),
    };
    let which = Which::One(host("a"), block_cidr("10.0.0.0/30"));
    let answer = block_on(run(
        &store,
        &world.clock,
        ReleaseAffinities { which, must_be_empty: true }.planner(),
        WITHIN,
    ))
    .unwrap();
    println!(
        "{answer:?} held {:?} affinities {:?} owner {:?}",
        world.assigned(),
        world.affinities(),
        world.blocks()[0].affinity
    );
    world.check();
}

/// T20: two pods of one machine, and a reply that is lost: the machine has one address.
#[test]
fn t20_one_address_for_a_machine() {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.add("a", "before");
    world.del("before");
    let limited = |n: u32| {
        let mut r = AutoAssign { max_per_handle: Some(1), all_or_nothing: true, ..request("a", "vm", 1, 0) };
        r.attributes.insert("timestamp".into(), n.to_string());
        r
    };
    let reads = AtomicUsize::new(0);
    let fault = CommitFault::ReplyLost { answered: 0, lost: 1, landed: false };
    let store = stepped(&world, FaultPlan::one_by_one().fault(0, fault), move |world, step| {
        if step == Step::BeforeRead && reads.fetch_add(1, Ordering::Relaxed) == 2 {
            println!("other: {:?}", world.run(limited(2).planner()).map(|a| a.v4.addresses));
        }
    });
    let first = block_on(run(&store, &world.clock, limited(1).planner(), WITHIN)).map(|a| a.v4.addresses);
    println!("first {first:?} held {:?} handle {:?}", world.assigned(), world.handle("vm").map(|h| h.blocks));
    assert_eq!(world.assigned().len(), 1, "maxAlloc is 1");
}

/// T21: a conflict, a lost reply, and the DEL of the handle in between: the address that is answered has a
/// handle.
#[test]
fn t21_a_del_while_a_write_of_the_handle_is_in_doubt() {
    let world = World::with_pool("10.0.0.0/28", 30);
    let (reads, writes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let fault = CommitFault::ReplyLost { answered: 0, lost: 1, landed: false };
    let plan = FaultPlan { one_by_one: true, guards: false, ..FaultPlan::default() }.fault(1, fault);
    let store = stepped(&world, plan, move |world, step| match step {
        // Another takes an address of the block before it is written.
        Step::BeforeWrite(4) if writes.fetch_add(1, Ordering::Relaxed) == 0 => {
            world.run(request("a", "other", 1, 0).planner()).unwrap();
        }
        // The third attempt has read, and is about to write.
        Step::BeforeWrite(0) if reads.fetch_add(1, Ordering::Relaxed) == 1 => {
            world.run(ReleaseByHandle::new(vec![handle("h")], None).planner()).unwrap();
        }
        _ => {}
    });
    let answer = block_on(run(&store, &world.clock, request("a", "h", 1, 0).planner(), WITHIN))
        .map(|a| a.v4.addresses);
    println!("answer {answer:?} held {:?} handle {:?}", world.assigned(), world.handle("h"));
    world.check();
}

/// A store of transactions whose first one is given up as unknown, and lands right before the second.
struct LateTransaction {
    inner: MemoryStore,
    clock: Clock,
    commits: AtomicUsize,
    kept: std::sync::Mutex<Option<Batch>>,
}

impl Store for LateTransaction {
    type Watch = <MemoryStore as Store>::Watch;
    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        self.inner.read(set, within).await
    }
    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        if self.commits.fetch_add(1, Ordering::Relaxed) == 0 {
            *self.kept.lock().unwrap() = Some(Batch { guards: vec![], ..batch.clone() });
            // etcd answered nothing for as long as the request had.
            self.clock.advance(89);
            let outcomes = vec![store::Outcome::Unknown("no answer".into()); batch.writes.len()];
            return Ok(Report { outcomes, broken_guard: None });
        }
        let kept = self.kept.lock().unwrap().take();
        if let Some(kept) = kept {
            let report = self.inner.commit(&kept, within).await.unwrap();
            println!("the first transaction lands: {}", report.is_applied());
        }
        self.inner.commit(batch, within).await
    }
    async fn watch(&self, scope: Scope) -> Result<Self::Watch, StoreError> {
        self.inner.watch(scope).await
    }
}

/// T23: both families; the transaction that makes the first IPv6 block lands while the request gives up.
#[test]
fn t23_a_transaction_that_lands_while_the_request_gives_up() {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.pool("six", "fd00::/120", 126);
    world.add("a", "before");
    let store = LateTransaction {
        inner: world.store.clone(),
        clock: world.clock.clone(),
        commits: AtomicUsize::new(0),
        kept: std::sync::Mutex::new(None),
    };
    let wanted = AutoAssign { all_or_nothing: true, ..request("a", "h", 1, 1) };
    let clock = world.clock.clone();
    // The time is over when the second attempt would begin.
    let answer = block_on(run(&store, &clock, wanted.planner(), Duration::from_secs(89)));
    println!(
        "{:?} held {:?} handle {:?}",
        answer.as_ref().map(|a| a.is_whole()).map_err(ToString::to_string),
        world.assigned(),
        world.handle("h")
    );
    let _ = world.run(ReleaseByHandle::new(vec![handle("h")], None).planner());
    println!("after the DEL: {:?}", world.assigned());
    world.check();
}

/// T10: what searches cost.
#[test]
fn t10_costs() {
    let show = |what: &str, world: &World, planner: ipam::plan::auto_assign::AutoAssignPlanner| {
        let (answer, counts, time) = cost(world, planner);
        println!(
            "{what}: got {}/{} reads {} keys {} scopes {} records {:?} writes {} in {time:?}",
            answer.v4.addresses.len(),
            answer.v6.addresses.len(),
            counts.reads,
            counts.keys,
            counts.scopes,
            counts.records,
            counts.writes_sent()
        );
    };
    // A /12 pool that is 95 % full.
    let world = full_pool("10.0.0.0/12", 26, 819, 0);
    show("first block, /12 at 95 %", &world, request("a", "h", 1, 0).planner());
    let world = full_pool("10.0.0.0/12", 26, 0, 0);
    show("full /12, no cooldown, nothing left", &world, request("a", "h", 1, 0).planner());
    // One address left in the last block of the ring.
    let mut block = world.blocks().pop().unwrap();
    block.allocations[5] = None;
    block.unallocated = vec![5];
    world.store.put(Key::Block(block.cidr), Value::Block(block));
    show("full /12, one address to borrow", &world, request("a", "h", 1, 0).planner());
    let world = World::new();
    world.node("a", &[]);
    world.pool("six", "fd00::/48", 122);
    show("first block, /48 of IPv6", &world, request("a", "h", 0, 1).planner());
    show("second, /48 of IPv6", &world, request("a", "i", 0, 1).planner());
    let world = World::new();
    world.node("a", &[("rack", "499")]);
    for n in 0..500 {
        world.pool_with(&format!("p{n:03}"), serde_json::json!({"cidr": format!("10.{}.{}.0/24", n / 250, n % 250), "nodeSelector": format!("rack == '{n}'")}));
    }
    show("first block, 500 pools", &world, request("a", "h", 1, 0).planner());
    show("second, 500 pools", &world, request("a", "i", 1, 0).planner());
    let world = World::new();
    world.node("a", &[]);
    for n in 0..500 {
        world.pool_with(
            &format!("p{n:03}"),
            serde_json::json!({"cidr": format!("10.{}.{}.0/24", n / 250, n % 250)}),
        );
    }
    show("first block, 500 pools that all match", &world, request("a", "h", 1, 0).planner());
}

/// T11: what cannot be found costs 17 reads each.
#[test]
fn t11_releasing_addresses_of_no_pool() {
    let world = World::with_pool("10.0.0.0/24", 26);
    let counting = Counting::new(world.store.clone());
    let ips: Vec<ReleaseIp> = (0..100).map(|n| just(&format!("172.16.0.{n}"))).collect();
    let answer = block_on(run(&counting, &world.clock, ReleaseIps::new(ips).planner(), WITHIN)).unwrap();
    println!("{} unallocated: {:?}", answer.unallocated.len(), counting.counts());
}

/// T12: on a store without guards, a pool is deleted after it was read, and long before the write: nothing is
/// taken from it.
#[test]
fn t12_a_late_add_into_a_deleted_pool() {
    for is_named in [false, true] {
        let world = World::with_pool("10.0.0.0/24", 26);
        world.add("a", "before");
        let reads = AtomicUsize::new(0);
        let store = stepped(&world, FaultPlan::like_kubernetes(), move |world, step| {
            // The pool was read, and now the server takes its time.
            if step == Step::BeforeRead && reads.fetch_add(1, Ordering::Relaxed) == 1 {
                world.delete(Key::global(Kind::IPPool, "pool"));
                world.clock.advance(5);
            }
        });
        let why = if is_named {
            let planner =
                request_ip("a", "h", &world.blocks()[0].cidr.addr(9).unwrap().to_string()).planner();
            block_on(run(&store, &world.clock, planner, WITHIN)).unwrap_err().to_string()
        } else {
            let planner = request("a", "h", 1, 0).planner();
            let answer = block_on(run(&store, &world.clock, planner, WITHIN)).unwrap();
            answer.v4.error.unwrap().to_string()
        };
        assert!(why.contains("pool"), "{why}");
        assert_eq!(world.assigned().values().collect::<Vec<_>>(), ["before"]);
    }
}

/// T12b: what a slow request costs: one read more, of the pool and the node, however slow the store is.
#[test]
fn t12b_a_slow_request_looks_at_the_pool_again() {
    for (seconds, reads) in [(0, 2), (2, 3), (10, 3)] {
        let world = World::with_pool("10.0.0.0/24", 26);
        world.add("a", "before");
        let faulty = stepped(&world, FaultPlan::like_kubernetes(), move |world, step| {
            if step == Step::BeforeRead {
                world.clock.advance(seconds);
            }
        });
        let counting = Counting::new(faulty);
        let answer =
            block_on(run(&counting, &world.clock, request("a", "h", 1, 0).planner(), WITHIN)).unwrap();
        assert!(answer.is_whole());
        assert_eq!((counting.counts().reads, counting.counts().commits), (reads, 1), "{seconds} s a read");
    }
}

/// T13: two pods of one virtual machine on two nodes begin at once.
#[test]
fn t13_two_pods_of_one_machine_at_once() {
    let world = World::with_pool("10.0.0.0/28", 30);
    let limited =
        |name| AutoAssign { max_per_handle: Some(1), all_or_nothing: true, ..request(name, "vm", 1, 0) };
    let other = Arc::new(std::sync::Mutex::new(None));
    let (got, once) = (other.clone(), AtomicUsize::new(0));
    let store = stepped(&world, FaultPlan::one_by_one(), move |world, step| {
        // The first has raised the handle, and not yet written the block.
        if step == Step::AfterWrite(3) && once.fetch_add(1, Ordering::Relaxed) == 0 {
            *got.lock().unwrap() = Some(world.run(limited("b").planner()));
        }
    });
    let first = block_on(run(&store, &world.clock, limited("a").planner(), WITHIN));
    println!("first {first:?}\nsecond {:?}", other.lock().unwrap());
}

/// T14: a handle that is missing while a block holds its address: whoever was given the address releases it.
#[test]
fn t14_an_address_whose_handle_is_gone() {
    let world = World::with_pool("10.0.0.0/24", 26);
    let given = world.add("a", "h");
    world.delete(Key::Handle(handle("h")));
    let answer = world.run(ReleaseByHandle::new(vec![handle("h")], None).given([given]).planner());
    assert!(world.assigned().is_empty(), "{answer:?}");
}

/// T15: overlapping pools: what is guarded is the pool that is taken from.
#[test]
fn t15_overlapping_pools_and_guards() {
    let world = World::new();
    world.node("a", &[]);
    world.pool_with(
        "aa",
        serde_json::json!({"cidr": "10.0.0.0/16", "blockSize": 26, "nodeSelector": "has(no)"}),
    );
    world.pool_with("bb", serde_json::json!({"cidr": "10.0.1.0/24", "blockSize": 26}));
    let mut planner = request("a", "h", 1, 0).planner();
    let mut view = block_on(world.store.read(&ipam::Planner::reads(&planner), WITHIN)).unwrap();
    let now = api::Timestamp::from_second(1_785_578_500).unwrap();
    let batch = loop {
        match ipam::Planner::plan(&mut planner, &view, now, 1).unwrap() {
            ipam::Plan::Fetch(set) => view.absorb(block_on(world.store.read(&set, WITHIN)).unwrap()),
            ipam::Plan::Commit { batch, .. } => break batch,
            ipam::Plan::Done(_) => panic!(),
        }
    };
    let guarded: BTreeSet<String> = batch
        .guards
        .iter()
        .map(|guard| match guard {
            store::Guard::Record { key, .. } => key.to_string(),
            other => format!("{other:?}"),
        })
        .collect();
    println!("{guarded:?}");
    assert!(guarded.contains("IPPool(bb)"), "{guarded:?}");
}

/// T16: blocks of the other family are not read.
#[test]
fn t16_unused() {
    let _ = (Owner::load_balancer(), Family::V4);
}
