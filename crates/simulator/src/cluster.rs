//! What is stored, as Kubernetes keeps it: objects, some of them flagged for deletion. A flagged object is no
//! record, and yet no other object can have its name.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::{Key, Record, Revision, Value};
use store::{Depth, Event, Expect, Guard, ReadSet, Scope, ScopeRead, Slot, View};

/// What is stored. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Cluster(Arc<Mutex<State>>);

#[derive(Clone, Debug, Default)]
struct State {
    records: BTreeMap<Key, Arc<Record>>,
    /// The objects that are flagged for deletion, each with its revision.
    flagged: BTreeMap<Key, Revision>,
    revision: i64,
    /// Every change of records, by revision.
    log: Vec<(i64, Event)>,
}

/// One write, as a server is asked for it.
#[derive(Clone, Debug)]
pub enum Call {
    /// Makes an object.
    Create(Key, Arc<Value>),
    /// Replaces the value at that revision.
    Update(Key, Revision, Arc<Value>),
    /// Removes the record at that revision, and its object.
    Remove(Key, Revision),
    /// Flags the object of the record at that revision for deletion: the record is gone, the object not yet.
    Flag(Key, Revision),
    /// Removes the flagged object at that revision.
    Bury(Key, Revision),
}

/// What a server answers to a [`Call`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Done; the revision that the change has.
    Done(Revision),
    /// The object is not at that revision, or it exists already.
    Conflict,
}

impl Call {
    /// The object's name.
    pub fn key(&self) -> &Key {
        match self {
            Call::Create(key, _)
            | Call::Update(key, ..)
            | Call::Remove(key, _)
            | Call::Flag(key, _)
            | Call::Bury(key, _) => key,
        }
    }

    /// What becomes of the record; `None` where the call does not concern it.
    pub fn effect(&self) -> Option<Option<Arc<Value>>> {
        match self {
            Call::Create(_, value) | Call::Update(_, _, value) => Some(Some(value.clone())),
            Call::Remove(..) | Call::Flag(..) => Some(None),
            Call::Bury(..) => None,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Value| value.to_stored_text().chars().take(400).collect::<String>();
        match self {
            Call::Create(key, value) => write!(f, "create {key} {}", shown(value)),
            Call::Update(key, at, value) => write!(f, "update {key} at {} {}", at.as_str(), shown(value)),
            Call::Remove(key, at) => write!(f, "delete {key} at {}", at.as_str()),
            Call::Flag(key, at) => write!(f, "flag {key} at {}", at.as_str()),
            Call::Bury(key, at) => write!(f, "remove the flagged {key} at {}", at.as_str()),
        }
    }
}

impl Cluster {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is stored now, as something of its own.
    pub fn copy(&self) -> Cluster {
        Cluster(Arc::new(Mutex::new(self.lock().clone())))
    }

    /// All records.
    pub fn records(&self) -> Vec<Arc<Record>> {
        self.lock().records.values().cloned().collect()
    }

    /// The objects that are flagged for deletion, each with its revision.
    pub fn flagged(&self) -> BTreeMap<Key, Revision> {
        self.lock().flagged.clone()
    }

    /// A record.
    pub fn get(&self, key: &Key) -> Option<Arc<Record>> {
        self.lock().records.get(key).cloned()
    }

    /// Whether the object of that name is flagged, and its revision.
    pub fn flagged_at(&self, key: &Key) -> Option<Revision> {
        self.lock().flagged.get(key).cloned()
    }

    /// The number of changes so far.
    pub fn revision(&self) -> i64 {
        self.lock().revision
    }

    /// Stores a record, whatever was stored before.
    pub fn put(&self, key: Key, value: Value) {
        let mut state = self.lock();
        state.flagged.remove(&key);
        state.change(&key, Some(Arc::new(value)));
    }

    /// Removes a record, whatever it is.
    pub fn remove(&self, key: &Key) {
        let mut state = self.lock();
        if state.records.contains_key(key) {
            state.change(key, None);
        }
    }

    /// Carries out one write.
    pub fn call(&self, call: &Call) -> Said {
        self.lock().call(call)
    }

    /// Carries out all of these writes, or none.
    pub fn all_or_none(&self, calls: &[Call], guards: &[Guard]) -> Option<Vec<Revision>> {
        let mut state = self.lock();
        let holds =
            guards.iter().all(|guard| state.is_as_guarded(guard)) && calls.iter().all(|c| state.may(c));
        holds.then(|| {
            let done = calls.iter().map(|call| match state.call(call) {
                Said::Done(revision) => revision,
                Said::Conflict => Revision::from(0),
            });
            done.collect()
        })
    }

    /// The first guard that does not hold.
    pub fn broken(&self, guards: &[Guard]) -> Option<usize> {
        let state = self.lock();
        guards.iter().position(|guard| !state.is_as_guarded(guard))
    }

    /// Whether a record is as a write expects it. (What an earlier write left must have been resolved.)
    pub fn is_as_expected(&self, key: &Key, expect: &Expect) -> bool {
        let state = self.lock();
        match expect {
            Expect::Absent => !state.records.contains_key(key),
            Expect::Revision(revision) => state.is_at(key, revision),
            Expect::AsLeftBy(_) => false,
        }
    }

    /// Reads a whole set at one moment.
    pub fn read(&self, set: &ReadSet) -> View {
        let mut view = View::new();
        view.set_revision(Revision::from(self.revision()));
        for read in &set.scopes {
            let (found, is_cut) = self.list(read);
            let last = found.last().map(|(key, _)| key.clone());
            found.into_iter().for_each(|(key, slot)| view.insert(key, slot));
            view.page_read(read, last.filter(|_| is_cut));
        }
        for (key, depth) in &set.keys {
            view.insert(key.clone(), self.slot(key, *depth));
        }
        view
    }

    /// A page of a scope, and whether more follows.
    pub fn list(&self, read: &ScopeRead) -> (Vec<(Key, Slot)>, bool) {
        let state = self.lock();
        let after = read.page.as_ref().and_then(|page| page.after.clone());
        let limit = read.page.as_ref().map_or(usize::MAX, |page| page.limit.max(1));
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let all = state.records.range(range).filter(|(key, _)| read.scope.holds(key));
        let mut all = all.peekable();
        let found = all.by_ref().take(limit).map(|(key, record)| (key.clone(), Slot::of(record, read.depth)));
        let found = found.collect();
        (found, all.peek().is_some())
    }

    /// What is known of a record after a read of it.
    pub fn slot(&self, key: &Key, depth: Depth) -> Slot {
        self.lock().records.get(key).map_or(Slot::Absent, |record| Slot::of(record, depth))
    }

    /// What has changed in a scope after that many changes, and how many there are now.
    pub fn changes(&self, scope: &Scope, after: i64) -> Vec<(i64, Event)> {
        let state = self.lock();
        let from = state.log.partition_point(|(at, _)| *at <= after);
        let of_scope = |event: &Event| event.key().is_some_and(|key| scope.holds(key));
        state.log[from..].iter().filter(|(_, event)| of_scope(event)).cloned().collect()
    }
}

impl State {
    fn change(&mut self, key: &Key, value: Option<Arc<Value>>) -> Revision {
        self.revision += 1;
        let revision = Revision::from(self.revision);
        let event = match value {
            Some(value) => {
                let value = (*value).clone();
                let record = Arc::new(Record { key: key.clone(), value, revision: revision.clone() });
                self.records.insert(key.clone(), record.clone());
                Event::Apply(record)
            }
            None => {
                self.records.remove(key);
                Event::Delete(key.clone(), revision.clone())
            }
        };
        self.log.push((self.revision, event));
        revision
    }

    fn is_at(&self, key: &Key, revision: &Revision) -> bool {
        self.records.get(key).is_some_and(|record| record.revision == *revision)
    }

    fn may(&self, call: &Call) -> bool {
        match call {
            Call::Create(key, _) => !self.records.contains_key(key) && !self.flagged.contains_key(key),
            Call::Update(key, revision, _) | Call::Remove(key, revision) | Call::Flag(key, revision) => {
                self.is_at(key, revision)
            }
            Call::Bury(key, revision) => self.flagged.get(key) == Some(revision),
        }
    }

    fn call(&mut self, call: &Call) -> Said {
        if !self.may(call) {
            return Said::Conflict;
        }
        Said::Done(match call {
            Call::Create(key, value) | Call::Update(key, _, value) => self.change(key, Some(value.clone())),
            Call::Remove(key, _) => self.change(key, None),
            Call::Flag(key, _) => {
                let revision = self.change(key, None);
                self.flagged.insert(key.clone(), revision.clone());
                revision
            }
            Call::Bury(key, revision) => {
                self.flagged.remove(key);
                revision.clone()
            }
        })
    }

    fn is_as_guarded(&self, guard: &Guard) -> bool {
        match guard {
            Guard::Record { key, revision } => {
                self.records.get(key).map(|record| &record.revision) == revision.as_ref()
            }
            Guard::Scope { scope, since } => {
                let since: Option<i64> = since.as_str().parse().ok();
                let of_scope = self.records.values().filter(|record| scope.holds(&record.key));
                let mut revisions = of_scope.map(|record| record.revision.as_str().parse::<i64>().ok());
                revisions.all(|revision| revision <= since)
            }
        }
    }
}
