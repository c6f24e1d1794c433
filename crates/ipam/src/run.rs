//! The one loop: read, plan, commit, and try again with jitter.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use store::{Batch, Depth, Effects, Met, ReadSet, Refusal, Report, Store, StoreError, Unreadable, View};

use crate::plan::{Plan, Planner};

/// Attempts before the loop gives up (`libcalico-go/lib/ipam/ipam.go`, `datastoreRetries`).
pub const ATTEMPTS: u32 = 100;
/// Reads of one attempt; far more than any plan needs, pages of a large cluster included.
const READS: u32 = 10_000;
/// How many of them are made whatever the time is: a plan that is nearly made is worth ending, above all one
/// that takes back what a request left.
const READS_AT_LEAST: u32 = 16;
/// Time kept back, at most, for taking back what a failed request left.
const FOR_GIVING_UP: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Why an operation did not succeed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError<E> {
    /// The planner says so; the text is the user's.
    #[error("{0}")]
    Plan(E),
    /// The store cannot be used, or was not there until the time ran out.
    #[error("{0}")]
    Store(StoreError),
    /// The store refuses what was to be written, for good.
    #[error("{0}")]
    Refused(Refusal),
    /// Others were always faster. Try again later.
    #[error("Max retries hit - excessive concurrent IPAM requests")]
    Contention,
    /// The time ran out.
    #[error("the datastore did not let the request finish within {0:?}")]
    TimedOut(Duration),
}

/// Runs an operation to its answer within a time.
///
/// # Errors
/// See [`RunError`]. Whatever earlier attempts of this request had written has then been taken back, as far
/// as the store could be reached.
pub async fn run<S: Store, E: Effects, P: Planner>(
    store: &S,
    effects: &E,
    planner: P,
    within: Duration,
) -> Result<P::Answer, RunError<P::Error>> {
    let budget = Budget::new(effects, within);
    begin(store, &budget, planner, Beginning::Nothing).await
}

/// The same, where what the planner reads first ([`Planner::reads`]) has been read already, after the request
/// arrived: for callers who read something else beside it. What is read later, after a conflict too, is read
/// anew.
///
/// # Errors
/// See [`run()`].
pub async fn run_from<S: Store, E: Effects, P: Planner>(
    store: &S,
    effects: &E,
    planner: P,
    view: View,
    within: Duration,
) -> Result<P::Answer, RunError<P::Error>> {
    let budget = Budget::new(effects, within);
    begin(store, &budget, planner, Beginning::Read(view)).await
}

/// The same, where the first attempt begins on a view that the caller keeps ([`View::fold`],
/// [`View::after`]), and reads nothing but what is lacking there.
///
/// A kept view may be old. So it serves only who may begin so ([`Planner::may_begin_warm`]), and only for a
/// batch, which checks again what it rests on, whose answer says no more than what it writes
/// ([`Planner::may_stand_warm`]). Any other answer, an error, a conflict and a refusal are followed by an
/// attempt as of [`run()`], which reads everything anew; and what such a batch left is part of it, as of
/// every earlier attempt.
///
/// What no batch checks is as old as the view: an address that was reserved since may be given.
///
/// # Errors
/// See [`run()`]. None rests on the kept view.
pub async fn run_warm<S: Store, E: Effects, P: Planner + Clone>(
    store: &S,
    effects: &E,
    mut planner: P,
    kept: &View,
    within: Duration,
) -> Result<P::Answer, RunError<P::Error>> {
    let budget = Budget::new(effects, within);
    let beginning = match planned_warm(store, &budget, &mut planner, kept).await {
        Some((batch, answer)) => Beginning::Planned(batch, answer),
        None => Beginning::Nothing,
    };
    begin(store, &budget, planner, beginning).await
}

/// What there is at the start of the first attempt.
enum Beginning<A> {
    Nothing,
    /// What the planner reads first.
    Read(View),
    /// What it writes, and the answer should that be applied; planned on a kept view.
    Planned(Batch, A),
}

/// What a planner writes on a kept view, and the answer should that be applied, where it may begin so and the
/// answer may stand. Otherwise the planner has seen nothing.
async fn planned_warm<S: Store, E: Effects, P: Planner + Clone>(
    store: &S,
    budget: &Budget<'_, E>,
    planner: &mut P,
    kept: &View,
) -> Option<(Batch, P::Answer)> {
    if !planner.may_begin_warm() {
        return None;
    }
    budget.note(Met::Attempt { is_warm: true });
    let mut view = kept.clone();
    let lacking = kept.lacking(&planner.reads());
    if !lacking.is_empty() {
        view.absorb(read(store, budget, &lacking).await.ok()?);
    }
    let mut trial = planner.clone();
    let (now, seed) = (budget.effects.now(), budget.effects.seed());
    let plan = |trial: &mut P, view: &View| trial.plan(view, now, seed);
    match planned(store, budget, &mut trial, Some(view), plan).await {
        Ok(Ok(Plan::Commit { batch, answer })) if !batch.is_empty() && trial.may_stand_warm(&answer) => {
            *planner = trial;
            Some((batch, answer))
        }
        _ => None,
    }
}

async fn begin<S: Store, E: Effects, P: Planner>(
    store: &S,
    budget: &Budget<'_, E>,
    mut planner: P,
    beginning: Beginning<P::Answer>,
) -> Result<P::Answer, RunError<P::Error>> {
    let outcome = attempts(store, budget, &mut planner, beginning).await;
    if outcome.is_err() && planner.owes() {
        let extra = FOR_GIVING_UP.max(budget.remaining());
        give_up(store, &Budget::new(budget.effects, extra), &mut planner).await;
    }
    if let Some(observer) = budget.effects.observer() {
        let took = budget.effects.elapsed().saturating_sub(budget.start);
        observer.note(Met::End { took, is_answered: outcome.is_ok() });
    }
    outcome
}

struct Budget<'a, E> {
    effects: &'a E,
    start: Duration,
    within: Duration,
}

impl<'a, E: Effects> Budget<'a, E> {
    /// So much time from now on.
    fn new(effects: &'a E, within: Duration) -> Budget<'a, E> {
        Budget { effects, start: effects.elapsed(), within }
    }

    fn remaining(&self) -> Duration {
        (self.start + self.within).saturating_sub(self.effects.elapsed())
    }

    fn note(&self, met: Met) {
        if let Some(observer) = self.effects.observer() {
            observer.note(met);
        }
    }

    /// Does something with a store; where somebody wants to know, it is told what that was and how long it
    /// took.
    async fn timed<T>(&self, work: impl Future<Output = T>, met: impl FnOnce(&T, Duration) -> Met) -> T {
        let Some(observer) = self.effects.observer() else { return work.await };
        let start = self.effects.elapsed();
        let outcome = work.await;
        observer.note(met(&outcome, self.effects.elapsed().saturating_sub(start)));
        outcome
    }

    /// Waits a little, longer with each attempt, and never the same as others.
    async fn pause(&self, attempt: u32) {
        let longest = Duration::from_millis(1 << attempt.min(8)).min(LONGEST_PAUSE);
        let share = (self.effects.seed() % 1024) as u32;
        self.effects.sleep((longest * share / 1024).min(self.remaining())).await;
    }
}

async fn attempts<S: Store, E: Effects, P: Planner>(
    store: &S,
    budget: &Budget<'_, E>,
    planner: &mut P,
    mut beginning: Beginning<P::Answer>,
) -> Result<P::Answer, RunError<P::Error>> {
    let mut last_error = None;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            budget.pause(attempt).await;
        }
        if budget.remaining().is_zero() {
            return Err(last_error.map_or(RunError::TimedOut(budget.within), RunError::Store));
        }
        let (view, planned_warm) = match std::mem::replace(&mut beginning, Beginning::Nothing) {
            Beginning::Nothing => (None, None),
            Beginning::Read(view) => (Some(view), None),
            Beginning::Planned(batch, answer) => (None, Some(Plan::Commit { batch, answer })),
        };
        let is_warm = planned_warm.is_some();
        let plan = match planned_warm {
            Some(plan) => plan,
            None => {
                budget.note(Met::Attempt { is_warm: false });
                let (now, seed) = (budget.effects.now(), budget.effects.seed());
                let plan = |planner: &mut P, view: &View| planner.plan(view, now, seed);
                match planned(store, budget, planner, view, plan).await {
                    Ok(Ok(plan)) => plan,
                    Ok(Err(error)) => return Err(RunError::Plan(error)),
                    Err(error) if error.is_transient() => {
                        wait_if_asked(budget, &error).await;
                        last_error = Some(error);
                        continue;
                    }
                    Err(error) => return Err(RunError::Store(error)),
                }
            }
        };
        let (batch, answer) = match plan {
            Plan::Commit { batch, answer } if !batch.is_empty() => (batch, answer),
            Plan::Commit { answer, .. } | Plan::Done(answer) => return Ok(answer),
            // `planned` returns no fetch.
            Plan::Fetch(_) => continue,
        };
        match commit(store, budget, &batch).await {
            Ok(report) if report.is_applied() => return Ok(answer),
            Ok(report) => {
                planner.observe(&report);
                match final_refusal(&report) {
                    Some(refusal) if !is_warm => return Err(RunError::Refused(refusal)),
                    _ => last_error = None,
                }
            }
            Err(error) if error.is_transient() => {
                wait_if_asked(budget, &error).await;
                last_error = Some(error);
            }
            Err(error) => return Err(RunError::Store(error)),
        }
    }
    Err(last_error.map_or(RunError::Contention, RunError::Store))
}

/// Reads what the planner wants, but for what has been read already, until it wants no more.
async fn planned<S: Store, E: Effects, P: Planner, T>(
    store: &S,
    budget: &Budget<'_, E>,
    planner: &mut P,
    first: Option<View>,
    mut plan: impl FnMut(&mut P, &View) -> Result<Plan<T>, P::Error>,
) -> Result<Result<Plan<T>, P::Error>, StoreError> {
    let mut asked = planner.reads();
    let mut view = match first {
        Some(view) => view,
        None => read(store, budget, &asked).await?,
    };
    for made in 0..READS {
        if let Some(unreadable) = needed(planner, &asked, &view) {
            return Err(unreadable.error.clone().into());
        }
        match plan(planner, &view) {
            Ok(Plan::Fetch(set)) => {
                // It has been told that it cannot be read, and asks again.
                if let Some(unreadable) = set.keys.iter().find_map(|(key, _)| view.unreadable(key)) {
                    return Err(unreadable.error.clone().into());
                }
                if made >= READS_AT_LEAST && budget.remaining().is_zero() {
                    let reason = "the plan needs more to be read, and the time is over";
                    return Err(StoreError::Unavailable(reason.to_string()));
                }
                view.absorb(read(store, budget, &set).await?);
                asked = set;
            }
            other => return Ok(other),
        }
    }
    Err(StoreError::Unavailable(
        "the plan never had enough: the data changes faster than it can be read".to_string(),
    ))
}

/// A record that was asked for by its key, cannot be read, and is needed.
fn needed<'v, P: Planner>(planner: &P, asked: &ReadSet, view: &'v View) -> Option<&'v Arc<Unreadable>> {
    let keys = asked.keys.iter().filter(|(_, depth)| *depth > Depth::Key).map(|(key, _)| key);
    keys.filter(|key| !planner.can_do_without(key)).find_map(|key| view.unreadable(key))
}

async fn read<S: Store, E: Effects>(
    store: &S,
    budget: &Budget<'_, E>,
    set: &ReadSet,
) -> Result<View, StoreError> {
    if set.is_empty() {
        return Ok(View::new());
    }
    let reading = store.read(set, budget.remaining());
    budget.timed(reading, |read, took| Met::Fetch { took, is_answered: read.is_ok() }).await
}

async fn commit<S: Store, E: Effects>(
    store: &S,
    budget: &Budget<'_, E>,
    batch: &Batch,
) -> Result<Report, StoreError> {
    let is_applied = |report: &Result<Report, StoreError>| report.as_ref().is_ok_and(Report::is_applied);
    let committing = store.commit(batch, budget.remaining());
    let report =
        budget.timed(committing, |report, took| Met::Commit { took, is_applied: is_applied(report) }).await?;
    match report.refusal() {
        Some((_, Refusal::Conflict(_))) => budget.note(Met::Conflict),
        Some(_) => budget.note(Met::Refusal),
        None if report.broken_guard.is_some() => budget.note(Met::Conflict),
        None => {}
    }
    if report.has_unknown() {
        budget.note(Met::Doubt);
    }
    Ok(report)
}

async fn wait_if_asked<E: Effects>(budget: &Budget<'_, E>, error: &StoreError) {
    if let StoreError::Throttled { after, .. } = error {
        budget.effects.sleep((*after).min(budget.remaining())).await;
    }
}

/// A refusal that no retry can change.
fn final_refusal(report: &Report) -> Option<Refusal> {
    match report.refusal() {
        None | Some((_, Refusal::Conflict(_))) => None,
        Some((_, refusal)) => Some(refusal.clone()),
    }
}

/// Takes back what the request left, until the planner has nothing more to take back. Best effort: what
/// cannot be reached is left for `DEL`, or for garbage collection.
async fn give_up<S: Store, E: Effects, P: Planner>(store: &S, budget: &Budget<'_, E>, planner: &mut P) {
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            budget.pause(attempt).await;
        }
        if budget.remaining().is_zero() {
            return;
        }
        let now = budget.effects.now();
        let plan = |planner: &mut P, view: &View| Ok(planner.give_up(view, now));
        let plan = planned(store, budget, planner, None, plan).await;
        match plan {
            Ok(Ok(Plan::Commit { batch, .. })) if !batch.is_empty() => {
                if let Ok(report) = commit(store, budget, &batch).await {
                    planner.observe(&report);
                    if !planner.owes() || final_refusal(&report).is_some() {
                        return;
                    }
                }
            }
            Ok(_) => return,
            Err(error) if error.is_transient() => {}
            Err(_) => return,
        }
    }
}
