//! What must hold: one definition of "consistent" for tests, simulations, `calicoctl ipam check` and whatever
//! collects what leaked. Each invariant has a file, and there are two lists of them.
//!
//! Of a [`Snapshot`], which is fed the records of a cluster one by one:
//!
//! | file | what holds |
//! |---|---|
//! | `readable` | nothing is unreadable |
//! | `capacity` | allocated + cooling + reserved + free = capacity, in every block |
//! | `one_owner` | an address has one owner |
//! | `overlaps` | blocks do not overlap |
//! | `handles` | handles agree with blocks: never too low, and exact at rest |
//! | `affinities` | a block has one confirmed affinity, its owner's |
//! | `places` | an allocation lies in a block and in a pool that exist, or is told as an orphan |
//!
//! Of a [`History`], which is fed what happened to a cluster, in order:
//!
//! | file | what holds |
//! |---|---|
//! | `allowed` | an allocation lay in a pool that allowed it when it was made |
//! | `stale` | a stale release frees nothing newer |
//! | `durable` | acknowledged means durable, and failed means that nothing is held after healing |
//! | `found` | a free address that the rules allow is found |
//!
//! Every prefix of every batch of ours leaves the first list true. Data of other programs, and damaged data,
//! may violate it. The planners cope with such data: none of them needs these invariants to hold.

mod history;
mod snapshot;
mod violation;

pub use history::{Answer, Event, History, Request, RequestId};
pub use snapshot::capacity::{BlockFault, Counts, check_block};
pub use snapshot::{Moment, Names, Orphan, Snapshot, check, check_at_rest};
pub use violation::{Disagreement, Violation};
