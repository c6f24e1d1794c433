//! Tools for tests: the suite that every backend must pass, and wrappers that count calls or make them fail.

mod beside;
pub mod conformance;
pub mod counting;
pub mod fault;
mod silent;

pub use beside::program_beside;
pub use conformance::{Backend, Promises};
pub use counting::{Counting, Counts, RecordType};
#[cfg(feature = "etcd")]
pub use etcd_client;
pub use fault::{Chances, CommitFault, FaultPlan, Faulty, Stale, Step};
pub use silent::SilentStore;
