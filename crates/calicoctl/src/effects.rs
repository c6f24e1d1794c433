//! The real clock and real randomness, as the libraries ask for them.

use std::time::Duration;

use setup::Clock;

/// The world outside of this process.
#[derive(Clone, Copy, Debug)]
pub struct SystemEffects(pub Clock);

impl ipam::Effects for SystemEffects {
    fn now(&self) -> api::Timestamp {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn seed(&self) -> u64 {
        self.0.seed()
    }

    fn sleep(&self, time: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(time)
    }
}

impl resources::Effects for SystemEffects {
    fn uuid(&self) -> String {
        self.0.uuid()
    }
}
