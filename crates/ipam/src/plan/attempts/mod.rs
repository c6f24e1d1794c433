//! A request's memory over its attempts: what it wrote, what it may have written, and what it has counted in
//! handles. Every planner that may be tried again uses this memory, so that no planner forgets a write in
//! doubt, or takes another request's write for its own.

mod counts;
mod writes;

use api::{Block, Key, Value};
use store::{Batch, Expect};

use crate::block;

pub use counts::Tally;
pub(crate) use writes::Writes;

/// Adds a fence: the write of a block as it is stored, with its sequence number raised. After it, no earlier
/// write of the block can be applied. Gives the index of the write.
pub(crate) fn fence(batch: &mut Batch, stored: &Block, expect: Expect) -> usize {
    let mut fenced = stored.clone();
    block::bump(&mut fenced);
    batch.put(Key::Block(stored.cidr), expect, Value::Block(fenced))
}
