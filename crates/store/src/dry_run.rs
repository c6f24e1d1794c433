//! Questions of the kind "what if": a store over another one, which keeps its writes to itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::{Key, Record, Revision, Value};

use crate::batch::{Batch, Expect, Op, Outcome, Report};
use crate::error::StoreError;
use crate::port::Store;
use crate::read::{ReadSet, Scope};
use crate::view::{Slot, View};

/// Passes reads on to another store and writes nothing to it. Its own later reads see what was written here.
///
/// A batch is always applied: what it expects, and its guards, were read a moment ago, and nobody else writes
/// here. So the answer is the one that the operation would have got if nobody had come between.
#[derive(Debug)]
pub struct DryRun<'a, S> {
    inner: &'a S,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What stands over the records of the other store: absent, or a whole record.
    over: BTreeMap<Key, Slot>,
    foreseen: Vec<Foreseen>,
    /// How many records were written here.
    written: u64,
    read_at: Option<Revision>,
}

/// What would become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It would be created.
    Created,
    /// It would be changed.
    Changed,
    /// It would be deleted.
    Deleted,
}

/// A record that would be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreseen {
    /// The record's key.
    pub key: Key,
    /// What would become of it.
    pub effect: Effect,
}

impl<'a, S> DryRun<'a, S> {
    /// A dry run over a store.
    pub fn over(inner: &'a S) -> DryRun<'a, S> {
        DryRun { inner, state: Mutex::default() }
    }

    /// What the commits would have written, each record once, in the order in which they are first written.
    pub fn foreseen(&self) -> Vec<Foreseen> {
        self.lock().foreseen.clone()
    }

    /// The other store's revision at the last read; `None` where it told none.
    pub fn read_at(&self) -> Option<Revision> {
        self.lock().read_at.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held cannot leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, key: Key, value: Option<Arc<Value>>) -> Revision {
        self.written += 1;
        // No store gives such a revision, so a record written here is never taken for one that was read.
        let revision = Revision::new(format!("dry run {}", self.written));
        let slot = match value {
            Some(value) => Slot::Full(Arc::new(Record {
                key: key.clone(),
                value: (*value).clone(),
                revision: revision.clone(),
            })),
            None => Slot::Absent,
        };
        self.over.insert(key, slot);
        revision
    }

    fn foresee(&mut self, key: &Key, op: &Op, is_new: bool) {
        let effect = match op {
            Op::Delete => Effect::Deleted,
            Op::Put(_) if is_new => Effect::Created,
            Op::Put(_) => Effect::Changed,
        };
        let Some(at) = self.foreseen.iter().position(|foreseen| foreseen.key == *key) else {
            return self.foreseen.push(Foreseen { key: key.clone(), effect });
        };
        let earlier = self.foreseen[at].effect;
        match (earlier, effect) {
            (Effect::Created, Effect::Deleted) => {
                self.foreseen.remove(at);
            }
            (Effect::Deleted, Effect::Created) => self.foreseen[at].effect = Effect::Changed,
            (Effect::Created, _) => {}
            (_, later) => self.foreseen[at].effect = later,
        }
    }
}

impl<S: Store> Store for DryRun<'_, S> {
    type Watch = S::Watch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        let mut view = self.inner.read(set, within).await?;
        let mut state = self.lock();
        state.read_at = view.revision().cloned().or(state.read_at.take());
        for (key, slot) in &state.over {
            let is_asked = set.keys.iter().any(|(asked, _)| asked == key)
                || set.scopes.iter().any(|read| read.scope.holds(key));
            if is_asked {
                view.insert(key.clone(), slot.clone());
            }
        }
        Ok(view)
    }

    async fn commit(&self, batch: &Batch, _within: Duration) -> Result<Report, StoreError> {
        let mut state = self.lock();
        let mut outcomes = Vec::with_capacity(batch.writes.len());
        for write in &batch.writes {
            let after_a_delete =
                |index: &usize| batch.writes.get(*index).is_some_and(|before| before.op == Op::Delete);
            let is_new = match &write.expect {
                Expect::Absent => true,
                Expect::Revision(_) => false,
                Expect::AsLeftBy(index) => after_a_delete(index),
            };
            state.foresee(&write.key, &write.op, is_new);
            let value = match &write.op {
                Op::Put(value) => Some(value.clone()),
                Op::Delete => None,
            };
            outcomes.push(Outcome::Applied(state.put(write.key.clone(), value)));
        }
        Ok(Report { outcomes, broken_guard: None })
    }

    async fn watch(&self, scope: Scope) -> Result<S::Watch, StoreError> {
        self.inner.watch(scope).await
    }
}
