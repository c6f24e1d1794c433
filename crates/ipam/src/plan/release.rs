//! What releases have in common: the memory of what was given back, and the writing of blocks that addresses were taken out of.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::{Block, BlockCidr, HandleId, Key, Kind, Owner, Value};
use store::{Batch, Expect, ReadSet, View};

use crate::affinity;
use crate::block;
use crate::plan::attempts::Writes;
use crate::pools;

/// An address as it was assigned: another assignment of the same address has another sequence number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allocation {
    pub addr: IpAddr,
    pub handle: Option<HandleId>,
    pub sequence: u64,
}

impl Allocation {
    /// The allocation of an address that is in use.
    pub fn of(block: &Block, addr: IpAddr) -> Option<Allocation> {
        let ordinal = block.cidr.ordinal(addr)?;
        let attribute = block.attribute(ordinal).filter(|attribute| attribute.released_at.is_none())?;
        let handle = attribute.handle().and_then(HandleId::new);
        Some(Allocation { addr, handle, sequence: block.sequence_of(ordinal) })
    }
}

/// Allocations of a block that a write gives back.
#[derive(Clone, Debug)]
pub(crate) struct Returned {
    pub block: BlockCidr,
    pub allocations: Vec<Allocation>,
}

impl Returned {
    /// The handles that the addresses belonged to.
    pub fn handles(&self) -> BTreeSet<&HandleId> {
        self.allocations.iter().filter_map(|allocation| allocation.handle.as_ref()).collect()
    }
}

/// What a release gave back over its attempts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    writes: Writes<Returned>,
    done: Vec<Allocation>,
}

impl Memory {
    /// Notes what the batch at hand gives back, by the index of the write.
    pub fn plan(&mut self, returns: Vec<(usize, Returned)>) {
        self.writes.plan(returns);
    }

    /// Learns what came of it; gives the blocks of which something was given back for certain.
    pub fn observe(&mut self, report: &store::Report) -> Vec<Returned> {
        let applied = self.writes.observe(report);
        self.done.extend(applied.iter().flat_map(|returned| returned.allocations.clone()));
        applied
    }

    /// Blocks of which a write is in doubt: they are to be read in full, after the handle.
    pub fn in_doubt(&self) -> impl Iterator<Item = BlockCidr> {
        self.writes.in_doubt().iter().map(|returned| returned.block)
    }

    /// Whether a write that gives back addresses of a handle is in doubt.
    pub fn holds_in_doubt(&self, id: &HandleId) -> bool {
        self.writes.in_doubt().iter().any(|returned| returned.handles().contains(id))
    }

    /// Settles what was in doubt: what is not held any more has been given back; gives it. What is still held stays in doubt: the write may yet be applied, until
    /// somebody writes the block.
    pub fn settle(&mut self, view: &View) -> Vec<Returned> {
        let mut all_gone = Vec::new();
        for Returned { block, allocations } in self.writes.take_in_doubt() {
            let stored = view.block(block).flatten().map(|(stored, _)| stored);
            let is_held = |allocation: &Allocation| {
                stored.and_then(|stored| Allocation::of(stored, allocation.addr)).as_ref() == Some(allocation)
            };
            let (held, gone): (Vec<_>, Vec<_>) = allocations.into_iter().partition(is_held);
            if !held.is_empty() {
                self.writes.doubt(Returned { block, allocations: held });
            }
            if !gone.is_empty() {
                self.done.extend(gone.clone());
                all_gone.push(Returned { block, allocations: gone });
            }
        }
        all_gone
    }

    /// What is known to have been given back.
    pub fn done(&self) -> &[Allocation] {
        &self.done
    }
}

/// A block that addresses were released from, and how its record stands.
pub(crate) struct Changed {
    pub block: Block,
    pub expect: Expect,
}

impl Changed {
    /// The copy to change of a block that the view holds; `None` when it does not exist.
    pub fn of<'a>(
        view: &View,
        changed: &'a mut BTreeMap<BlockCidr, Changed>,
        cidr: BlockCidr,
    ) -> Option<&'a mut Changed> {
        let (stored, revision) = view.block(cidr)??;
        Some(
            changed
                .entry(cidr)
                .or_insert_with(|| Changed { block: stored.clone(), expect: Expect::at(revision) }),
        )
    }
}

/// Writes a block that addresses were released from: deleted when it is empty and nobody's, or empty and its owner's node is no longer selected;
/// else rewritten. Tells the index of the block's write.
///
/// # Errors
/// What must be read first.
pub(crate) fn write_back(
    batch: &mut Batch,
    view: &View,
    change: Changed,
    deselected: bool,
) -> Result<usize, ReadSet> {
    let Changed { mut block, expect } = change;
    let cidr = block.cidr;
    let empty = block::is_empty(&block);
    match block.owner() {
        None if empty && block.affinity.is_none() => Ok(batch.delete(Key::Block(cidr), expect)),
        Some(owner) if empty && deselected => {
            let key = Key::Affinity { owner: owner.clone(), block: cidr };
            if view.full(&key).is_none() {
                return Err(ReadSet::new().key(key));
            }
            let found = view.affinity(&owner, cidr).flatten();
            Ok(affinity::release(batch, &owner, found, block, expect))
        }
        _ => {
            block::bump(&mut block);
            Ok(batch.put(Key::Block(cidr), expect, Value::Block(block)))
        }
    }
}

/// The node that must be read to know whether an empty block is to be given up.
pub(crate) fn owner_node(view: &View, block: &Block) -> Option<Key> {
    let Some(Owner::Host(host)) = block.owner() else { return None };
    let key = Key::global(Kind::Node, host);
    (block::is_empty(block) && view.is_unread(&key)).then_some(key)
}

/// Whether the enabled pool of a block no longer selects the node that owns it. A node that does not exist, or a pool whose selector cannot be
/// read, decides nothing.
pub(crate) fn is_deselected(view: &View, block: &Block) -> bool {
    let Some(Owner::Host(host)) = block.owner() else { return false };
    let Some(Some((node, _))) = view.resource(&Key::global(Kind::Node, host)) else { return false };
    let pool = pools::enabled(view, block.cidr.family()).find(|p| p.cidr.contains(block.cidr.cidr().first()));
    pool.is_some_and(|pool| pools::selects_node(pool, &node.as_node().labels) == Some(false))
}
