//! Limits how long a request waits for a server that cannot be reached.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use store::{AnyStore, Batch, Noted, ReadSet, Report, Scope, Store, StoreError, View};

use crate::clock::Clock;

/// How long a server may leave the first question of a request unanswered. The container runtime repeats a
/// failed request, and whoever reads its log should see the reason soon.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// The longest pause before a question is repeated, in milliseconds. The shortest is half of it.
const PAUSE: u64 = 200;

/// A server as one request sees it. A server that cannot be reached is reported after `patience`, long before
/// the request's own time is over. Once the server has answered, it may use all the time that the request
/// has. The next request begins with the same patience.
#[derive(Debug)]
pub struct Reached<'a, S = AnyStore> {
    server: &'a S,
    clock: Clock,
    patience: Duration,
    /// When the first question was sent. The clock starts there and not with the request, which may have
    /// waited for the host's lock first.
    asked: OnceLock<Duration>,
    /// The error of the first question. A later question may have had so little time that its error says only
    /// that.
    reason: OnceLock<String>,
    has_answered: AtomicBool,
    /// Faults of records that were read, for the log.
    noted: Noted,
}

impl<'a, S> Reached<'a, S> {
    /// Wraps a server, which must answer within `patience` of the first question.
    pub fn new(server: &'a S, clock: Clock, patience: Duration) -> Reached<'a, S> {
        let (asked, reason, noted) = (OnceLock::new(), OnceLock::new(), Noted::default());
        Reached { server, clock, patience, asked, reason, has_answered: AtomicBool::new(false), noted }
    }

    /// The server itself, to be asked without the limit.
    pub fn server(&self) -> &'a S {
        self.server
    }

    /// Faults of records that were read.
    pub fn noted(&self) -> &Noted {
        &self.noted
    }

    /// Asks one question. The question's future is as large as the largest backend's, tens of kilobytes. It
    /// is boxed, so that the futures which contain it need not hold it and copy it when they are moved.
    async fn ask<T, F>(
        &self,
        within: Duration,
        question: impl FnOnce(Duration) -> F + Send,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send,
    {
        if self.has_answered.load(Ordering::Relaxed) {
            return Box::pin(question(within)).await;
        }
        let end = self.asked.get_or_init(|| self.clock.elapsed()).saturating_add(self.patience);
        let left = end.saturating_sub(self.clock.elapsed());
        match Box::pin(question(within.min(left))).await {
            Err(StoreError::Unavailable(text)) => {
                let reason = self.reason.get_or_init(|| text).clone();
                // The error class `Unusable` ends the repetitions: nobody asks an unusable server again.
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

    /// Asks a question again and again, until there is an answer, an error that will not pass, or no time
    /// left.
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

impl<S: Store> Reached<'_, S> {
    /// Reads, and insists on an answer. Faults of records are remembered for the log.
    ///
    /// # Errors
    /// The store's error.
    pub async fn look(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        let view = self.insist(within, |within| self.server.read(set, within)).await?;
        self.noted.note(&view);
        Ok(view)
    }
}

impl<S: Store> Store for Reached<'_, S> {
    type Watch = S::Watch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        let view = self.ask(within, |within| self.server.read(set, within)).await?;
        self.noted.note(&view);
        Ok(view)
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        Box::pin(self.server.commit(batch, within)).await
    }

    async fn watch(&self, scope: Scope) -> Result<S::Watch, StoreError> {
        self.server.watch(scope).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const SHORT: Duration = Duration::from_millis(60);
    const WITHIN: Duration = Duration::from_secs(20);

    /// A request that asks a server twice: what it was told, and how much time each question got.
    fn ask_twice(server: &Mutex<Vec<Duration>>, is_there: bool) -> Vec<Result<(), StoreError>> {
        let reached = Reached::new(server, Clock::start(), SHORT);
        let question = |within| async move {
            server.lock().unwrap().push(within);
            if !is_there {
                tokio::time::sleep(within).await;
                return Err(StoreError::Unavailable("nobody answers".to_string()));
            }
            Ok(())
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            vec![reached.ask(WITHIN, question).await, reached.ask(WITHIN, question).await]
        })
    }

    #[test]
    fn who_has_answered_has_all_the_time() {
        let given = Mutex::default();
        assert_eq!(ask_twice(&given, true), [Ok(()), Ok(())]);
        let given = given.into_inner().unwrap();
        assert!(given[0] <= SHORT && given[1] == WITHIN, "{given:?}");
    }

    /// A program that serves many requests has the patience anew in each: a server that was away may be back.
    #[test]
    fn each_request_has_its_own_patience() {
        let unusable = Err(StoreError::Unusable("nobody answers".to_string()));
        let given = Mutex::default();
        for _ in 0..2 {
            assert_eq!(ask_twice(&given, false), [unusable.clone(), unusable.clone()]);
        }
        assert_eq!(ask_twice(&given, true), [Ok(()), Ok(())]);
    }
}
