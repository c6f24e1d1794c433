//! Requests that begin on a kept view. However old the view is, their answers are as right as those of
//! requests that read first.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use api::{Key, Kind, Timestamp, Value};
use ipam::{
    AutoAssign, AutoAssignError, AutoAssigned, Plan, Planner, ReleaseByHandle, RunError, Which, run, run_warm,
};
use serde_json::json;
use store::testing::{Chances, Counting, Counts, FaultPlan, Faulty};
use store::{Batch, Depth, Effects, Expect, MemoryStore, Met, Observer, ReadSet, Scope, Store, View};

use crate::world::*;

/// A view of everything that a daemon may keep.
fn kept(world: &World) -> View {
    let set = [
        Scope::kind(Kind::IPPool),
        Scope::kind(Kind::IPReservation),
        Scope::kind(Kind::Node),
        Scope::Affinities { owner: None, family: None },
        Scope::Blocks { family: None },
        Scope::Handles,
    ]
    .into_iter()
    .fold(ReadSet::new().key(Key::IpamConfig), |set, scope| set.scope(scope, Depth::Full));
    block_on(world.store.read(&set, WITHIN)).unwrap()
}

/// The answer of a request that begins on that view, and the counts of its calls to the store.
fn warm<P: Planner + Clone>(
    world: &World,
    planner: P,
    kept: &View,
) -> (Result<P::Answer, RunError<P::Error>>, Counts) {
    let counting = Counting::new(world.store.clone());
    let answer = block_on(run_warm(&counting, &world.clock, planner, kept, WITHIN));
    (answer, counting.counts())
}

/// The same records in another store.
fn copy(world: &World) -> World {
    let copy = World { store: MemoryStore::new(), clock: Clock::new(world.clock.seed()) };
    for record in world.store.records() {
        copy.store.put(record.key.clone(), record.value.clone());
    }
    copy
}

#[test]
fn nothing_is_read_where_the_view_is_fresh() {
    for (v4, v6) in [(1, 0), (3, 0), (1, 1)] {
        let world = World::with_pool("10.0.0.0/24", 28);
        world.pool("six", "fd00::/116", 122);
        world.add("a", "first");
        let (answer, counts) = warm(&world, request("a", "h", v4, v6).planner(), &kept(&world));
        let answer = answer.unwrap();
        assert!(answer.is_whole(), "{answer:?}");
        assert_eq!((counts.reads, counts.commits), (0, 1));
        world.check();
        // An empty view works as well as no view.
        let (answer, counts) = warm(&world, request("a", "i", 1, 0).planner(), &View::new());
        assert!(answer.unwrap().is_whole());
        assert_eq!((counts.reads, counts.commits), (2, 1));
    }
}

#[test]
fn that_there_is_nothing_is_not_told_by_an_old_view() {
    let world = World::with_pool("10.0.0.0/30", 30);
    let requests: Vec<String> = (0..4).map(|n| format!("h{n}")).collect();
    requests.iter().for_each(|id| {
        world.add("a", id);
    });
    let full = kept(&world);
    let (answer, counts) = warm(&world, request("a", "more", 1, 0).planner(), &full);
    assert_eq!(answer.unwrap().v4.addresses, [], "and so says the store");
    assert!(counts.reads > 0);
    world.del("h2");
    let (answer, _) = warm(&world, request("a", "more", 1, 0).planner(), &full);
    assert!(answer.unwrap().is_whole());
    world.check();
}

#[test]
fn that_there_are_only_some_is_not_told_by_an_old_view() {
    let world = World::with_pool("10.0.0.0/29", 30);
    let addrs: Vec<_> = (0..8).map(|n| (world.add("a", &format!("h{n}")), n)).collect();
    let one_in = |block: &str| {
        let block = block_cidr(block);
        let (_, n) = addrs.iter().find(|(addr, _)| block.ordinal(*addr).is_some()).unwrap();
        format!("h{n}")
    };
    world.del(&one_in("10.0.0.0/30"));
    let one_is_free = kept(&world);
    world.del(&one_in("10.0.0.4/30"));
    // In the old view, one address of this block is free, and the block has not changed since.
    let (answer, _) = warm(&world, request("a", "two", 2, 0).planner(), &one_is_free);
    assert!(answer.unwrap().is_whole());
    world.check();
}

/// A planner that raises the count of an existing handle.
#[derive(Clone)]
struct Raise;

impl Planner for Raise {
    type Answer = ();
    type Error = String;

    fn reads(&self) -> ReadSet {
        ReadSet::new().key(Key::Handle(handle("h")))
    }

    fn plan(&mut self, view: &View, _: Timestamp, _: u64) -> Result<Plan<()>, String> {
        let Some(known) = view.handle(&handle("h")) else { return Ok(Plan::Fetch(self.reads())) };
        let (found, revision) = known.ok_or("it is not there")?;
        let mut batch = Batch::new();
        let mut raised = found.clone();
        raised.blocks.values_mut().for_each(|count| *count += 1);
        batch.put(Key::Handle(handle("h")), Expect::Revision(revision.clone()), Value::Handle(raised));
        Ok(Plan::Commit { batch, answer: () })
    }

    fn may_begin_warm(&self) -> bool {
        true
    }

    fn may_stand_warm(&self, (): &()) -> bool {
        true
    }
}

#[test]
fn an_error_is_not_told_by_an_old_view() {
    let world = World::new();
    let put = |text: &str| world.store.put_text(Key::Handle(handle("h")), text);
    let text =
        |count: u32| format!(r#"{{"handleID":"h","block":{{"10.0.0.0/28":{count}}},"deleted":false}}"#);
    let count = || world.handle("h").unwrap().blocks[&block_cidr("10.0.0.0/28")];
    let none = kept(&world);
    assert!(warm(&world, Raise, &none).0.is_err());
    put(&text(1));
    let one = kept(&world);
    assert_eq!(warm(&world, Raise, &none).0, Ok(()));
    assert_eq!(count(), 2);
    // If the view has another count, the write meets a conflict, and another attempt follows.
    let (answer, counts) = warm(&world, Raise, &one);
    assert_eq!((answer, counts.reads, counts.commits, count()), (Ok(()), 1, 2, 3));
    put("nonsense");
    let bad = kept(&world);
    assert!(matches!(warm(&world, Raise, &bad).0, Err(RunError::Store(_))));
    put(&text(7));
    assert_eq!((warm(&world, Raise, &bad).0, count()), (Ok(()), 8));
}

#[test]
fn a_release_reads_first() {
    let world = World::with_pool("10.0.0.0/24", 28);
    let empty = kept(&world);
    world.add("a", "h");
    let planner = ReleaseByHandle::new(vec![handle("h")], None).planner();
    let (answer, counts) = warm(&world, planner, &empty);
    assert!(answer.is_ok() && counts.reads > 0);
    assert!(world.assigned().is_empty());
    world.check();
}

#[test]
fn what_a_handle_holds_is_not_told_by_an_old_view() {
    let world = World::with_pool("10.0.0.0/24", 28);
    let once = || AutoAssign { max_per_handle: Some(1), ..request("a", "vm", 1, 0) };
    let addr = world.auto(once()).v4.addresses[0].addr;
    let old = kept(&world);
    world.del("vm");
    world.add("b", "other");
    let (answer, counts) = warm(&world, once().planner(), &old);
    assert_eq!(answer.unwrap().v4.addresses.len(), 1);
    assert!(counts.reads > 0);
    assert!(
        world.assigned().values().any(|id| id == "vm"),
        "it is no longer {addr} unless it was assigned anew"
    );
    world.check();
}

/// Two pods of one host get their addresses in one batch: the second request is planned on the view that the
/// first one's batch leaves.
#[test]
fn two_requests_are_one_batch() {
    for pods in [0, 3] {
        let world = World::with_pool("10.0.0.0/24", 28);
        (0..pods).for_each(|n| {
            world.add("a", &format!("before-{n}"));
        });
        let view = kept(&world);
        let plan = |id: &str, view: &View, seed: u64| {
            let mut planner = request("a", id, 1, 0).planner();
            match planner.plan(view, world.clock.now(), seed) {
                Ok(Plan::Commit { batch, answer }) => (batch, answer.v4.addresses[0].addr),
                other => panic!("no batch but {other:?}"),
            }
        };
        let (mut batch, one) = plan("one", &view, 1);
        let (second, other) = plan("other", &view.once_applied(&batch), 2);
        let first = batch.append(second);
        let report = block_on(world.store.commit(&batch, WITHIN)).unwrap();
        assert!(report.is_applied(), "{report:?}");
        world.check();
        let assigned = world.assigned();
        assert_eq!((&*assigned[&one], &*assigned[&other], assigned.len()), ("one", "other", pods + 2));
        // A backend with transactions writes the block only once.
        let operations: usize = batch.transactions(128).iter().map(|t| t.operations.len()).sum();
        assert!(operations < batch.writes.len() && first < batch.writes.len());
        assert_eq!(kept(&world).slots(&Scope::Handles).count(), pods + 2);
    }
}

/// Random numbers from a seed.
struct Rng(Clock);

impl Rng {
    fn below(&self, bound: u64) -> u64 {
        self.0.seed() % bound
    }

    fn host(&self) -> &'static str {
        ["a", "b", "c"][self.below(3) as usize]
    }
}

/// A random change by another writer.
fn step(world: &World, rng: &Rng, number: usize) {
    match rng.below(12) {
        0..=4 => {
            let (host, v4) = (rng.host(), 1 + rng.below(3) as u32);
            let _ = world.run(request(host, &format!("other-{number}"), v4, 0).planner());
        }
        5..=8 => {
            let ids: Vec<String> = world.assigned().into_values().collect();
            if !ids.is_empty() {
                world.del(&ids[rng.below(ids.len() as u64) as usize]);
            }
        }
        9 => {
            let _ = world.run(
                ipam::ReleaseAffinities { which: Which::Owner(host(rng.host())), must_be_empty: true }
                    .planner(),
            );
        }
        10 => {
            let disabled = rng.below(2) == 0;
            world.pool_with("pool", json!({"cidr": "10.0.0.0/27", "blockSize": 29, "disabled": disabled}));
        }
        _ => world.pool("second", "10.1.0.0/28", 29),
    }
}

/// How many addresses the request got, and why it got no more.
fn told(
    answer: &Result<AutoAssigned, RunError<AutoAssignError>>,
) -> Result<(usize, Option<AutoAssignError>), String> {
    let answer = answer.as_ref().map_err(|error| error.to_string())?;
    Ok((answer.v4.addresses.len(), answer.v4.error.clone()))
}

/// Many clusters, in each of which other writers act after the view was read. The answer equals that of a
/// request that reads first, and no address is assigned twice or lost.
#[test]
fn an_old_view_gives_what_a_read_gives() {
    let (mut without_a_read, mut anew, mut short) = (0, 0, 0);
    for seed in 0..600 {
        let rng = Rng(Clock::new(seed));
        let world = World::with_pool("10.0.0.0/27", 29);
        (0..rng.below(40) as usize).for_each(|number| step(&world, &rng, number));
        let old = kept(&world);
        (100..100 + rng.below(4) as usize).for_each(|number| step(&world, &rng, number));
        let request = request(rng.host(), "mine", 1 + rng.below(4) as u32, 0);
        let cold = copy(&world).run(request.clone().planner());
        let (answer, counts) = warm(&world, request.planner(), &old);
        assert_eq!(told(&answer), told(&cold), "seed {seed}");
        world.check();
        let mut mine: Vec<_> =
            world.assigned().into_iter().filter(|(_, id)| id == "mine").map(|(addr, _)| addr).collect();
        let mut given: Vec<_> =
            answer.iter().flat_map(|answer| &answer.v4.addresses).map(|a| a.addr).collect();
        mine.sort();
        given.sort();
        assert_eq!(mine, given, "seed {seed}");
        match (counts.reads, &answer) {
            (0, _) => without_a_read += 1,
            (_, Ok(answer)) if answer.is_whole() => anew += 1,
            _ => short += 1,
        }
    }
    assert!(without_a_read > 100 && anew > 50 && short > 20, "{without_a_read}, {anew}, {short}");
}

/// The same on a store that loses replies and applies batches write by write. What the warm attempt may have
/// left is counted by later attempts, or taken back.
#[test]
fn what_a_warm_attempt_left_is_not_forgotten() {
    let (mut commits, mut answers) = (0, 0);
    for seed in 0..400 {
        let rng = Rng(Clock::new(seed));
        let world = World::with_pool("10.0.0.0/27", 29);
        (0..rng.below(20) as usize).for_each(|number| step(&world, &rng, number));
        let old = kept(&world);
        (100..100 + rng.below(3) as usize).for_each(|number| step(&world, &rng, number));
        let chances = Chances { read_fails: 30, unsent: 30, reply_lost: 300, crash: 0, watch_dropped: 0 };
        let plan = FaultPlan { seed, chances, ..FaultPlan::like_kubernetes() };
        let store = Counting::new(Faulty::new(world.store.clone(), plan));
        let planner = request(rng.host(), "mine", 1 + rng.below(3) as u32, 0).planner();
        let answer = block_on(run_warm(&store, &world.clock, planner, &old, WITHIN));
        world.check();
        let mine = world.assigned().into_iter().filter(|(_, id)| id == "mine").map(|(addr, _)| addr);
        let mine: BTreeSet<_> = mine.collect();
        if let Ok(answer) = &answer {
            let given: BTreeSet<_> = answer.v4.addresses.iter().map(|address| address.addr).collect();
            assert_eq!(mine, given, "seed {seed}");
            answers += 1;
        }
        commits += store.counts().commits;
    }
    assert!(answers > 350 && commits > 450, "{answers} answers, {commits} commits");
}

/// A clock with an observer that remembers its events.
struct Watched {
    clock: Clock,
    met: Mutex<Vec<Met>>,
}

impl Observer for Watched {
    fn note(&self, met: Met) {
        self.met.lock().unwrap().push(met);
    }
}

impl Effects for Watched {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    fn seed(&self) -> u64 {
        self.clock.seed()
    }

    async fn sleep(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    fn observer(&self) -> Option<&dyn Observer> {
        Some(self)
    }
}

impl Watched {
    /// The events since the last call, without their durations, which must be positive.
    fn take(&self) -> Vec<String> {
        let met = std::mem::take(&mut *self.met.lock().unwrap());
        let word = |met: Met| match met {
            Met::Attempt { is_warm } => format!("attempt, warm: {is_warm}"),
            Met::Fetch { took, is_answered } if took > Duration::ZERO => {
                format!("fetch, answered: {is_answered}")
            }
            Met::Commit { took, is_applied } if took > Duration::ZERO => {
                format!("commit, applied: {is_applied}")
            }
            Met::End { took, is_answered, has_left: false } if took > Duration::ZERO => {
                format!("end, answered: {is_answered}")
            }
            Met::Conflict => "conflict".to_string(),
            other => format!("{other:?}"),
        };
        met.into_iter().map(word).collect()
    }
}

#[test]
fn an_observer_is_told_what_a_request_meets() {
    let world = World::with_pool("10.0.0.0/24", 28);
    let watched = Watched { clock: world.clock.clone(), met: Mutex::default() };
    world.add("a", "first");
    let old = kept(&world);
    let cold = || block_on(run(&world.store, &watched, request("a", "cold", 1, 0).planner(), WITHIN));
    assert!(cold().unwrap().is_whole());
    let read_first = [
        "attempt, warm: false",
        "fetch, answered: true",
        "fetch, answered: true",
        "commit, applied: true",
        "end, answered: true",
    ];
    assert_eq!(watched.take(), read_first);
    let planner = request("a", "warm", 1, 0).planner();
    assert!(block_on(run_warm(&world.store, &watched, planner, &old, WITHIN)).unwrap().is_whole());
    let told = watched.take();
    assert_eq!(told[..3], ["attempt, warm: true", "commit, applied: false", "conflict"]);
    assert_eq!(told[3], "attempt, warm: false");
    assert_eq!(told.last().unwrap(), "end, answered: true");
    assert!(told.contains(&"commit, applied: true".to_string()), "{told:?}");
    // A request whose answer needs no write.
    world.pool_with("pool", json!({"cidr": "10.0.0.0/24", "blockSize": 28, "disabled": true}));
    assert!(!cold().unwrap().is_whole());
    assert_eq!(watched.take(), ["attempt, warm: false", "fetch, answered: true", "end, answered: true"]);
}
