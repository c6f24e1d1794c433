//! Commits that arrive late: given up as unknown, and applied when the request has gone on, if their expectations still hold then.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use ipam::{HandleRelease, ReleaseByHandle, ReleaseIp, ReleaseIps, run};
use store::{Batch, MemoryStore, Outcome, ReadSet, Report, Scope, Store, StoreError, View};

use crate::world::*;

/// When the first commit of a request arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrival {
    /// Right before the second.
    BeforeTheNext,
    /// When the request is done.
    AtTheEnd,
}

/// Keeps the first commit back.
struct Late {
    inner: MemoryStore,
    arrival: Arrival,
    /// So many writes of it arrive: all, or a prefix as of a store without transactions.
    writes: usize,
    is_first: Mutex<bool>,
    on_its_way: Mutex<Option<Batch>>,
}

impl Late {
    fn new(world: &World, arrival: Arrival, writes: usize) -> Late {
        let (is_first, on_its_way) = (Mutex::new(true), Mutex::default());
        Late { inner: world.store.clone(), arrival, writes, is_first, on_its_way }
    }

    async fn arrive(&self) {
        let batch = self.on_its_way.lock().unwrap().take();
        if let Some(mut batch) = batch {
            batch.writes.truncate(self.writes);
            self.inner.commit(&batch, WITHIN).await.unwrap();
        }
    }
}

impl Store for Late {
    type Watch = <MemoryStore as Store>::Watch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        self.inner.read(set, within).await
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        if std::mem::take(&mut *self.is_first.lock().unwrap()) {
            *self.on_its_way.lock().unwrap() = Some(batch.clone());
            let unknown = Outcome::Unknown("no answer (planned)".to_string());
            return Ok(Report { outcomes: vec![unknown; batch.writes.len()], broken_guard: None });
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

/// What an operation does in a cluster where `h` holds addresses of two blocks, and what it says that it released.
type Act = fn(&World, &Late) -> BTreeSet<IpAddr>;

fn acts() -> [(&'static str, Act); 3] {
    [
        ("release by handle", |world, store| {
            let release = ReleaseByHandle::new(vec![handle("h")], None);
            match block_on(run(store, &world.clock, release, WITHIN)).unwrap().remove(0) {
                HandleRelease::Released(addresses) => addresses.into_iter().collect(),
                HandleRelease::NotFound => BTreeSet::new(),
            }
        }),
        ("release of addresses", |world, store| {
            let ip = |addr| ReleaseIp { addr, handle: Some("h".to_string()), sequence: None };
            let ips = world.assigned().into_keys().map(ip).collect();
            let answer = block_on(run(store, &world.clock, ReleaseIps::new(ips), WITHIN)).unwrap();
            assert_eq!((answer.unallocated, answer.error), (Vec::new(), None));
            let released: BTreeSet<IpAddr> = answer.released.iter().copied().collect();
            assert_eq!(released.len(), answer.released.len(), "each once");
            released
        }),
        ("release of addresses of one block", |world, store| {
            let ip = |addr| ReleaseIp { addr, handle: None, sequence: None };
            let ips = world.assigned().into_keys().take(2).map(ip).collect();
            let answer = block_on(run(store, &world.clock, ReleaseIps::new(ips), WITHIN)).unwrap();
            answer.released.into_iter().collect()
        }),
    ]
}

#[test]
fn releases_say_what_they_released() {
    for (name, act) in acts() {
        for arrival in [Arrival::BeforeTheNext, Arrival::AtTheEnd] {
            for writes in 1..=4 {
                let world = World::with_pool("10.0.0.0/24", 30);
                world.auto(request("a", "h", 6, 0));
                let before: BTreeSet<IpAddr> = world.assigned().into_keys().collect();
                let store = Late::new(&world, arrival, writes);
                let released = act(&world, &store);
                block_on(store.arrive());
                let after: BTreeSet<IpAddr> = world.assigned().into_keys().collect();
                let gone: BTreeSet<IpAddr> = before.difference(&after).copied().collect();
                assert_eq!(released, gone, "{name}, {writes} writes arrive {arrival:?}");
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
                for writes in 1..=9 {
                    let world = World::with_pool("10.0.0.0/24", 30);
                    world.pool("six", "fd00::/120", 126);
                    if is_warm {
                        world.auto(request("a", "warm", 1, 1));
                    }
                    let store = Late::new(&world, arrival, writes);
                    let wanted = request("a", "h", v4, v6).planner();
                    let answer = block_on(run(&store, &world.clock, wanted, WITHIN)).unwrap();
                    block_on(store.arrive());
                    let got = answer.v4.addresses.iter().chain(&answer.v6.addresses);
                    let got: BTreeSet<IpAddr> = got.map(|address| address.addr).collect();
                    let held = world.assigned().into_iter().filter(|(_, id)| id == "h");
                    let held: BTreeSet<IpAddr> = held.map(|(addr, _)| addr).collect();
                    assert_eq!(got, held, "{writes} writes arrive {arrival:?}");
                    assert_eq!(got.len(), (v4 + v6) as usize);
                    world.check();
                }
            }
        }
    }
}
