//! Watches: the order of events, folding, and new beginnings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::{AffinityState, Family, IpamConfig, Key, Kind, Record, Value};

use super::Backend;
use super::fixture::*;
use crate::port::{Store, Watch};
use crate::read::Scope;
use crate::watch::Event;

/// What a client that follows a watch knows.
#[derive(Default)]
struct Replica {
    records: BTreeMap<Key, Arc<Record>>,
    /// The records named since `Init`, until `InitDone`.
    new: Option<BTreeMap<Key, Arc<Record>>>,
    /// The records that events reported as unreadable.
    unreadable: Vec<Key>,
    inits: usize,
    events: usize,
}

impl Replica {
    fn follow(&mut self, event: Event) {
        self.events += 1;
        match event {
            Event::Init => {
                assert!(self.new.is_none(), "Init within Init");
                self.new = Some(BTreeMap::new());
            }
            Event::InitApply(record) => {
                let new = self.new.as_mut().expect("InitApply follows Init");
                assert!(new.insert(record.key.clone(), record).is_none(), "told twice");
            }
            Event::InitDone(_) => {
                self.records = self.new.take().expect("InitDone follows Init");
                self.inits += 1;
            }
            Event::Apply(record) => {
                assert!(self.inits > 0 && self.new.is_none(), "Apply follows InitDone");
                self.records.insert(record.key.clone(), record);
            }
            Event::Delete(key, _) => {
                assert!(self.inits > 0 && self.new.is_none(), "Delete follows InitDone");
                self.records.remove(&key);
            }
            Event::Unreadable(key, _) => {
                assert!(self.inits > 0 || self.new.is_some(), "Unreadable follows Init");
                self.records.remove(&key);
                self.unreadable.push(key);
            }
            Event::Stray(_) | Event::StrayGone(_) => {}
        }
    }

    /// Follows a watch until a condition holds.
    async fn until(&mut self, watch: &mut impl Watch, done: impl Fn(&Replica) -> bool) {
        let followed = async {
            while !done(self) {
                let event = watch.next().await.unwrap();
                self.follow(event);
            }
        };
        let in_time = tokio::time::timeout(WITHIN, followed).await;
        assert!(in_time.is_ok(), "the event did not come; known: {:?}", self.records.keys());
    }

    fn value(&self, key: &Key) -> Option<&Value> {
        self.records.get(key).map(|record| &record.value)
    }
}

async fn start_watch<S: Store>(store: &S, scope: Scope) -> (S::Watch, Replica) {
    let mut watch = store.watch(scope).await.unwrap();
    let mut replica = Replica::default();
    replica.until(&mut watch, |replica| replica.inits == 1).await;
    (watch, replica)
}

/// A watch begins with `Init`, one event for every record, and `InitDone`.
pub async fn a_watch_begins_with_the_present_state<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    create(&store, &handle("a"), counted(1)).await;
    let revision = create(&store, &handle("b"), counted(2)).await;
    create(&store, &handle("gone"), counted(3)).await;
    delete(&store, &handle("gone")).await;
    let (_, replica) = start_watch(&store, Scope::Handles).await;
    assert_eq!(replica.events, 4);
    assert_eq!(replica.records.keys().cloned().collect::<Vec<_>>(), [handle("a"), handle("b")]);
    assert_eq!(replica.records[&handle("b")].revision, revision);
}

/// A watch of an empty scope begins with `Init` and `InitDone`.
pub async fn a_watch_of_nothing_is_done_at_once<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let (mut watch, mut replica) = start_watch(&store, Scope::Handles).await;
    assert_eq!(replica.events, 2);
    create(&store, &handle("a"), counted(1)).await;
    replica.until(&mut watch, |replica| replica.records.len() == 1).await;
    assert_eq!(replica.inits, 1);
}

/// Creates, updates and deletes each give an event, in their order.
pub async fn a_watch_tells_changes_and_deletes<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    create(&store, &handle("old"), counted(1)).await;
    let (mut watch, mut replica) = start_watch(&store, Scope::Handles).await;
    let revision = create(&store, &handle("a"), counted(1)).await;
    replica.until(&mut watch, |replica| replica.value(&handle("a")).is_some()).await;
    assert_eq!(replica.records[&handle("a")].revision, revision);
    let revision = set(&store, &handle("a"), counted(2)).await;
    replica.until(&mut watch, |replica| replica.value(&handle("a")) == Some(&counted(2))).await;
    assert_eq!(replica.records[&handle("a")].revision, revision);
    delete(&store, &handle("a")).await;
    replica.until(&mut watch, |replica| replica.value(&handle("a")).is_none()).await;
    create(&store, &handle("a"), counted(3)).await;
    replica.until(&mut watch, |replica| replica.value(&handle("a")) == Some(&counted(3))).await;
    delete(&store, &handle("old")).await;
    replica.until(&mut watch, |replica| replica.value(&handle("old")).is_none()).await;
    assert_eq!(replica.inits, 1);
}

/// A short watch tells the same of everything that no kubelet reports.
pub async fn a_short_watch_is_a_watch<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let (one, other, pool) = ("10.0.0.0/26", "10.0.0.64/26", Key::global(Kind::IPPool, "p"));
    create(&store, &block(one), block_value(one, &host("node1"), 1)).await;
    create(&store, &pool, resource(&pool)).await;
    for (scope, key) in [(Scope::Blocks { family: None }, block(one)), (Scope::kind(Kind::IPPool), pool)] {
        let mut watch = store.watch_short(scope.clone()).await.unwrap();
        let mut replica = Replica::default();
        replica.until(&mut watch, |replica| replica.inits == 1).await;
        let stored = find(&store, &key).await.unwrap();
        assert_eq!(replica.records[&key], stored);
    }
    let mut watch = store.watch_short(Scope::Blocks { family: None }).await.unwrap();
    let mut replica = Replica::default();
    create(&store, &block(other), block_value(other, &host("node1"), 1)).await;
    replica.until(&mut watch, |replica| replica.value(&block(other)).is_some()).await;
    delete(&store, &block(other)).await;
    replica.until(&mut watch, |replica| replica.value(&block(other)).is_none()).await;
    assert_eq!(replica.records.len(), 1);
    let scope = Scope::Affinities { owner: None, family: None };
    let (claim, confirmed) = (affinity(&host("node1"), one), in_state(AffinityState::Confirmed));
    let mut watch = store.watch_short(scope).await.unwrap();
    let mut replica = Replica::default();
    replica.until(&mut watch, |replica| replica.inits == 1).await;
    create(&store, &claim, in_state(AffinityState::Pending)).await;
    set(&store, &claim, confirmed.clone()).await;
    replica.until(&mut watch, |replica| replica.value(&claim) == Some(&confirmed)).await;
    set(&store, &claim, in_state(AffinityState::PendingDeletion)).await;
    let is_let_go =
        |replica: &Replica| replica.value(&claim) == Some(&in_state(AffinityState::PendingDeletion));
    replica.until(&mut watch, is_let_go).await;
    delete(&store, &claim).await;
    replica.until(&mut watch, |replica| replica.records.is_empty()).await;
    assert_eq!(replica.inits, 1);
}

/// A watch of one block reports that block alone, there or not.
pub async fn a_watch_keeps_to_one_block<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let (one, other) = ("10.0.0.0/26", "10.0.0.64/26");
    create(&store, &block(other), block_value(other, &host("node1"), 1)).await;
    let (mut watch, mut replica) = start_watch(&store, Scope::Block(cidr(one))).await;
    assert_eq!(replica.events, 2);
    set(&store, &block(other), block_value(other, &host("node1"), 2)).await;
    create(&store, &block(one), block_value(one, &host("node1"), 1)).await;
    replica.until(&mut watch, |replica| replica.records.len() == 1).await;
    delete(&store, &block(other)).await;
    let revision = set(&store, &block(one), block_value(one, &host("node1"), 2)).await;
    replica.until(&mut watch, |replica| replica.records[&block(one)].revision == revision).await;
    delete(&store, &block(one)).await;
    replica.until(&mut watch, |replica| replica.records.is_empty()).await;
    assert_eq!((replica.events, replica.inits), (5, 1));
    create(&store, &block(one), block_value(one, &host("node1"), 3)).await;
    let (_, replica) = start_watch(&store, Scope::Block(cidr(one))).await;
    assert_eq!(replica.records.keys().cloned().collect::<Vec<_>>(), [block(one)]);
}

/// A watch tells of the allocator's configuration, there or not.
pub async fn the_configuration_can_be_watched<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let config = |strict_affinity| {
        let config = IpamConfig { strict_affinity, auto_allocate_blocks: true, ..IpamConfig::default() };
        Value::IpamConfig(config)
    };
    let (mut watch, mut replica) = start_watch(&store, Scope::IpamConfig).await;
    assert_eq!(replica.events, 2);
    for strict in [false, true] {
        set(&store, &Key::IpamConfig, config(strict)).await;
        replica.until(&mut watch, |replica| replica.value(&Key::IpamConfig) == Some(&config(strict))).await;
    }
    delete(&store, &Key::IpamConfig).await;
    replica.until(&mut watch, |replica| replica.records.is_empty()).await;
    set(&store, &Key::IpamConfig, config(true)).await;
    let (_, replica) = start_watch(&store, Scope::IpamConfig).await;
    assert_eq!(replica.value(&Key::IpamConfig), Some(&config(true)));
}

/// A watch reports no record outside its scope.
pub async fn a_watch_keeps_to_its_scope<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let (mut watch, mut replica) = start_watch(&store, Scope::Blocks { family: Some(Family::V6) }).await;
    create(&store, &handle("a"), counted(1)).await;
    let (v4, v6) = ("10.0.0.0/26", "fd00::/122");
    create(&store, &block(v4), block_value(v4, &host("node1"), 1)).await;
    delete(&store, &block(v4)).await;
    create(&store, &block(v6), block_value(v6, &host("node1"), 1)).await;
    replica.until(&mut watch, |replica| !replica.records.is_empty()).await;
    assert_eq!(replica.records.keys().cloned().collect::<Vec<_>>(), [block(v6)]);
    assert_eq!(replica.events, 3);
}

/// Changes may be folded, but the last state always comes, and never an older state after a newer one.
pub async fn a_watch_ends_at_the_last_state<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let (mut watch, mut replica) = start_watch(&store, Scope::Handles).await;
    for count in 1..=40 {
        set(&store, &handle("a"), counted(count)).await;
        if count % 10 == 0 {
            delete(&store, &handle("a")).await;
        }
        set(&store, &handle("b"), counted(count)).await;
    }
    create(&store, &handle("end"), counted(1)).await;
    let mut highest = 0;
    while replica.value(&handle("end")).is_none() {
        let event = tokio::time::timeout(WITHIN, watch.next()).await.unwrap().unwrap();
        if let Event::Apply(record) = &event
            && record.key == handle("b")
        {
            let count = record.handle().unwrap().blocks[&cidr("10.0.0.0/26")];
            assert!(count > highest, "{count} after {highest}");
            highest = count;
        }
        replica.follow(event);
    }
    // The order holds for each key, so events of other keys may come after the last event of `a`.
    replica.until(&mut watch, |r| r.value(&handle("b")) == Some(&counted(40))).await;
    replica.until(&mut watch, |r| r.value(&handle("a")).is_none()).await;
}

/// A call that gives up waiting, again and again while records change, loses no event.
pub async fn a_dropped_wait_loses_no_event<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let (mut watch, mut replica) = start_watch(&store, Scope::Handles).await;
    for index in 0..30 {
        create(&store, &handle(&format!("h{index}")), counted(index)).await;
        let wait = Duration::from_micros(u64::from(index) * 100);
        if let Ok(event) = tokio::time::timeout(wait, watch.next()).await {
            replica.follow(event.unwrap());
        }
    }
    replica.until(&mut watch, |replica| replica.records.len() == 30).await;
    assert_eq!(replica.inits, 1);
}

/// A second watch begins with the present state, not with what the first one saw.
pub async fn a_second_watch_starts_from_the_present<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    create(&store, &handle("a"), counted(1)).await;
    create(&store, &handle("b"), counted(1)).await;
    let (watch, _) = start_watch(&store, Scope::Handles).await;
    drop(watch);
    delete(&store, &handle("a")).await;
    set(&store, &handle("b"), counted(2)).await;
    let (_watch, replica) = start_watch(&store, Scope::Handles).await;
    assert_eq!(replica.events, 3);
    assert_eq!(replica.value(&handle("b")), Some(&counted(2)));
}

/// Values that cannot be parsed are reported as such, and do not stop the watch.
pub async fn a_watch_tells_bad_values<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    create(&store, &handle("a"), counted(1)).await;
    if !backend.put_text(&store, &handle("bad").etcd_path(), "nonsense").await {
        return;
    }
    let (mut watch, mut replica) = start_watch(&store, Scope::Handles).await;
    assert_eq!((replica.records.len(), &replica.unreadable[..]), (1, &[handle("bad")][..]));
    create(&store, &handle("b"), counted(1)).await;
    replica.until(&mut watch, |replica| replica.records.len() == 2).await;
    assert!(replica.value(&handle("bad")).is_none());
    assert!(backend.put_text(&store, &handle("worse").etcd_path(), "nonsense").await);
    replica.until(&mut watch, |replica| replica.unreadable.len() == 2).await;
    assert_eq!(replica.unreadable[1], handle("worse"));
}
