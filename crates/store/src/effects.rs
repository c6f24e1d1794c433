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
}
