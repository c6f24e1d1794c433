//! The memory of a request over its attempts: what it wrote, what it may have written, and what it counts in handles. Every planner that may be tried again
//! remembers by these, so that none forgets a write in doubt or takes another's for its own.

mod counts;
mod writes;

pub use counts::Tally;
pub(crate) use writes::Writes;
