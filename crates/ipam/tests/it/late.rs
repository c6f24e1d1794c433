//! Commits that arrive late: their request gave them up as unknown and went on, and they are applied if their
//! expectations still hold.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use ipam::{HandleRelease, ReleaseByHandle, ReleaseIp, ReleaseIps, run};
use store::{Batch, Expect, MemoryStore, Outcome, ReadSet, Report, Scope, Store, StoreError, View};

use crate::world::*;

/// When the first commit of a request arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// Right before the second commit.
    BeforeTheNext,
    /// After the request has ended.
    AtTheEnd,
}

/// A store that delays a caller's first commit.
struct Late {
    inner: MemoryStore,
    arrival: Arrival,
    /// How many writes of the commit are applied and answered at once, as in a store without transactions.
    answered: usize,
    /// How many of the following writes are delayed. The writes after these are never sent.
    writes: usize,
    is_first: Mutex<bool>,
    /// What other callers do after the first commit was given up.
    meanwhile: fn(&World),
    world: World,
    on_its_way: Mutex<Option<Batch>>,
}

impl Late {
    fn new(world: &World, arrival: Arrival, writes: usize) -> Late {
        let (is_first, on_its_way) = (Mutex::new(true), Mutex::default());
        let (inner, world, meanwhile) = (world.store.clone(), world.clone(), |_: &World| {});
        Late { inner, arrival, answered: 0, writes, is_first, meanwhile, world, on_its_way }
    }

    async fn arrive(&self) {
        let batch = self.on_its_way.lock().unwrap().take();
        if let Some(batch) = batch {
            self.inner.commit(&batch, WITHIN).await.unwrap();
        }
    }

    /// Applies the writes that are answered, and keeps the delayed ones.
    async fn split(&self, batch: &Batch) -> Report {
        let answered = self.answered.min(batch.writes.len());
        let end = (answered + self.writes).min(batch.writes.len());
        let now = Batch { writes: batch.writes[..answered].to_vec(), ..Batch::default() };
        let mut report = self.inner.commit(&now, WITHIN).await.unwrap();
        assert!(report.is_applied());
        let mut late = batch.writes[answered..end].to_vec();
        for write in &mut late {
            write.expect = match write.expect.clone() {
                Expect::AsLeftBy(index) if index >= answered => Expect::AsLeftBy(index - answered),
                Expect::AsLeftBy(index) => match &report.outcomes[index] {
                    Outcome::Applied(revision) => Expect::Revision(revision.clone()),
                    other => panic!("{other:?}"),
                },
                other => other,
            };
        }
        // Guards are checked with the first write, and no invariant depends on them.
        *self.on_its_way.lock().unwrap() = Some(Batch { writes: late, ..Batch::default() });
        report.outcomes.resize(end, Outcome::Unknown("no answer (planned)".to_string()));
        report.outcomes.resize(batch.writes.len(), Outcome::NotTried);
        report
    }
}

impl Store for Late {
    type Watch = <MemoryStore as Store>::Watch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        self.inner.read(set, within).await
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        if std::mem::take(&mut *self.is_first.lock().unwrap()) {
            let report = self.split(batch).await;
            (self.meanwhile)(&self.world);
            return Ok(report);
        }
        if self.arrival == Arrival::BeforeTheNext {
            self.arrive().await;
        }
        self.inner.commit(batch, within).await
    }

    async fn watch(&self, scope: Scope) -> Result<Self::Watch, StoreError> {
        self.inner.watch(scope).await
    }
}

/// All pairs of a number of answered writes and a number of delayed ones.
fn splits(most: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..most).flat_map(move |answered| (1..=most - answered).map(move |writes| (answered, writes)))
}

/// An operation in a cluster where `h` holds addresses of two blocks. Gives the addresses that the operation
/// says it released.
type Act = fn(&World, &Late) -> BTreeSet<IpAddr>;

fn acts() -> [(&'static str, Act); 3] {
    [
        ("release by handle", |world, store| {
            let release = ReleaseByHandle::new(vec![handle("h")], None).planner();
            match block_on(run(store, &world.clock, release, WITHIN)).unwrap().remove(0) {
                HandleRelease::Released(addresses) => addresses.into_iter().collect(),
                HandleRelease::NotFound | HandleRelease::Anothers(_) => BTreeSet::new(),
                HandleRelease::Partly(_, why) => panic!("{why}"),
            }
        }),
        ("release of addresses", |world, store| {
            let ip = |addr| ReleaseIp { addr, handle: Some("h".to_string()), sequence: None };
            let ips = world.assigned().into_keys().map(ip).collect();
            let answer = block_on(run(store, &world.clock, ReleaseIps::new(ips).planner(), WITHIN)).unwrap();
            assert_eq!((answer.unallocated, answer.error), (Vec::new(), None));
            let released: BTreeSet<IpAddr> = answer.released.iter().copied().collect();
            assert_eq!(released.len(), answer.released.len(), "each once");
            released
        }),
        ("release of addresses of one block", |world, store| {
            let ip = |addr| ReleaseIp { addr, handle: None, sequence: None };
            let ips = world.assigned().into_keys().take(2).map(ip).collect();
            let answer = block_on(run(store, &world.clock, ReleaseIps::new(ips).planner(), WITHIN)).unwrap();
            answer.released.into_iter().collect()
        }),
    ]
}

#[test]
fn releases_say_what_they_released() {
    for (name, act) in acts() {
        for arrival in [Arrival::BeforeTheNext, Arrival::AtTheEnd] {
            for (answered, writes) in splits(4) {
                let world = World::with_pool("10.0.0.0/24", 30);
                world.auto(request("a", "h", 6, 0));
                let before: BTreeSet<IpAddr> = world.assigned().into_keys().collect();
                let store = Late { answered, ..Late::new(&world, arrival, writes) };
                let released = act(&world, &store);
                block_on(store.arrive());
                let after: BTreeSet<IpAddr> = world.assigned().into_keys().collect();
                let gone: BTreeSet<IpAddr> = before.difference(&after).copied().collect();
                assert_eq!(released, gone, "{name}, {writes} writes after {answered} arrive {arrival:?}");
                world.check();
            }
        }
    }
}

#[test]
fn nothing_is_assigned_twice() {
    for (v4, v6) in [(1, 0), (6, 0), (1, 1)] {
        for is_warm in [false, true] {
            for arrival in [Arrival::BeforeTheNext, Arrival::AtTheEnd] {
                for (answered, writes) in splits(9) {
                    let world = World::with_pool("10.0.0.0/24", 30);
                    world.pool("six", "fd00::/120", 126);
                    if is_warm {
                        world.auto(request("a", "warm", 1, 1));
                    }
                    let store = Late { answered, ..Late::new(&world, arrival, writes) };
                    let wanted = request("a", "h", v4, v6).planner();
                    let answer = block_on(run(&store, &world.clock, wanted, WITHIN)).unwrap();
                    block_on(store.arrive());
                    let got = answer.v4.addresses.iter().chain(&answer.v6.addresses);
                    let got: BTreeSet<IpAddr> = got.map(|address| address.addr).collect();
                    let held = world.assigned().into_iter().filter(|(_, id)| id == "h");
                    let held: BTreeSet<IpAddr> = held.map(|(addr, _)| addr).collect();
                    assert_eq!(got, held, "{writes} writes after {answered} arrive {arrival:?}");
                    assert_eq!(got.len(), (v4 + v6) as usize);
                    world.check();
                }
            }
        }
    }
}

/// The request goes on in another pool, and writes nothing that breaks the late commit's expectations. So it
/// must fence that commit.
#[test]
fn what_is_late_for_a_block_that_is_not_used_any_more_stays_out() {
    for (answered, writes) in splits(2) {
        let world = World::with_pool("10.0.0.0/24", 30);
        world.auto(request("a", "warm", 1, 0));
        let meanwhile = |world: &World| {
            let spec = serde_json::json!({"cidr": "10.0.0.0/24", "blockSize": 30, "disabled": true});
            world.pool_with("pool", spec);
            world.pool("other", "10.1.0.0/24", 30);
        };
        let store = Late { meanwhile, answered, ..Late::new(&world, Arrival::AtTheEnd, writes) };
        let answer = block_on(run(&store, &world.clock, request("a", "h", 1, 0).planner(), WITHIN)).unwrap();
        block_on(store.arrive());
        let got: Vec<IpAddr> = answer.v4.addresses.iter().map(|address| address.addr).collect();
        assert!(got.len() == 1 && cidr("10.1.0.0/24").contains(got[0]), "{got:?}");
        let held: Vec<IpAddr> =
            world.assigned().into_iter().filter(|(_, id)| id == "h").map(|(addr, _)| addr).collect();
        assert_eq!(got, held, "{writes} writes after {answered} arrive late");
        world.check();
    }
}
