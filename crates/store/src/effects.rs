//! Time and randomness.

use std::future::Future;
use std::time::Duration;

use api::Timestamp;

/// Time and randomness. Callers of a store need them; planners must not use them, so that planning is
/// repeatable.
pub trait Effects: Send + Sync {
    /// The time of the wall clock.
    fn now(&self) -> Timestamp;
    /// The time since some fixed moment. It never goes back.
    fn elapsed(&self) -> Duration;
    /// A fresh random number.
    fn seed(&self) -> u64;
    /// Waits for that time.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// Receives the events of operations. By default there is no observer, and then no durations are
    /// measured.
    fn observer(&self) -> Option<&dyn Observer> {
        None
    }
}

/// Receives the events of operations, for example to make metrics.
pub trait Observer: Send + Sync {
    /// Receives one event.
    fn note(&self, met: Met);
}

/// An event of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Met {
    /// An attempt begins.
    Attempt {
        /// Whether the attempt uses a view that was kept from earlier, and not one that was read for it.
        is_warm: bool,
    },
    /// A read has ended.
    Fetch {
        /// How long the read took.
        took: Duration,
        /// Whether the store answered.
        is_answered: bool,
    },
    /// A commit has ended.
    Commit {
        /// How long the commit took.
        took: Duration,
        /// Whether all of the batch is known to be applied.
        is_applied: bool,
    },
    /// Another writer came first: a write was refused, or a guard did not hold.
    Conflict,
    /// The store refuses a write for good.
    Refusal,
    /// A write may have been applied, or not.
    Doubt,
    /// The operation is over.
    End {
        /// How long it took, what it took back included.
        took: Duration,
        /// Whether it gave an answer.
        is_answered: bool,
        /// Whether it could not take back everything that a failed operation has written. The rest is left
        /// for a release of the handle, or for the garbage collection.
        has_left: bool,
    },
}
