//! What does not hold.

use std::fmt;
use std::net::IpAddr;

use api::{BlockCidr, HandleId, Key, Kind, Owner};

use super::snapshot::capacity::{BlockFault, Counts};

/// An invariant that does not hold, and for what. [`Violation::key`] gives the record to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// A record, or a part of it, cannot be read.
    Unreadable {
        /// The record; `None` for something in a store that has no key of a record.
        key: Option<Key>,
        /// The record as messages name it.
        record: String,
        /// The field; empty where the fault is not one field's.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A block's parts contradict each other.
    Block {
        /// The block.
        block: BlockCidr,
        /// The contradiction.
        fault: BlockFault,
    },
    /// An address is held in two blocks.
    TwoOwners {
        /// The first such address of the two blocks.
        addr: IpAddr,
        /// How many such addresses the two blocks have.
        count: u32,
        /// A block that holds the address.
        block: BlockCidr,
        /// The other block, which contains the first.
        other: BlockCidr,
    },
    /// A block lies in another one, or is stored twice.
    Overlap {
        /// The block.
        block: BlockCidr,
        /// The smallest other block that contains it.
        other: BlockCidr,
    },
    /// A handle's count is not what a block holds for it.
    Handle {
        /// The handle.
        handle: HandleId,
        /// The block.
        block: BlockCidr,
        /// What the handle counts; `None` where the handle has no record.
        counted: Option<u32>,
        /// What the block holds.
        held: u32,
    },
    /// A handle is stored that counts nothing.
    EmptyHandle(HandleId),
    /// A confirmed affinity disagrees with its block.
    Affinity {
        /// The affinity's owner.
        owner: Owner,
        /// The affinity's block.
        block: BlockCidr,
        /// How they disagree.
        found: Disagreement,
    },
    /// A block is affine to an owner who has no affinity to it.
    LostBlock {
        /// The block.
        block: BlockCidr,
        /// The owner.
        owner: Owner,
    },
    /// Two pools overlap.
    PoolOverlap {
        /// A pool.
        pool: String,
        /// The other pool.
        other: String,
    },
    /// A block is none of those into which its pool is divided.
    NoBlockOfPool {
        /// The block.
        block: BlockCidr,
        /// The pool.
        pool: String,
        /// The prefix length of the pool's blocks.
        block_size: u8,
    },
    /// A request took an address that no pool allowed it at any time between its start and that write.
    NotAllowed {
        /// The address.
        addr: IpAddr,
        /// The block.
        block: BlockCidr,
        /// The handle of the address, where it has one.
        handle: Option<HandleId>,
        /// The host that asked.
        host: String,
    },
    /// A request freed an address that it did not mean.
    FreedAnothers {
        /// The address.
        addr: IpAddr,
        /// The block.
        block: BlockCidr,
        /// Whose the address was, where it had a handle.
        handle: Option<HandleId>,
        /// The sequence number with which it had been assigned.
        sequence: u64,
        /// What the request meant: the sequence number that it named, or at which it had tried before.
        meant: Option<u64>,
    },
    /// An address that was acknowledged is not held.
    Lost {
        /// The address.
        addr: IpAddr,
        /// The handle that was answered.
        handle: HandleId,
        /// Who holds the address now; `None` for nobody.
        holder: Option<String>,
    },
    /// A request failed, and its handle holds something all the same.
    HeldAfterFailure {
        /// The handle.
        handle: HandleId,
        /// A block that holds addresses for the handle, or in which the handle counts some.
        block: BlockCidr,
        /// How many addresses the block holds for the handle.
        held: u32,
        /// How many addresses of the block the handle counts.
        counted: u32,
    },
    /// A write was acknowledged, and the record is not as that or a later write left it.
    WriteLost(Key),
    /// A request got too few addresses, although this one could have been had all the time.
    Overlooked {
        /// The address.
        addr: IpAddr,
        /// How many such addresses there are.
        count: u32,
        /// The pool.
        pool: String,
        /// The host that asked.
        host: String,
    },
}

/// How a confirmed affinity disagrees with its block.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disagreement {
    /// There is no such block.
    NoBlock,
    /// The block has no owner.
    Nobodys,
    /// The block has another owner.
    Anothers(Owner),
}

impl Violation {
    /// The record that violates the invariant; `None` for something in a store that is no record.
    pub fn key(&self) -> Option<Key> {
        Some(match self {
            Violation::Unreadable { key, .. } => return key.clone(),
            Violation::Block { block, .. }
            | Violation::TwoOwners { block, .. }
            | Violation::Overlap { block, .. }
            | Violation::LostBlock { block, .. }
            | Violation::NoBlockOfPool { block, .. }
            | Violation::NotAllowed { block, .. }
            | Violation::FreedAnothers { block, .. } => Key::Block(*block),
            Violation::Handle { handle, .. }
            | Violation::EmptyHandle(handle)
            | Violation::Lost { handle, .. }
            | Violation::HeldAfterFailure { handle, .. } => Key::Handle(handle.clone()),
            Violation::Affinity { owner, block, .. } => Key::Affinity { owner: owner.clone(), block: *block },
            Violation::PoolOverlap { pool, .. } | Violation::Overlooked { pool, .. } => {
                Key::global(Kind::IPPool, pool.as_str())
            }
            Violation::WriteLost(key) => key.clone(),
        })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.key()) {
            (Violation::Unreadable { record, .. }, _) => write!(f, "{record}: ")?,
            (_, Some(key)) => write!(f, "{key}: ")?,
            (_, None) => {}
        }
        match self {
            Violation::Unreadable { field, reason, .. } if field.is_empty() => f.write_str(reason),
            Violation::Unreadable { field, reason, .. } => write!(f, "{field}: {reason}"),
            Violation::Block { fault: BlockFault::Sum(counts), .. } => {
                let Counts { allocated, cooling, reserved, free, capacity } = counts;
                let sum = counts.sum();
                write!(
                    f,
                    "allocated {allocated} + cooling {cooling} + reserved {reserved} + free {free} = {sum}, \
                     but the block has {capacity} addresses"
                )
            }
            Violation::Block { fault, .. } => fault.fmt(f),
            Violation::TwoOwners { addr, count, other, .. } => {
                write!(f, "{addr} is also held in block {other}{}", more(*count))
            }
            Violation::Overlap { block, other } if block == other => f.write_str("is stored twice"),
            Violation::Overlap { other, .. } => write!(f, "overlaps block {other}"),
            Violation::Handle { block, counted: Some(counted), held, .. } => {
                write!(f, "counts {counted} addresses of block {block}, which holds {held}")
            }
            Violation::Handle { block, counted: None, held, .. } => {
                write!(f, "does not exist, but block {block} holds {held} addresses for it")
            }
            Violation::EmptyHandle(_) => f.write_str("counts no addresses"),
            Violation::Affinity { found, .. } => match found {
                Disagreement::NoBlock => f.write_str("is confirmed, but there is no such block"),
                Disagreement::Nobodys => f.write_str("is confirmed, but the block is nobody's"),
                Disagreement::Anothers(other) => {
                    write!(f, "is confirmed, but the block is affine to {other}")
                }
            },
            Violation::LostBlock { owner, .. } => {
                write!(f, "is affine to {owner}, who has no affinity to it")
            }
            Violation::PoolOverlap { other, .. } => write!(f, "overlaps IPPool({other})"),
            Violation::NoBlockOfPool { pool, block_size, .. } => {
                write!(f, "is no block of IPPool({pool}), whose blocks are /{block_size}")
            }
            Violation::NotAllowed { addr, handle, host, .. } => {
                write!(f, "{addr} was assigned to {}, but no pool allowed host {host} that", name(handle))
            }
            Violation::FreedAnothers { addr, handle, sequence, meant, .. } => {
                write!(f, "{addr} of {} with sequence number {sequence} was released", name(handle))?;
                match meant {
                    Some(meant) => write!(f, ", but number {meant} was meant"),
                    None => f.write_str(" by a request that did not mean it"),
                }
            }
            Violation::Lost { addr, holder, .. } => match holder {
                Some(holder) => write!(f, "was answered {addr}, which '{holder}' holds"),
                None => write!(f, "was answered {addr}, which nobody holds"),
            },
            Violation::HeldAfterFailure { block, held, counted, .. } => {
                write!(
                    f,
                    "its request failed, but block {block} holds {held} addresses and it counts {counted}"
                )
            }
            Violation::WriteLost(_) => {
                f.write_str("is not as the last acknowledged write, or a later one, left it")
            }
            Violation::Overlooked { addr, count, host, .. } => {
                write!(f, "host {host} got too few addresses, but {addr} was free{}", more(*count))
            }
        }
    }
}

fn more(count: u32) -> String {
    if count > 1 { format!(", and {} more", count - 1) } else { String::new() }
}

fn name(handle: &Option<HandleId>) -> String {
    handle.as_ref().map_or_else(|| "no handle".to_string(), |id| format!("handle {id}"))
}
