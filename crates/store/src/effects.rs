//! Time and chance.

use std::future::Future;
use std::time::Duration;

use api::Timestamp;

/// Time and chance, which whoever asks a store needs and planners must not have.
pub trait Effects: Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// Time since some fixed moment; never goes back.
    fn elapsed(&self) -> Duration;
    /// A fresh random number.
    fn seed(&self) -> u64;
    /// Waits.
    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send;

    /// Who wants to know what operations meet; nobody, unless it is said who. Where nobody does, nothing is
    /// measured.
    fn observer(&self) -> Option<&dyn Observer> {
        None
    }
}

/// Who wants to know what operations meet, to make metrics of it.
pub trait Observer: Send + Sync {
    /// Takes note of one more.
    fn note(&self, met: Met);
}

/// What an operation met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Met {
    /// An attempt begins.
    Attempt {
        /// Whether with a view that was kept, not read for it.
        is_warm: bool,
    },
    /// Something was read, or could not be.
    Fetch {
        /// How long that took.
        took: Duration,
        /// Whether the store answered.
        is_answered: bool,
    },
    /// A batch was applied, or not all of it, or it is not known.
    Commit {
        /// How long that took.
        took: Duration,
        /// Whether all of it is applied.
        is_applied: bool,
    },
    /// Another writer was faster: a write was refused, or a guard did not hold.
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
    },
}
