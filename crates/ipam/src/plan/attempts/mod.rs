//! The memory of a request over its attempts: what it wrote, what it may have written, and what it counts in handles. Every planner that may be tried again
//! remembers by these, so that none forgets a write in doubt or takes another's for its own.

mod counts;
mod writes;

use api::{Block, Key, Value};
use store::{Batch, Expect};

use crate::block;

pub use counts::Tally;
pub(crate) use writes::Writes;

/// Writes a fence: a block as it is stored, with its sequence number raised, so that no earlier write of it can be applied any more. Tells the index of the write.
pub(crate) fn fence(batch: &mut Batch, stored: &Block, expect: Expect) -> usize {
    let mut fenced = stored.clone();
    block::bump(&mut fenced);
    batch.put(Key::Block(stored.cidr), expect, Value::Block(fenced))
}
