//! Checks what must hold of stored data, over a plain snapshot; each property has a file. Tests, simulations
//! and `calicoctl ipam check` share this one definition of "consistent".
//!
//! Every prefix of every batch of ours leaves all properties true. Data of other programs, and damaged data,
//! may violate them. The planners cope with such data: none of them needs these properties to hold.

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
    /// No address is in two blocks.
    Overlap,
    /// A handle counts at least what blocks hold for it.
    Handle,
    /// An affinity agrees with its block, or is in transition.
    Affinity,
    /// A block is one of those into which its pool is divided, and pools do not overlap.
    Pool,
}

/// A property that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The property.
    pub property: Property,
    /// The record that violates the property.
    pub key: Key,
    /// What is wrong, for messages.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

/// The records of a snapshot, by type.
struct Snapshot<'a> {
    blocks: Vec<&'a Block>,
    affinities: Vec<(&'a Owner, BlockCidr, &'a Affinity)>,
    handles: Vec<(&'a HandleId, &'a Handle)>,
    pools: Vec<&'a Arc<Pool>>,
    /// The present time, to recognise a release in the future; `None` where it is not known.
    now: Option<Timestamp>,
}

/// Checks all properties of a snapshot: a list of all blocks, affinities, handles and pools of a store.
/// Violations are ordered by property, then by record. With `now`, a release in the future is a violation.
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

/// What is wrong with a block by itself, in Calico's words (`calicoctl/calicoctl/commands/ipam/check.go`).
pub fn check_block(block: &Block, now: Option<Timestamp>) -> Vec<String> {
    blocks::faults(block, now)
}

#[cfg(test)]
mod tests;
