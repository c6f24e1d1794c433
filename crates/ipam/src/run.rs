//! The one loop: read, plan, commit, and try again with jitter.

use std::sync::Arc;
use std::time::Duration;

use store::{Depth, Effects, ReadSet, Refusal, Report, Store, StoreError, Unreadable, View};

use crate::plan::{Plan, Planner};

/// Attempts before the loop gives up (`libcalico-go/lib/ipam/ipam.go`, `datastoreRetries`).
pub const ATTEMPTS: u32 = 100;
/// Reads of one attempt; far more than any plan needs, pages of a large cluster included.
const READS: u32 = 10_000;
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
/// See [`RunError`]. Whatever earlier attempts of this request had written has then been taken back, as far as the store could be reached.
pub async fn run<S: Store, E: Effects, P: Planner>(
    store: &S,
    effects: &E,
    planner: P,
    within: Duration,
) -> Result<P::Answer, RunError<P::Error>> {
    begin(store, effects, planner, None, within).await
}

/// The same, where what the planner reads first ([`Planner::reads`]) has been read already, after the request arrived: for callers who read something
/// else beside it. What is read later, after a conflict too, is read anew.
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
    begin(store, effects, planner, Some(view), within).await
}

async fn begin<S: Store, E: Effects, P: Planner>(
    store: &S,
    effects: &E,
    mut planner: P,
    view: Option<View>,
    within: Duration,
) -> Result<P::Answer, RunError<P::Error>> {
    let budget = Budget { effects, end: effects.elapsed() + within, within };
    let error = match attempts(store, &budget, &mut planner, view).await {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    if planner.owes() {
        let extra = FOR_GIVING_UP.max(budget.remaining());
        let budget = Budget { effects, end: effects.elapsed() + extra, within: extra };
        give_up(store, &budget, &mut planner).await;
    }
    Err(error)
}

struct Budget<'a, E> {
    effects: &'a E,
    end: Duration,
    within: Duration,
}

impl<E: Effects> Budget<'_, E> {
    fn remaining(&self) -> Duration {
        self.end.saturating_sub(self.effects.elapsed())
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
    mut first: Option<View>,
) -> Result<P::Answer, RunError<P::Error>> {
    let mut last_error = None;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            budget.pause(attempt).await;
        }
        if budget.remaining().is_zero() {
            return Err(last_error.map_or(RunError::TimedOut(budget.within), RunError::Store));
        }
        let (now, seed) = (budget.effects.now(), budget.effects.seed());
        let plan = |planner: &mut P, view: &View| planner.plan(view, now, seed);
        let plan = match planned(store, budget, planner, first.take(), plan).await {
            Ok(Ok(plan)) => plan,
            Ok(Err(error)) => return Err(RunError::Plan(error)),
            Err(error) if error.is_transient() => {
                wait_if_asked(budget, &error).await;
                last_error = Some(error);
                continue;
            }
            Err(error) => return Err(RunError::Store(error)),
        };
        let (batch, answer) = match plan {
            Plan::Commit { batch, answer } if !batch.is_empty() => (batch, answer),
            Plan::Commit { answer, .. } | Plan::Done(answer) => return Ok(answer),
            // `planned` returns no fetch.
            Plan::Fetch(_) => continue,
        };
        match store.commit(&batch, budget.remaining()).await {
            Ok(report) if report.is_applied() => return Ok(answer),
            Ok(report) => {
                planner.observe(&report);
                if let Some(refusal) = final_refusal(&report) {
                    return Err(RunError::Refused(refusal));
                }
                last_error = None;
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
    for _ in 0..READS {
        if let Some(unreadable) = needed(planner, &asked, &view) {
            return Err(unreadable.error.clone().into());
        }
        match plan(planner, &view) {
            Ok(Plan::Fetch(set)) => {
                // It has been told that it cannot be read, and asks again.
                if let Some(unreadable) = set.keys.iter().find_map(|(key, _)| view.unreadable(key)) {
                    return Err(unreadable.error.clone().into());
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
    store.read(set, budget.remaining()).await
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

/// Takes back what the request left, until the planner has nothing more to take back. Best effort: what cannot be reached is left for `DEL`, or for
/// garbage collection.
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
                if let Ok(report) = store.commit(&batch, budget.remaining()).await {
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
