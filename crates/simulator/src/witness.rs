//! Sees all that happens to a cluster, and tells what does not hold.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::{Key, Record, Timestamp, Value};
use ipam::invariants::{Answer, Event, History, Request, RequestId, Violation};
use ipam::{RunError, run};
use store::{Effects, Store};

use crate::WITHIN;
use crate::asks::{AnswerOf, Asks, ErrorOf};

/// A history that callers feed, with what it told so far. Clones share it.
#[derive(Clone, Debug)]
pub struct Witness(Arc<Mutex<Seen>>);

#[derive(Clone, Debug)]
struct Seen {
    history: History,
    told: Vec<Violation>,
    requests: RequestId,
    /// What was stored when it caught up last, and what was written since.
    keys: BTreeSet<Key>,
}

impl Witness {
    /// Of what is stored now. From now on it must be told of all writes.
    pub fn of(records: &[Arc<Record>]) -> Witness {
        let (history, keys) =
            (History::of(records), records.iter().map(|record| record.key.clone()).collect());
        Witness(Arc::new(Mutex::new(Seen { history, told: Vec::new(), requests: 0, keys })))
    }

    /// The same of a store that honours guards.
    pub fn with_guards(self) -> Witness {
        let seen = self.lock().clone();
        Witness(Arc::new(Mutex::new(Seen { history: seen.history.with_guards(), ..seen })))
    }

    /// A second witness that has seen the same until now. It is for a copy of the cluster, in which other
    /// things happen from now on.
    pub fn fork(&self) -> Witness {
        Witness(Arc::new(Mutex::new(self.lock().clone())))
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn feed(&self, event: Event) {
        let Seen { history, told, keys, .. } = &mut *self.lock();
        if let Event::Wrote { key, .. } = &event {
            keys.insert(key.clone());
        }
        history.feed(event, &mut |violation| told.push(violation));
    }

    /// A request begins.
    pub fn asked(&self, request: Request, now: Timestamp) -> RequestId {
        let by = {
            let mut seen = self.lock();
            seen.requests += 1;
            seen.requests
        };
        self.feed(Event::Asked { by, request, now });
        by
    }

    /// A request ends.
    pub fn answered(&self, by: RequestId, answer: Answer) {
        self.feed(Event::Answered { by, answer });
    }

    /// A write arrived at the store, of a request or of whoever is no request. `value` is what is stored now.
    pub fn wrote(&self, by: Option<RequestId>, key: &Key, value: Option<Arc<Value>>) {
        self.feed(Event::Wrote { by, key: key.clone(), value });
    }

    /// A request was told that its write had been applied.
    pub fn acknowledged(&self, key: &Key, value: Option<Arc<Value>>) {
        self.feed(Event::Acknowledged { key: key.clone(), value });
    }

    /// Panics when something did not hold so far.
    pub fn check(&self, what: &str) {
        let texts: Vec<String> = self.told().iter().map(|violation| violation.to_string()).collect();
        assert!(texts.is_empty(), "{what} {texts:#?}");
    }

    /// Somebody who is no request has changed the store: sees all that is different.
    pub fn catch_up(&self, records: &[Arc<Record>]) {
        let gone: Vec<Key> = {
            let mut seen = self.lock();
            let known = std::mem::take(&mut seen.keys);
            seen.keys = records.iter().map(|record| record.key.clone()).collect();
            known.difference(&seen.keys).cloned().collect()
        };
        gone.into_iter().for_each(|key| self.feed(Event::Wrote { by: None, key, value: None }));
        for record in records {
            let value = Some(Arc::new(record.value.clone()));
            self.feed(Event::Wrote { by: None, key: record.key.clone(), value });
        }
    }

    /// What did not hold so far.
    pub fn told(&self) -> Vec<Violation> {
        self.lock().told.clone()
    }

    /// The first of what did not hold, apart from what is allowed.
    pub fn first_but(&self, is_allowed: impl Fn(&Violation) -> bool) -> Option<String> {
        self.lock().told.iter().find(|violation| !is_allowed(violation)).map(ToString::to_string)
    }

    /// What failed requests hold, when all have ended.
    pub fn left_by_failed(&self) -> Vec<Violation> {
        let mut left = Vec::new();
        self.lock().history.check_failed(&mut |violation| left.push(violation));
        left
    }

    /// What was written, and is not stored as it was written last.
    pub fn lost(&self, records: &[Arc<Record>]) -> Vec<Violation> {
        let mut lost = Vec::new();
        self.lock().history.check_stored(records, &mut |violation| lost.push(violation));
        lost
    }

    /// Runs a request on the store that `store` gives its writes to, and tells of its start and its end.
    pub async fn run<A: Asks, S: Store, E: Effects>(
        &self,
        effects: &E,
        asks: A,
        store: impl FnOnce(RequestId) -> S,
    ) -> Result<AnswerOf<A>, RunError<ErrorOf<A>>> {
        self.run_within(WITHIN, effects, asks, store).await
    }

    /// The same for a request that may take so long.
    pub async fn run_within<A: Asks, S: Store, E: Effects>(
        &self,
        within: Duration,
        effects: &E,
        asks: A,
        store: impl FnOnce(RequestId) -> S,
    ) -> Result<AnswerOf<A>, RunError<ErrorOf<A>>> {
        let by = self.asked(asks.request(), effects.now());
        let result = run(&store(by), effects, asks.planner(), within).await;
        self.answered(by, A::answer(&result));
        result
    }
}
