//! Time that the simulation moves, and clocks that are wrong about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use api::Timestamp;
use store::{Effects, Met, Observer};

use crate::chance::{STEP, mixed};
use crate::give_way;
use crate::tape::Recorder;

/// The wall clock of somebody. All clocks share the time, which moves a little whenever it is asked for, and
/// as far as somebody sleeps.
#[derive(Clone, Debug)]
pub struct Clock {
    time: Arc<Time>,
    /// By how many seconds the wall clock is fast.
    skew: i64,
    recorder: Recorder,
}

#[derive(Debug)]
struct Time {
    nanos: AtomicU64,
    drawn: AtomicU64,
    /// Whether a failed request could not take back everything.
    has_left: AtomicBool,
}

/// When simulations begin, in seconds.
const BEGIN: u64 = 1_785_578_400;

impl Clock {
    /// A clock that is right.
    pub fn new(seed: u64, recorder: Recorder) -> Clock {
        let time = Time {
            nanos: AtomicU64::new(BEGIN * 1_000_000_000),
            drawn: AtomicU64::new(seed),
            has_left: AtomicBool::new(false),
        };
        Clock { time: Arc::new(time), skew: 0, recorder }
    }

    /// The clock of somebody else, which is fast by so many seconds.
    pub fn fast_by(&self, skew: i64) -> Clock {
        Clock { skew, ..self.clone() }
    }

    /// Whether a failed request could not take back everything that it had written.
    pub fn has_left(&self) -> bool {
        self.time.has_left.load(Ordering::Relaxed)
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        self.time.nanos.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    fn nanos(&self) -> u64 {
        self.time.nanos.fetch_add(1_000, Ordering::Relaxed)
    }
}

impl Effects for Clock {
    fn now(&self) -> Timestamp {
        let nanos = i128::from(self.nanos()) + i128::from(self.skew) * 1_000_000_000;
        Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    fn seed(&self) -> u64 {
        self.recorder.draw(|| mixed(self.time.drawn.fetch_add(STEP, Ordering::Relaxed)))
    }

    async fn sleep(&self, time: Duration) {
        self.advance(time);
        give_way().await;
    }

    fn observer(&self) -> Option<&dyn Observer> {
        Some(&*self.time)
    }
}

impl Observer for Time {
    fn note(&self, met: Met) {
        if let Met::End { has_left: true, .. } = met {
            self.has_left.store(true, Ordering::Relaxed);
        }
    }
}
