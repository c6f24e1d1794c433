//! A store that has to be reached soon, or not at all.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use setup::Clock;
use store::{AnyStore, Batch, ReadSet, Report, Scope, Store, StoreError, View};

/// A store that may leave the first question unanswered for a while only: a store that cannot be reached at all is reported long before a request would be
/// given up. Once it has answered, it has all the time that the request has.
#[derive(Debug)]
pub struct Reached<S = AnyStore> {
    store: S,
    clock: Clock,
    patience: Duration,
    /// When the first question was put: before that, the request may have waited for the host's lock.
    asked: OnceLock<Duration>,
    /// Why there was no answer when it was first asked. The last time it may have had no time to say more than that.
    reason: OnceLock<String>,
    has_answered: AtomicBool,
}

impl<S> Reached<S> {
    /// That store, from which an answer must come within `patience` of the first question.
    pub fn new(store: S, clock: Clock, patience: Duration) -> Reached<S> {
        let (asked, reason) = (OnceLock::new(), OnceLock::new());
        Reached { store, clock, patience, asked, reason, has_answered: AtomicBool::new(false) }
    }
}

impl<S: Store> Store for Reached<S> {
    type Watch = S::Watch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        if self.has_answered.load(Ordering::Relaxed) {
            return self.store.read(set, within).await;
        }
        let end = *self.asked.get_or_init(|| self.clock.elapsed()) + self.patience;
        let left = end.saturating_sub(self.clock.elapsed());
        match self.store.read(set, within.min(left)).await {
            Err(StoreError::Unavailable(text)) => {
                let reason = self.reason.get_or_init(|| text).clone();
                // Whoever is told that the store is unusable asks no more.
                Err(match self.clock.elapsed() >= end {
                    true => StoreError::Unusable(reason),
                    false => StoreError::Unavailable(reason),
                })
            }
            Err(error) => Err(error),
            Ok(view) => {
                self.has_answered.store(true, Ordering::Relaxed);
                Ok(view)
            }
        }
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        self.store.commit(batch, within).await
    }

    async fn watch(&self, scope: Scope) -> Result<S::Watch, StoreError> {
        self.store.watch(scope).await
    }
}
