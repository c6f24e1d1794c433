//! Many callers on one cluster, step by step. Every part of a read and every write is a step, and any caller
//! may be next; messages are lost, or land late; callers crash; clocks are wrong; a second writer does what
//! Calico does. The planners, and what the controllers decide, are those of production. After each step the
//! invariants of [`ipam::invariants`] are checked; at the end all faults end, and nothing may be left.
//!
//! Everything follows from a seed: nothing here knows the time or has any other effect.
//!
//! ```
//! let setup = simulator::Setup::of(7);
//! let scenario = simulator::Scenario::of(7, setup);
//! assert!(simulator::run(&scenario).is_ok());
//! ```

#![allow(clippy::unwrap_used, reason = "what a simulation does not expect is a fault that it has found")]

use std::future::Future;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

mod asks;
mod calico;
mod caller;
mod chance;
mod check;
mod clock;
mod cluster;
mod commit;
mod controllers;
mod heal;
mod late;
mod log;
mod names;
mod op;
mod perform;
mod pods;
mod run;
mod setup;
mod shrink;
mod tape;
mod witness;
mod world;

pub use asks::{AnswerOf, Asks, ErrorOf};
pub use chance::Chance;
pub use op::{Op, Scenario, Script};
pub use run::{Failure, Stats, run};
pub use setup::{Breach, Manner, Setup, Size};
pub use shrink::{Shrunk, shrink};
pub use witness::Witness;

/// How long a request may take.
pub const WITHIN: Duration = Duration::from_secs(90);

/// Lets others go on for a step.
pub async fn give_way() {
    let mut gave = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut gave, true) { Poll::Ready(()) } else { Poll::Pending })
        .await
}

/// Carries something out to its end while nobody else does anything. `None` where it does not end.
pub fn drive<T>(future: impl Future<Output = T>) -> Option<T> {
    const STEPS: u32 = 100_000;
    let mut future = std::pin::pin!(future);
    (0..STEPS).find_map(|_| match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    })
}
