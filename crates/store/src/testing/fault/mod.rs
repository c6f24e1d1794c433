//! A store that fails on purpose, and reproducibly.
//!
//! [`Faulty`] stands between a caller and a store and does what a [`FaultPlan`] says: the same plan, seed and
//! calls give the same faults. [`Faulty::another`] adds a caller with its own plan to the same store, with
//! the same history. When a test fails, each caller prints its plan and its last effects.

mod effects;
mod plan;
mod stale;
mod watch;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;

use crate::batch::{Batch, Expect, Outcome, Report, Write};
use crate::error::StoreError;
use crate::port::Store;
use crate::read::{Depth, ReadSet, Scope};
use crate::view::View;
use effects::EffectLog;
pub use plan::{Chances, CommitFault, FaultPlan, Stale, Step};
use stale::History;
pub use watch::FaultyWatch;

/// What a hook does at a step of a call: the work of other writers.
pub type Hook = Arc<dyn Fn(Step) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// One caller's view of a store that fails as planned. A clone is the same caller; [`Faulty::another`] makes
/// another one.
pub struct Faulty<S> {
    inner: Arc<S>,
    history: Arc<Mutex<History>>,
    caller: Arc<Caller>,
}

struct Caller {
    plan: FaultPlan,
    hook: Option<Hook>,
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    /// How many times the caller has called commit.
    commits: u64,
    is_crashed: bool,
    effects: EffectLog,
}

/// A failing test drops its callers while it panics. Then each caller prints what it did last.
impl Drop for Caller {
    #[allow(clippy::print_stdout, reason = "the test harness keeps it for the failure")]
    fn drop(&mut self) {
        let state = self.state();
        if std::thread::panicking() && !state.effects.is_empty() {
            println!("a caller with {:?} did last:\n{}", self.plan, state.effects);
        }
    }
}

impl<S> Clone for Faulty<S> {
    fn clone(&self) -> Self {
        Faulty { inner: self.inner.clone(), history: self.history.clone(), caller: self.caller.clone() }
    }
}

impl<S> std::fmt::Debug for Faulty<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faulty").field("plan", &self.caller.plan).finish_non_exhaustive()
    }
}

impl<S: Store> Faulty<S> {
    /// A caller of `inner` that meets the faults of `plan`.
    pub fn new(inner: S, plan: FaultPlan) -> Faulty<S> {
        Faulty { inner: Arc::new(inner), history: Arc::default(), caller: Caller::new(plan, None) }
    }

    /// Another caller of the same store, with its own plan.
    pub fn another(&self, plan: FaultPlan) -> Faulty<S> {
        Faulty { caller: Caller::new(plan, None), ..self.clone() }
    }

    /// A caller with the same plan from its beginning, and with a hook that runs between the steps of its
    /// calls.
    pub fn with_hook(&self, hook: Hook) -> Faulty<S> {
        Faulty { caller: Caller::new(self.caller.plan.clone(), Some(hook)), ..self.clone() }
    }

    /// The store underneath, which never fails.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Whether the caller has crashed: then every call fails until [`Faulty::revive`].
    pub fn is_crashed(&self) -> bool {
        self.caller.state().is_crashed
    }

    /// Starts the caller again after a crash. Its plan continues where it was.
    pub fn revive(&self) {
        self.caller.state().is_crashed = false;
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads each part of a set by a read of its own.
    async fn read_in_parts(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        let mut view = View::new();
        for scope in &set.scopes {
            let part = ReadSet { keys: Vec::new(), scopes: vec![scope.clone()] };
            view.absorb(self.inner.read(&part, within).await?);
            self.caller.step(Step::BetweenReads).await;
        }
        for key in &set.keys {
            let part = ReadSet { keys: vec![key.clone()], scopes: Vec::new() };
            let part = self.inner.read(&part, within).await?;
            for (key, slot) in part.all() {
                view.insert(key.clone(), slot.clone());
            }
            self.caller.step(Step::BetweenReads).await;
        }
        if let (None, true) = (view.revision(), set.is_empty()) {
            view.absorb(self.inner.read(set, within).await?);
        }
        Ok(view)
    }

    /// Applies the writes of a batch up to `to`, one at a time, from the first one that `outcomes` does not
    /// hold yet. Stops at a write that is not applied.
    async fn apply(
        &self,
        batch: &Batch,
        to: usize,
        within: Duration,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        for index in report.outcomes.len()..to {
            self.caller.step(Step::BeforeWrite(index)).await;
            if let Some(guard) = self.changed(batch, index, within).await? {
                report.broken_guard = Some(guard);
                return Ok(());
            }
            let guards =
                if index == 0 && self.caller.plan.guards { batch.guards.clone() } else { Vec::new() };
            let write = standalone_write(batch, index, &report.outcomes);
            let single = Batch { writes: vec![write], guards, ..Batch::default() };
            let mut single = self.inner.commit(&single, within).await?;
            if single.broken_guard.is_some() {
                report.broken_guard = single.broken_guard;
                return Ok(());
            }
            let outcome = single.outcomes.remove(0);
            let is_applied = matches!(outcome, Outcome::Applied(_));
            report.outcomes.push(outcome);
            if !is_applied {
                return Ok(());
            }
            self.remember(&batch.writes[index], within).await;
            self.caller.step(Step::AfterWrite(index)).await;
        }
        Ok(())
    }

    /// Looks again at the guarded records before a write. Gives the first guard that does not hold.
    async fn changed(
        &self,
        batch: &Batch,
        index: usize,
        within: Duration,
    ) -> Result<Option<usize>, StoreError> {
        for (guard, key, revision) in batch.looks_before(index) {
            let view = self.inner.read(&ReadSet::new().key(key.clone()), within).await?;
            if view.full(key).flatten().map(|record| &record.revision) != revision {
                return Ok(Some(guard));
            }
        }
        Ok(None)
    }

    /// Adds the state after a write to the history, for stale reads.
    async fn remember(&self, write: &Write, within: Duration) {
        let set = ReadSet::new().key(write.key.clone());
        // Another writer may have changed the record since. Then this reads the other's state, which serves
        // as well: it is a state that the record was in.
        if let Ok(view) = self.inner.read(&set, within).await {
            self.history().push(&write.key, view.full(&write.key).flatten().cloned());
        }
    }

    /// Applies the whole batch as the store itself does, in one go where the store has transactions.
    async fn apply_whole(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        self.caller.step(Step::BeforeWrite(0)).await;
        let report = if self.caller.plan.guards {
            self.inner.commit(batch, within).await?
        } else {
            let mut looking = Batch { writes: batch.writes.clone(), ..Batch::default() };
            for index in 0..batch.writes.len() {
                for (_, key, revision) in batch.looks_before(index) {
                    if !looking.guards_record(key) {
                        looking.guard(key.clone(), revision.cloned());
                    }
                    looking.look_again(key, index);
                }
            }
            self.inner.commit(&looking, within).await?
        };
        for (write, outcome) in batch.writes.iter().zip(&report.outcomes) {
            if matches!(outcome, Outcome::Applied(_)) {
                self.remember(write, within).await;
            }
        }
        self.caller.step(Step::AfterWrite(batch.writes.len().saturating_sub(1))).await;
        Ok(report)
    }

    async fn commit_with(
        &self,
        fault: Option<CommitFault>,
        batch: &Batch,
        within: Duration,
    ) -> Result<Report, StoreError> {
        let all = batch.writes.len();
        let mut report = Report::default();
        match fault {
            None if !self.caller.plan.one_by_one || all == 0 => return self.apply_whole(batch, within).await,
            None => self.apply(batch, all, within, &mut report).await?,
            Some(CommitFault::Unsent) => {
                return Err(StoreError::Unavailable("the request was not sent (planned)".to_string()));
            }
            Some(CommitFault::ReplyLost { answered, lost, landed }) => {
                self.apply(batch, answered.min(all), within, &mut report).await?;
                if are_applied(&report, answered.min(all)) {
                    let end = answered.saturating_add(lost).min(all);
                    let known = report.outcomes.len();
                    if landed {
                        self.apply(batch, end, within, &mut report).await?;
                        report.broken_guard = None;
                    }
                    report.outcomes.truncate(known);
                    report.outcomes.resize(end, Outcome::Unknown("the reply was lost (planned)".to_string()));
                }
            }
            Some(CommitFault::Crash { writes }) => {
                self.apply(batch, writes.min(all), within, &mut report).await?;
                self.caller.state().is_crashed = true;
                let outcomes = vec![Outcome::Unknown("the caller crashed (planned)".to_string()); all];
                return Ok(Report { outcomes, broken_guard: None });
            }
        }
        report.outcomes.resize(all, Outcome::NotTried);
        Ok(report)
    }
}

/// Whether the first `count` writes were all applied.
fn are_applied(report: &Report, count: usize) -> bool {
    report.broken_guard.is_none()
        && report.outcomes.len() == count
        && report.outcomes.iter().all(|outcome| matches!(outcome, Outcome::Applied(_)))
}

/// A write as a batch of its own: it expects the earlier write's outcome itself instead of a reference to
/// that write.
fn standalone_write(batch: &Batch, index: usize, outcomes: &[Outcome]) -> Write {
    // Where no state can fulfil the expectation, the store must refuse it, so the reference stays invalid.
    let expect = batch.expectation(index, outcomes).unwrap_or(Expect::AsLeftBy(usize::MAX));
    Write { expect, ..batch.writes[index].clone() }
}

impl Caller {
    fn new(plan: FaultPlan, hook: Option<Hook>) -> Arc<Caller> {
        let rng = Rng::with_seed(plan.seed);
        Arc::new(Caller {
            plan,
            hook,
            state: Mutex::new(State { rng, commits: 0, is_crashed: false, effects: EffectLog::default() }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn step(&self, step: Step) {
        if let Some(hook) = &self.hook {
            hook(step).await;
        }
    }

    fn check_alive(&self) -> Result<(), StoreError> {
        if self.state().is_crashed {
            Err(StoreError::Unavailable("the caller has crashed (planned)".to_string()))
        } else {
            Ok(())
        }
    }

    /// The fault that the caller's next commit meets.
    fn next_fault(&self, writes: usize) -> Option<CommitFault> {
        let mut state = self.state();
        let number = state.commits;
        state.commits += 1;
        let planned = self.plan.faults.get(&number).copied();
        planned.or_else(|| self.plan.chances.draw(&mut state.rng, writes))
    }
}

impl<S: Store> Store for Faulty<S> {
    type Watch = FaultyWatch<S>;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        let read = self.read_with_faults(set, within).await;
        self.caller.state().effects.read(set, read.as_ref().err().cloned());
        read
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        self.caller.check_alive()?;
        let fault = self.caller.next_fault(batch.writes.len());
        let result = self.commit_with(fault, batch, within).await;
        self.caller.state().effects.commit(batch, result.clone());
        result
    }

    async fn watch(&self, scope: Scope) -> Result<FaultyWatch<S>, StoreError> {
        self.caller.check_alive()?;
        let inner = self.inner.watch(scope.clone()).await?;
        Ok(FaultyWatch::new(self.clone(), scope, inner))
    }
}

impl<S: Store> Faulty<S> {
    async fn read_with_faults(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        self.caller.check_alive()?;
        let fails = {
            let chances = self.caller.plan.chances;
            plan::happens(&mut self.caller.state().rng, chances.read_fails)
        };
        if fails {
            return Err(StoreError::Unavailable("the read failed (planned)".to_string()));
        }
        self.caller.step(Step::BeforeRead).await;
        let mut view = if self.caller.plan.split_reads {
            self.read_in_parts(set, within).await?
        } else {
            self.inner.read(set, within).await?
        };
        if let Some(stale) = &self.caller.plan.stale {
            self.history().make_stale(&mut view, set, *stale, &mut self.caller.state().rng);
        }
        self.caller.step(Step::AfterRead).await;
        Ok(view)
    }
}

/// The greatest depth at which a set asks for a record.
fn depth_of(set: &ReadSet, key: &api::Key) -> Option<Depth> {
    let by_key = set.keys.iter().filter(|(k, _)| k == key).map(|(_, depth)| *depth);
    let by_scope = set.scopes.iter().filter(|read| read.scope.holds(key)).map(|read| read.depth);
    by_key.chain(by_scope).max()
}
