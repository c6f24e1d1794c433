//! The real clock and real randomness.

use std::time::{Duration, Instant};

/// The real clock, and real randomness. Everything else takes what it needs of these as arguments.
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

    /// The wall clock.
    pub fn now(&self) -> api::Timestamp {
        api::Timestamp::now()
    }

    /// Time since the start; never goes back.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// A fresh random number, another one in every process.
    pub fn seed(&self) -> u64 {
        fastrand::u64(..)
    }

    /// A fresh random UUID (version 4), in the lower-case form with dashes.
    pub fn uuid(&self) -> String {
        uuid::Uuid::new_v4().to_string()
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
        let uuid = clock.uuid();
        assert_eq!((uuid.len(), uuid.as_bytes()[14]), (36, b'4'), "{uuid}");
    }
}
