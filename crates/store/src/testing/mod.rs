//! Tools for tests: what every backend must pass, and wrappers that count and that break things.

mod beside;
pub mod conformance;
pub mod counting;
pub mod etcd_server;
pub mod fault;
pub mod kube_server;
pub mod proxy;
mod silent;

pub use beside::program_beside;
pub use conformance::{Backend, Promises};
pub use counting::{Counting, Counts, RecordType};
pub use fault::{Chances, CommitFault, Faulty, Plan, Stale, Step};
pub use silent::Silent;
