//! When the plugins' token is renewed.

use std::time::Duration;

/// The shortest pause before another try.
const SHORTEST: Duration = Duration::from_secs(5);
/// The longest pause after failures.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// When the plugins' token is renewed: after a quarter of its life and up to as much again, so that the nodes
/// of a cluster do not ask all at once, and three more tries that fail still leave a token that is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Renewal {
    failures: u32,
}

impl Renewal {
    /// How long to wait after a token that will live for `life` was written. `seed` is any random number.
    pub fn succeeded(&mut self, life: Duration, seed: u64) -> Duration {
        self.failures = 0;
        let quarter = life / 4;
        // The seed's upper half, as a fraction of a quarter.
        let jitter = (quarter.as_nanos() * u128::from(seed >> 32)) >> 32;
        let jitter = Duration::from_nanos(u64::try_from(jitter).unwrap_or(u64::MAX));
        (quarter + jitter).max(SHORTEST)
    }

    /// How long to wait after a failure: longer after each.
    pub fn failed(&mut self) -> Duration {
        let doubled = SHORTEST.saturating_mul(1 << self.failures.min(10));
        self.failures = self.failures.saturating_add(1);
        doubled.min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_long_before_its_end() {
        let day = Duration::from_secs(86_400);
        for seed in [0, 1, 1 << 40, u64::MAX / 2, u64::MAX] {
            let wait = Renewal::default().succeeded(day, seed);
            assert!(wait >= day / 4 && wait < day / 2, "{seed}: {wait:?}");
        }
        assert_ne!(Renewal::default().succeeded(day, 1 << 60), Renewal::default().succeeded(day, 1 << 62));
        assert_eq!(Renewal::default().succeeded(Duration::ZERO, 7), SHORTEST);
    }

    #[test]
    fn failures_are_tried_again_soon_and_then_less_often() {
        let mut renewal = Renewal::default();
        let waits: Vec<u64> = (0..9).map(|_| renewal.failed().as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        renewal.succeeded(Duration::from_secs(86_400), 0);
        assert_eq!(renewal.failed(), SHORTEST);
    }
}
