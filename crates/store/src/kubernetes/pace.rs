//! A limit on the requests of one process.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The longest wait that [`Pace::take`] gives.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A token bucket: it is filled at a rate, up to a size, and each request takes one token.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: f64,
    size: f64,
    /// The tokens in the bucket, and the time of that count. Negative where requests have taken tokens in
    /// advance.
    state: Mutex<(f64, Instant)>,
}

impl Pace {
    pub(super) fn new(per_second: f32, size: u32) -> Pace {
        let size = f64::from(size.max(1));
        Pace { per_second: f64::from(per_second), size, state: Mutex::new((size, Instant::now())) }
    }

    /// Takes a token. Gives how long to wait before the request may be sent.
    pub(super) fn take(&self, now: Instant) -> Duration {
        // A panic while the lock is held cannot leave the state half changed.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = now.saturating_duration_since(state.1).as_secs_f64() * self.per_second;
        *state = ((state.0 + gained).min(self.size) - 1.0, now);
        if state.0 >= 0.0 {
            return Duration::ZERO;
        }
        // At a rate near 0 the wait would be longer than a `Duration` can hold.
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
