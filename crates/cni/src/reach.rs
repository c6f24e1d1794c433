//! A server that has to be reached soon, or not at all.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use setup::Clock;
use store::{AnyStore, Batch, Noted, ReadSet, Report, Scope, Store, StoreError, View};

/// The longest pause before a question is put again, in milliseconds; half of it is the shortest.
const PAUSE: u64 = 200;

/// A server that may leave the first question unanswered for a while only: one that cannot be reached at all is reported long before a request would be
/// given up. Once it has answered, it has all the time that the request has.
#[derive(Debug)]
pub struct Reached<S = AnyStore> {
    server: S,
    clock: Clock,
    patience: Duration,
    /// When the first question was put: before that, the request may have waited for the host's lock.
    asked: OnceLock<Duration>,
    /// Why there was no answer when it was first asked. The last time it may have had no time to say more than that.
    reason: OnceLock<String>,
    has_answered: AtomicBool,
    /// What is wrong with records that came by, for the log.
    noted: Noted,
}

impl<S> Reached<S> {
    /// That server, from which an answer must come within `patience` of the first question.
    pub fn new(server: S, clock: Clock, patience: Duration) -> Reached<S> {
        let (asked, reason, noted) = (OnceLock::new(), OnceLock::new(), Noted::default());
        Reached { server, clock, patience, asked, reason, has_answered: AtomicBool::new(false), noted }
    }

    /// The server itself.
    pub fn server(&self) -> &S {
        &self.server
    }

    /// What is wrong with records that came by.
    pub fn noted(&self) -> &Noted {
        &self.noted
    }

    /// Puts a question to it.
    async fn ask<T, F>(
        &self,
        within: Duration,
        question: impl FnOnce(Duration) -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        if self.has_answered.load(Ordering::Relaxed) {
            return question(within).await;
        }
        let end = *self.asked.get_or_init(|| self.clock.elapsed()) + self.patience;
        let left = end.saturating_sub(self.clock.elapsed());
        match question(within.min(left)).await {
            Err(StoreError::Unavailable(text)) => {
                let reason = self.reason.get_or_init(|| text).clone();
                // Whoever is told that the server is unusable asks no more.
                Err(match self.clock.elapsed() >= end {
                    true => StoreError::Unusable(reason),
                    false => StoreError::Unavailable(reason),
                })
            }
            Err(error) => Err(error),
            Ok(answer) => {
                self.has_answered.store(true, Ordering::Relaxed);
                Ok(answer)
            }
        }
    }

    /// Puts a question to it again and again, until there is an answer, no hope of one, or no time left.
    pub async fn insist<T, F>(
        &self,
        within: Duration,
        question: impl Fn(Duration) -> F + Send + Sync,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        let end = self.clock.elapsed() + within;
        loop {
            let left = end.saturating_sub(self.clock.elapsed());
            let error = match self.ask(left, &question).await {
                Err(error) if error.is_transient() => error,
                other => return other,
            };
            let pause = match error {
                StoreError::Throttled { after, .. } => after,
                _ => Duration::from_millis(PAUSE / 2 + self.clock.seed() % (PAUSE / 2)),
            };
            if self.clock.elapsed() + pause >= end {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }
}

impl<S: Store> Reached<S> {
    /// Reads, and insists on an answer. What cannot be read is noted.
    ///
    /// # Errors
    /// The store's.
    pub async fn look(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        let view = self.insist(within, |within| self.server.read(set, within)).await?;
        self.noted.note(&view);
        Ok(view)
    }
}

impl<S: Store> Store for Reached<S> {
    type Watch = S::Watch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        let view = self.ask(within, |within| self.server.read(set, within)).await?;
        self.noted.note(&view);
        Ok(view)
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        self.server.commit(batch, within).await
    }

    async fn watch(&self, scope: Scope) -> Result<S::Watch, StoreError> {
        self.server.watch(scope).await
    }
}
