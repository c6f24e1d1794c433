//! Allocated + cooling + reserved + free = capacity, in every block: each address is one of these, and the
//! queue of free addresses agrees with the allocations.

use std::fmt;

use api::{Block, Timestamp};

use crate::invariants::Violation;

/// What the addresses of a block are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counts {
    /// Addresses that somebody holds.
    pub allocated: u32,
    /// Addresses that were released and whose cooldown is not over.
    pub cooling: u32,
    /// Addresses that a Windows host keeps for itself.
    pub reserved: u32,
    /// Addresses in the queue. (Those that an IPReservation keeps back are among them.)
    pub free: u32,
    /// All addresses.
    pub capacity: u32,
}

impl Counts {
    /// The counts of a block: the first three by its allocations, `free` by its queue.
    pub fn of(block: &Block) -> Counts {
        let (free, capacity) = (block.unallocated.len() as u32, block.cidr.size());
        let mut counts = Counts { free, capacity, ..Counts::default() };
        for ordinal in 0..block.allocations.len() as u32 {
            match block.attribute(ordinal) {
                Some(attribute) if attribute.released_at.is_some() => counts.cooling += 1,
                _ if super::is_held(block, ordinal) => counts.allocated += 1,
                Some(_) => counts.reserved += 1,
                None => {}
            }
        }
        counts
    }

    /// What has to be the capacity.
    pub fn sum(&self) -> u64 {
        [self.allocated, self.cooling, self.reserved, self.free].into_iter().map(u64::from).sum()
    }
}

/// A contradiction between the parts of a block. Its text is Calico's
/// (`calicoctl/calicoctl/commands/ipam/check.go`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BlockFault {
    /// An allocation points to an attribute that is not there.
    NoAttribute {
        /// The address.
        ordinal: u32,
        /// Where the allocation points.
        index: u32,
    },
    /// No allocation points to an attribute.
    UnusedAttribute {
        /// The attribute.
        index: u32,
    },
    /// An address was released in the future.
    ReleasedLater {
        /// The attribute.
        index: u32,
        /// The time of the release.
        released: Timestamp,
    },
    /// The queue names an address outside of the block.
    OutOfBlock {
        /// The address.
        ordinal: u32,
    },
    /// The queue names an address more than once.
    QueuedTwice {
        /// The address.
        ordinal: u32,
    },
    /// The queue names an address that is in use.
    QueuedInUse {
        /// The address.
        ordinal: u32,
    },
    /// There are more or fewer addresses than the block has.
    Sum(Counts),
}

impl fmt::Display for BlockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlockFault::NoAttribute { ordinal, index } => {
                write!(f, "allocation {ordinal} indexes a nonexistent attribute {index}")
            }
            BlockFault::UnusedAttribute { index } => {
                write!(f, "attribute index {index} exists but is not indexed by an allocation")
            }
            BlockFault::ReleasedLater { index, .. } => {
                write!(f, "attribute index {index} has releasedAt in the future, suggesting clock skew")
            }
            BlockFault::OutOfBlock { ordinal } => {
                write!(f, "ordinal {ordinal} appears in the Unallocated array but is out of the block")
            }
            BlockFault::QueuedTwice { ordinal } => {
                write!(f, "ordinal {ordinal} appears more than once in Unallocated array")
            }
            BlockFault::QueuedInUse { ordinal } => {
                write!(f, "ordinal {ordinal} is allocated but appears in Unallocated")
            }
            BlockFault::Sum(counts) => {
                let (free, capacity) = (counts.free, counts.capacity);
                let allocated = counts.sum() - u64::from(free);
                write!(
                    f,
                    "expected {capacity} addresses in this block, but \
                     Unallocated ({free}) + Allocated ({allocated}) = {}",
                    counts.sum()
                )
            }
        }
    }
}

pub(super) fn check(block: &Block, now: Option<Timestamp>, tell: &mut impl FnMut(Violation)) {
    let faults = check_block(block, now).into_iter();
    faults.for_each(|fault| tell(Violation::Block { block: block.cidr, fault }));
}

/// What is wrong with a block by itself, in the order in which Calico tells it. With `now`, a release in the
/// future is a fault.
pub fn check_block(block: &Block, now: Option<Timestamp>) -> Vec<BlockFault> {
    let mut faults = Vec::new();
    let mut is_used = vec![false; block.attributes.len()];
    for (ordinal, index) in (0..).zip(&block.allocations) {
        let Some(index) = *index else { continue };
        match is_used.get_mut(index as usize) {
            Some(used) => *used = true,
            None => faults.push(BlockFault::NoAttribute { ordinal, index }),
        }
    }
    for (index, attribute) in (0..).zip(&block.attributes) {
        if !is_used[index as usize] {
            faults.push(BlockFault::UnusedAttribute { index });
        }
        if let (Some(released), Some(now)) = (attribute.released_at, now)
            && released > now
        {
            faults.push(BlockFault::ReleasedLater { index, released });
        }
    }
    let mut is_free = vec![false; block.cidr.size() as usize];
    for ordinal in block.unallocated.iter().copied() {
        match is_free.get_mut(ordinal as usize) {
            None => faults.push(BlockFault::OutOfBlock { ordinal }),
            Some(free) if *free => faults.push(BlockFault::QueuedTwice { ordinal }),
            Some(free) => *free = true,
        }
        if matches!(block.allocations.get(ordinal as usize), Some(Some(_))) {
            faults.push(BlockFault::QueuedInUse { ordinal });
        }
    }
    let counts = Counts::of(block);
    if counts.sum() != u64::from(counts.capacity) {
        faults.push(BlockFault::Sum(counts));
    }
    faults
}
