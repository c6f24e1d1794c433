//! The real clock and the system's randomness.

use std::time::{Duration, Instant};

/// The real clock and the system's randomness. All other code gets times and seeds as arguments.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose [`Clock::elapsed`] counts from now.
    #[allow(clippy::disallowed_methods, reason = "this is the clock's one home")]
    pub fn start() -> Clock {
        Clock { start: Instant::now() }
    }

    /// The present time of the wall clock.
    pub fn now(&self) -> api::Timestamp {
        api::Timestamp::now()
    }

    /// The time since [`Clock::start`]; it never goes back.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// A random number from the system. Identities are made of it, too. Where the system gives none, a
    /// generator that is seeded from the process's time and thread gives it.
    pub fn seed(&self) -> u64 {
        getrandom::u64().unwrap_or_else(|_| fastrand::u64(..))
    }
}

impl store::Effects for Clock {
    fn now(&self) -> api::Timestamp {
        Clock::now(self)
    }

    fn elapsed(&self) -> Duration {
        Clock::elapsed(self)
    }

    fn seed(&self) -> u64 {
        Clock::seed(self)
    }

    // The timer is made when the future runs: it can be made only within a runtime, and callers block on it.
    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_forward_and_does_not_repeat() {
        let clock = Clock::start();
        let before = clock.elapsed();
        assert!(clock.elapsed() >= before);
        assert_ne!(clock.seed(), clock.seed());
    }
}
