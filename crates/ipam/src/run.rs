//! The loop that carries out every operation: it reads, plans and commits, and tries again after a random
//! pause.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use store::{
    Batch, Depth, Effects, Guard, Met, Outcome, ReadSet, Refusal, Report, Store, StoreError, Unreadable, View,
};

use crate::plan::{Plan, Planner};

/// Attempts before the loop gives up (`libcalico-go/lib/ipam/ipam.go`, `datastoreRetries`).
pub const ATTEMPTS: u32 = 100;
/// Reads of one attempt; far more than any plan needs, pages of a large cluster included.
const READS: u32 = 10_000;
/// Reads that an attempt may make even when the time is over: a plan that is nearly made is worth finishing,
/// above all a plan that takes back what a failed request has written.
const READS_AT_LEAST: u32 = 16;
/// The time that an operation may take at most, after its own time is over, to take back what a failed
/// request has written.
const FOR_GIVING_UP: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// From what age on a plan is looked at again before it is written: see [`commit_if_fresh`].
const OLD: Duration = Duration::from_secs(2);

/// Why an operation did not succeed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError<E> {
    /// The planner cannot go on; the text is written for the user.
    #[error("{0}")]
    Plan(E),
    /// The store cannot be used, or it could not be reached until the time ran out.
    #[error("{0}")]
    Store(StoreError),
    /// The store refuses a write, and no retry can change that.
    #[error("{0}")]
    Refused(Refusal),
    /// Other processes changed the same records before every attempt to commit. Trying again later can
    /// succeed.
    #[error("Max retries hit - excessive concurrent IPAM requests")]
    Contention,
    /// The time ran out before any attempt was applied.
    #[error("the datastore did not let the request finish within {0:?}")]
    TimedOut(Duration),
}

/// Runs an operation until it has an answer, or until the time `within` is over.
///
/// # Errors
/// See [`RunError`]. In that case the loop takes back whatever earlier attempts of this request had written,
/// as far as the store can be reached.
pub async fn run<S: Store, E: Effects, P: Planner>(
    store: &S,
    effects: &E,
    planner: P,
    within: Duration,
) -> Result<P::Answer, RunError<P::Error>> {
    let budget = Budget::new(effects, within);
    begin(store, &budget, planner, Beginning::Nothing).await
}

/// As [`run()`], for a caller that has already read what the planner reads first ([`Planner::reads`]),
/// together with something else, after the request arrived. Whatever is read later, also after a conflict, is
/// read anew.
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

/// As [`run()`], but the first attempt begins on a view that the caller keeps ([`View::fold`],
/// [`View::after`]), and reads only what that view lacks.
///
/// A kept view may be old. So it is used only by a planner that may begin on one
/// ([`Planner::may_begin_warm`]), and only for a batch whose commit checks the records that it rests on and
/// whose answer says no more than what the batch writes ([`Planner::may_stand_warm`]). After any other
/// answer, an error, a conflict or a refusal, the next attempt reads everything anew, as in [`run()`]. If
/// such a batch was applied in part, the next attempt deals with what it left, as it does after every earlier
/// attempt.
///
/// Whatever the commit does not check is as old as the view: the operation may give an address that was
/// reserved after the view was read.
///
/// # Errors
/// See [`run()`]. No error is reported because of what the kept view says.
pub async fn run_warm<S: Store, E: Effects, P: Planner + Clone>(
    store: &S,
    effects: &E,
    mut planner: P,
    kept: &View,
    within: Duration,
) -> Result<P::Answer, RunError<P::Error>> {
    let budget = Budget::new(effects, within);
    let beginning = match plan_on_kept_view(store, &budget, &mut planner, kept).await {
        Some((batch, answer)) => Beginning::Planned(batch, answer),
        None => Beginning::Nothing,
    };
    begin(store, &budget, planner, beginning).await
}

/// What the first attempt already has.
enum Beginning<A> {
    Nothing,
    /// The records that the planner reads first.
    Read(View),
    /// The batch that the planner made on a kept view, and the answer that holds once the batch is applied.
    Planned(Batch, A),
}

/// Plans on a kept view. Gives the batch and the answer that holds once the batch is applied. `None` where
/// the planner may not begin on a kept view, or its answer may not rest on one; the planner is unchanged
/// then.
async fn plan_on_kept_view<S: Store, E: Effects, P: Planner + Clone>(
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
    match read_and_plan(store, budget, &mut trial, Some(view), plan).await {
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
    let mut has_left = false;
    if outcome.is_err() && planner.owes() {
        let extra = FOR_GIVING_UP.max(budget.remaining());
        has_left = !give_up(store, &Budget::new(budget.effects, extra), &mut planner).await;
    }
    if let Some(observer) = budget.effects.observer() {
        let took = budget.effects.elapsed().saturating_sub(budget.start);
        observer.note(Met::End { took, is_answered: outcome.is_ok(), has_left });
    }
    outcome
}

struct Budget<'a, E> {
    effects: &'a E,
    start: Duration,
    within: Duration,
}

impl<'a, E: Effects> Budget<'a, E> {
    /// A budget that begins now and ends after `within`.
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

    /// Waits for a piece of work on a store. Where there is an observer, it is told of the work and how long
    /// it took.
    async fn timed<T>(&self, work: impl Future<Output = T>, met: impl FnOnce(&T, Duration) -> Met) -> T {
        let Some(observer) = self.effects.observer() else { return work.await };
        let start = self.effects.elapsed();
        let outcome = work.await;
        observer.note(met(&outcome, self.effects.elapsed().saturating_sub(start)));
        outcome
    }

    /// Waits for a random time, whose upper limit grows with each attempt, so that competing processes get
    /// out of step.
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
            return Err(last_error.unwrap_or(RunError::TimedOut(budget.within)));
        }
        let (view, planned_warm) = match std::mem::replace(&mut beginning, Beginning::Nothing) {
            Beginning::Nothing => (None, None),
            Beginning::Read(view) => (Some(view), None),
            Beginning::Planned(batch, answer) => (None, Some(Plan::Commit { batch, answer })),
        };
        let is_warm = planned_warm.is_some();
        let begun = budget.effects.elapsed();
        let plan = match planned_warm {
            Some(plan) => plan,
            None => {
                budget.note(Met::Attempt { is_warm: false });
                let (now, seed) = (budget.effects.now(), budget.effects.seed());
                let plan = |planner: &mut P, view: &View| planner.plan(view, now, seed);
                match read_and_plan(store, budget, planner, view, plan).await {
                    Ok(Ok(plan)) => plan,
                    Ok(Err(error)) if planner.may_pass(&error) => {
                        last_error = Some(RunError::Plan(error));
                        continue;
                    }
                    Ok(Err(error)) => return Err(RunError::Plan(error)),
                    Err(error) if error.is_transient() => {
                        wait_if_asked(budget, &error).await;
                        last_error = Some(RunError::Store(error));
                        continue;
                    }
                    Err(error) => return Err(RunError::Store(error)),
                }
            }
        };
        let (batch, answer) = match plan {
            Plan::Commit { batch, answer } if !batch.is_empty() => (batch, answer),
            Plan::Commit { answer, .. } | Plan::Done(answer) => return Ok(answer),
            // Cannot happen: `read_and_plan` carries out every fetch itself.
            Plan::Fetch(_) => continue,
        };
        match commit_if_fresh(store, budget, &batch, begun).await {
            Ok(report) if planner.is_answered_by(&report) => return Ok(answer),
            Ok(report) => {
                planner.observe(&report);
                match final_refusal(&report) {
                    Some(refusal) if !is_warm => return Err(RunError::Refused(refusal)),
                    _ => last_error = None,
                }
            }
            Err(error) if error.is_transient() => {
                wait_if_asked(budget, &error).await;
                last_error = Some(RunError::Store(error));
            }
            Err(error) => return Err(RunError::Store(error)),
        }
    }
    Err(last_error.unwrap_or(RunError::Contention))
}

/// Lets the planner plan, and reads each time what it asks for, until it has a plan that needs no more reads.
async fn read_and_plan<S: Store, E: Effects, P: Planner, T>(
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
        if let Some(unreadable) = needed_but_unreadable(planner, &asked, &view) {
            return Err(unreadable.error.clone().into());
        }
        match plan(planner, &view) {
            Ok(Plan::Fetch(set)) => {
                // The planner knows from the view that this record cannot be read, and asks for it again: it
                // cannot do without it.
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

/// The first record that the planner asked for by its key, that cannot be read, and that the planner needs.
fn needed_but_unreadable<'v, P: Planner>(
    planner: &P,
    asked: &ReadSet,
    view: &'v View,
) -> Option<&'v Arc<Unreadable>> {
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

/// Commits a batch that was planned on what was read from the moment `begun` on.
///
/// Kubernetes honours no guards: there, a slow request could take an address of a pool that was deleted long
/// before. So if the plan is old, the records that it guards are read again right before the first write.
/// That bounds the age of what the batch rests on to [`OLD`], or to the time of this read, and costs nothing
/// where the plan is not old. If a record has changed, the report is the one that a store with guards gives.
async fn commit_if_fresh<S: Store, E: Effects>(
    store: &S,
    budget: &Budget<'_, E>,
    batch: &Batch,
    begun: Duration,
) -> Result<Report, StoreError> {
    if budget.effects.elapsed().saturating_sub(begun) > OLD
        && let Some(broken) = broken_guard(store, budget, batch).await?
    {
        budget.note(Met::Conflict);
        let outcomes = vec![Outcome::NotTried; batch.writes.len()];
        return Ok(Report { outcomes, broken_guard: Some(broken) });
    }
    commit(store, budget, batch).await
}

/// The first guard of a record that has changed, by its index.
async fn broken_guard<S: Store, E: Effects>(
    store: &S,
    budget: &Budget<'_, E>,
    batch: &Batch,
) -> Result<Option<usize>, StoreError> {
    let keys = batch.guards.iter().filter_map(|guard| match guard {
        Guard::Record { key, .. } => Some((key.clone(), Depth::Key)),
        Guard::Scope { .. } => None,
    });
    let view = read(store, budget, &ReadSet { keys: keys.collect(), scopes: Vec::new() }).await?;
    let has_changed = |guard: &Guard| match guard {
        Guard::Record { key, revision } => {
            view.get(key).is_some_and(|slot| slot.revision() != revision.as_ref())
        }
        Guard::Scope { .. } => false,
    };
    Ok(batch.guards.iter().position(has_changed))
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

/// The refusal in a report that no retry can change, if there is one.
fn final_refusal(report: &Report) -> Option<Refusal> {
    match report.refusal() {
        None | Some((_, Refusal::Conflict(_))) => None,
        Some((_, refusal)) => Some(refusal.clone()),
    }
}

/// Takes back what the request has written, until nothing is left to take back. Where the store cannot be
/// reached, the rest is left for the plugin's `DEL` or for garbage collection. Gives whether nothing is left.
async fn give_up<S: Store, E: Effects, P: Planner>(
    store: &S,
    budget: &Budget<'_, E>,
    planner: &mut P,
) -> bool {
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            budget.pause(attempt).await;
        }
        if budget.remaining().is_zero() {
            return false;
        }
        let now = budget.effects.now();
        let plan = |planner: &mut P, view: &View| Ok(planner.give_up(view, now));
        let plan = read_and_plan(store, budget, planner, None, plan).await;
        match plan {
            Ok(Ok(Plan::Commit { batch, .. })) if !batch.is_empty() => {
                if let Ok(report) = commit(store, budget, &batch).await {
                    planner.observe(&report);
                    if !planner.owes() {
                        return true;
                    }
                    if final_refusal(&report).is_some() {
                        return false;
                    }
                }
            }
            Ok(Ok(_)) => return true,
            Ok(Err(_)) => return false,
            Err(error) if error.is_transient() => {}
            Err(_) => return false,
        }
    }
    false
}
