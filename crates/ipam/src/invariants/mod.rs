//! What must hold of stored data, one file a property, over a plain snapshot. One definition of "consistent" for tests, simulations and
//! `calicoctl ipam check`.
//!
//! Every prefix of every batch of ours leaves all of these true. Data that others wrote, or that a fault damaged, may break them; the planners are careful
//! with such data, and nothing here is needed for them to work.

use std::fmt;
use std::sync::Arc;

use api::{Affinity, Block, BlockCidr, Handle, HandleId, Key, Owner, Pool, Record, Timestamp};

mod affinities;
mod blocks;
mod handles;
mod overlaps;
mod pools;

/// A property of stored data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Property {
    /// A block is well formed.
    Block,
    /// No address lies in two blocks.
    Overlap,
    /// A handle counts at least what blocks hold for it.
    Handle,
    /// An affinity agrees with its block, or is on its way in or out.
    Affinity,
    /// A block is one of those that its pool is divided into, and pools do not overlap.
    Pool,
}

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Which.
    pub property: Property,
    /// Of which record.
    pub key: Key,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

/// A snapshot, taken apart.
struct Snapshot<'a> {
    blocks: Vec<&'a Block>,
    affinities: Vec<(&'a Owner, BlockCidr, &'a Affinity)>,
    handles: Vec<(&'a HandleId, &'a Handle)>,
    pools: Vec<&'a Arc<Pool>>,
    /// For telling a future release from a past one, where known.
    now: Option<Timestamp>,
}

/// Checks all properties of a snapshot: a list of all blocks, affinities, handles and pools of a store. Violations come in the order of the properties, then of
/// the records. With `now`, addresses that were released in the future count as wrong.
pub fn check(records: &[Arc<Record>], now: Option<Timestamp>) -> Vec<Violation> {
    let mut snapshot =
        Snapshot { blocks: Vec::new(), affinities: Vec::new(), handles: Vec::new(), pools: Vec::new(), now };
    for record in records {
        if let Some(block) = record.block() {
            snapshot.blocks.push(block);
        } else if let (Key::Affinity { owner, block }, Some(affinity)) = (&record.key, record.affinity()) {
            snapshot.affinities.push((owner, *block, affinity));
        } else if let (Key::Handle(id), Some(handle)) = (&record.key, record.handle()) {
            snapshot.handles.push((id, handle));
        } else if let Some(Ok(pool)) = record.resource().map(|resource| resource.as_pool()) {
            snapshot.pools.push(pool);
        }
    }
    let mut violations = Vec::new();
    for property in [blocks::check, overlaps::check, handles::check, affinities::check, pools::check] {
        property(&snapshot, &mut violations);
    }
    violations
}

/// What is wrong with a block alone, in Calico's words (`calicoctl/calicoctl/commands/ipam/check.go`).
pub fn check_block(block: &Block, now: Option<Timestamp>) -> Vec<String> {
    blocks::faults(block, now)
}

#[cfg(test)]
mod tests;
