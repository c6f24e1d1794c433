//! A store in memory: the simplest implementation of the port. Tests, simulations and what-if questions use
//! it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::{DecodeError, Key, Record, Revision};
use tokio::sync::watch as signal;

use crate::batch::{Batch, Current, Expect, Guard, Op, Outcome, Report, Write};
use crate::error::{Refusal, StoreError, WatchError};
use crate::port::{Store, Watch};
use crate::read::{Depth, ReadSet, Scope};
use crate::view::{Slot, Unreadable, View};
use crate::watch::{Event, present};

/// A store in memory. Clones share the data.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    changed: signal::Sender<i64>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<Key, Arc<Record>>,
    /// Records whose values cannot be parsed.
    damaged: BTreeMap<Key, Arc<Unreadable>>,
    revision: i64,
    /// Every change, by revision; watches read on from where they are.
    log: Vec<(i64, Event)>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore { state: Arc::default(), changed: signal::Sender::new(0) }
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> MemoryStore {
        MemoryStore::default()
    }

    /// All readable records, in the order of their keys.
    pub fn records(&self) -> Vec<Arc<Record>> {
        self.lock().records.values().cloned().collect()
    }

    /// Stores a record, whatever was stored before.
    pub fn put(&self, key: Key, value: api::Value) {
        let mut state = self.lock();
        state.store(key, Some(Arc::new(value)));
        self.changed.send_replace(state.revision);
    }

    /// Stores a text under a key, as another program could in etcd or in the embedded store.
    pub fn put_text(&self, key: Key, text: &str) {
        let mut state = self.lock();
        match api::Value::from_stored_text(&key, text) {
            Ok(value) => state.store(key, Some(Arc::new(value))),
            Err(error) => state.damage(key, error),
        };
        self.changed.send_replace(state.revision);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held cannot leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn store(&mut self, key: Key, value: Option<Arc<api::Value>>) -> Revision {
        let revision = self.next_revision();
        self.damaged.remove(&key);
        let event = match value {
            Some(value) => {
                let value = (*value).clone();
                let record = Arc::new(Record { key: key.clone(), value, revision: revision.clone() });
                self.records.insert(key, record.clone());
                Event::Apply(record)
            }
            None => {
                self.records.remove(&key);
                Event::Delete(key, revision.clone())
            }
        };
        self.log.push((self.revision, event));
        revision
    }

    /// Stores something that cannot be read under a key.
    fn damage(&mut self, key: Key, error: DecodeError) -> Revision {
        let revision = self.next_revision();
        let unreadable = Arc::new(Unreadable { error, revision: revision.clone() });
        self.records.remove(&key);
        self.damaged.insert(key.clone(), unreadable.clone());
        self.log.push((self.revision, Event::Unreadable(key, unreadable)));
        revision
    }

    fn next_revision(&mut self) -> Revision {
        self.revision += 1;
        Revision::from(self.revision)
    }

    fn read(&self, set: &ReadSet) -> View {
        let mut view = View::new();
        for read in &set.scopes {
            let after = read.page.as_ref().and_then(|page| page.after.clone());
            let limit = read.page.as_ref().map_or(usize::MAX, |page| page.limit.max(1));
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let range = (from, Bound::Unbounded);
            let records = self.records.range(range.clone()).map(|(key, _)| key);
            let mut keys: Vec<&Key> = records.chain(self.damaged.range(range).map(|(key, _)| key)).collect();
            keys.sort();
            let mut rest = keys.into_iter().filter(|key| read.scope.holds(key)).peekable();
            let mut last = None;
            for key in rest.by_ref().take(limit) {
                view.insert(key.clone(), self.slot(key, read.depth));
                last = Some(key.clone());
            }
            let is_cut = rest.peek().is_some();
            view.page_read(read, last.filter(|_| is_cut));
        }
        for (key, depth) in &set.keys {
            view.insert(key.clone(), self.slot(key, *depth));
        }
        view.set_revision(Revision::from(self.revision));
        view
    }

    fn slot(&self, key: &Key, depth: Depth) -> Slot {
        match (self.records.get(key), self.damaged.get(key)) {
            (Some(record), _) => Slot::of(record, depth),
            (None, Some(unreadable)) if depth == Depth::Key => Slot::Key(unreadable.revision.clone()),
            (None, Some(unreadable)) => Slot::Unreadable(unreadable.clone()),
            (None, None) => Slot::Absent,
        }
    }

    fn revision_of(&self, key: &Key) -> Option<&Revision> {
        let damaged = || self.damaged.get(key).map(|unreadable| &unreadable.revision);
        self.records.get(key).map(|record| &record.revision).or_else(damaged)
    }

    fn holds(&self, write: &Write, before: &[Write], left: &[Outcome]) -> bool {
        let now = self.revision_of(&write.key);
        match &write.expect {
            Expect::Absent => now.is_none(),
            Expect::Revision(revision) => now == Some(revision),
            Expect::AsLeftBy(index) => match (before.get(*index).map(|w| &w.op), left.get(*index)) {
                (Some(Op::Put(_)), Some(Outcome::Applied(revision))) => now == Some(revision),
                (Some(Op::Delete), Some(Outcome::Applied(_))) => now.is_none(),
                _ => false,
            },
        }
    }

    fn is_as_guarded(&self, guard: &Guard) -> bool {
        match guard {
            Guard::Record { key, revision } => self.revision_of(key) == revision.as_ref(),
            Guard::Scope { scope, since } => number(since).is_some_and(|since| {
                let damaged = self.damaged.iter().filter(|(key, _)| scope.holds(key));
                let damaged = damaged.map(|(_, unreadable)| &unreadable.revision);
                let mut revisions = self.scope(scope).map(|record| &record.revision).chain(damaged);
                revisions.all(|revision| number(revision) <= Some(since))
            }),
        }
    }

    fn scope(&self, scope: &Scope) -> impl Iterator<Item = &Arc<Record>> {
        self.records.values().filter(move |record| scope.holds(&record.key))
    }
}

/// The number of a revision that this store may have given.
fn number(revision: &Revision) -> Option<i64> {
    revision.as_str().parse().ok().filter(|number| *number >= 0)
}

impl Store for MemoryStore {
    type Watch = MemoryWatch;

    async fn read(&self, set: &ReadSet, _within: Duration) -> Result<View, StoreError> {
        Ok(self.lock().read(set))
    }

    async fn commit(&self, batch: &Batch, _within: Duration) -> Result<Report, StoreError> {
        let mut state = self.lock();
        let broken = batch.guards.iter().position(|guard| !state.is_as_guarded(guard));
        if broken.is_some() {
            return Ok(Report {
                outcomes: vec![Outcome::NotTried; batch.writes.len()],
                broken_guard: broken,
            });
        }
        let mut outcomes = Vec::with_capacity(batch.writes.len());
        let mut broken_guard = None;
        for (index, write) in batch.writes.iter().enumerate() {
            // Nobody else writes meanwhile; the batch itself may have written what it guards.
            let mut looks = batch.looks_before(index);
            broken_guard = looks.find(|(_, key, at)| state.revision_of(key) != *at).map(|(guard, ..)| guard);
            if broken_guard.is_some() {
                break;
            }
            if !state.holds(write, &batch.writes, &outcomes) {
                let current = match state.slot(&write.key, Depth::Full) {
                    Slot::Full(record) => Current::Record(record),
                    Slot::Absent => Current::Absent,
                    _ => Current::Unknown,
                };
                outcomes.push(Outcome::Refused(Refusal::Conflict(current)));
                break;
            }
            let value = match &write.op {
                Op::Put(value) => Some(value.clone()),
                Op::Delete => None,
            };
            outcomes.push(Outcome::Applied(state.store(write.key.clone(), value)));
        }
        outcomes.resize(batch.writes.len(), Outcome::NotTried);
        self.changed.send_replace(state.revision);
        Ok(Report { outcomes, broken_guard })
    }

    async fn watch(&self, scope: Scope) -> Result<MemoryWatch, StoreError> {
        Ok(MemoryWatch {
            store: self.clone(),
            changed: self.changed.subscribe(),
            scope,
            queue: Vec::new().into_iter(),
            seen: None,
        })
    }
}

/// A watch of a [`MemoryStore`].
#[derive(Debug)]
pub struct MemoryWatch {
    store: MemoryStore,
    changed: signal::Receiver<i64>,
    scope: Scope,
    queue: std::vec::IntoIter<Event>,
    /// The revision up to which events were queued; `None` before the first event.
    seen: Option<i64>,
}

impl MemoryWatch {
    fn gather(&mut self) -> Vec<Event> {
        let state = self.store.lock();
        let events = match self.seen {
            None => {
                let view = state.read(&ReadSet::new().scope(self.scope.clone(), Depth::Full));
                present(view, &self.scope, Revision::from(state.revision))
            }
            Some(seen) => {
                let new = state.log.partition_point(|(revision, _)| *revision <= seen);
                let events = state.log[new..].iter().map(|(_, event)| event);
                events.filter(|event| event.key().is_some_and(|key| self.scope.holds(key))).cloned().collect()
            }
        };
        self.seen = Some(state.revision);
        events
    }
}

impl Watch for MemoryWatch {
    async fn next(&mut self) -> Result<Event, WatchError> {
        loop {
            if let Some(event) = self.queue.next() {
                return Ok(event);
            }
            self.changed.mark_unchanged();
            self.queue = self.gather().into_iter();
            if self.queue.len() == 0 && self.changed.changed().await.is_err() {
                return Err(WatchError::Interrupted("the store is gone".to_string()));
            }
        }
    }
}
