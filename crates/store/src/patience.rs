//! How long a call to a store on the network may take.

use std::time::Duration;

use tokio::time::Instant;

/// The longest call where silence ends calls: nobody waits so long.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What ends a call: the time that its caller gives; or, where a length is set, silence of that length. A
/// call whose requests are answered, or whose answer goes on arriving, then takes as long as it takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience(pub(crate) Option<Duration>);

impl Patience {
    /// When a call has to end at the latest. `within` is the time that its caller gives.
    pub(crate) fn end_of_call(self, within: Duration) -> Instant {
        Instant::now() + if self.0.is_some() { LONGEST } else { within }
    }

    /// Until when a server may be silent from now on. `deadline` is the end of the call.
    pub(crate) fn end_of_silence(self, deadline: Instant) -> Instant {
        self.0.map_or(deadline, |silence| deadline.min(Instant::now() + silence))
    }
}
