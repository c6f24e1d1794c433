//! A limit on requests of one process.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The longest wait that is told.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A bucket of permissions: filled at a rate, up to a size.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: f64,
    size: f64,
    /// What was in the bucket at that time; negative where permissions to come are promised already.
    state: Mutex<(f64, Instant)>,
}

impl Pace {
    pub(super) fn new(per_second: f32, size: u32) -> Pace {
        let size = f64::from(size.max(1));
        Pace { per_second: f64::from(per_second), size, state: Mutex::new((size, Instant::now())) }
    }

    /// Takes a permission; tells how long to wait until it holds.
    pub(super) fn take(&self, now: Instant) -> Duration {
        // A panic while the lock is held can only come between whole changes.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = now.saturating_duration_since(state.1).as_secs_f64() * self.per_second;
        *state = ((state.0 + gained).min(self.size) - 1.0, now);
        if state.0 >= 0.0 {
            return Duration::ZERO;
        }
        // A rate of next to nothing waits for longer than can be computed with.
        Duration::try_from_secs_f64(-state.0 / self.per_second).unwrap_or(LONGEST).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_a_rate() {
        let pace = Pace::new(10.0, 3);
        let start = Instant::now();
        let waits: Vec<u128> = (0..5).map(|_| pace.take(start).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 100, 200]);
        assert_eq!(pace.take(start + Duration::from_secs(60)), Duration::ZERO);
    }

    #[test]
    fn a_rate_of_next_to_nothing() {
        for rate in [f32::MIN_POSITIVE, 1e-30] {
            let pace = Pace::new(rate, 1);
            let waits = [Instant::now(); 3].map(|now| pace.take(now));
            assert_eq!(waits, [Duration::ZERO, LONGEST, LONGEST]);
        }
    }
}
