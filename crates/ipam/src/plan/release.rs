//! What all releases share: the memory of what was given back, and the writes of blocks from which addresses
//! were released.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::{Block, BlockCidr, HandleId, Key, Kind, Owner, Value};
use store::{Batch, Expect, ReadSet, View};

use crate::affinity;
use crate::block;
use crate::plan::attempts::Writes;
use crate::pools;

/// One assignment of an address. A later assignment of the same address has another sequence number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub addr: IpAddr,
    pub handle: Option<HandleId>,
    pub sequence: u64,
}

impl Assignment {
    /// The present assignment of an address; `None` for an address that is not in use.
    pub fn of(block: &Block, addr: IpAddr) -> Option<Assignment> {
        let ordinal = block.cidr.ordinal(addr)?;
        let attribute = block.attribute(ordinal).filter(|attribute| attribute.released_at.is_none())?;
        let handle = attribute.handle().and_then(HandleId::new);
        Some(Assignment { addr, handle, sequence: block.sequence_of(ordinal) })
    }
}

/// The allocations of a block that one write gives back.
#[derive(Clone, Debug)]
pub(crate) struct Returned {
    pub block: BlockCidr,
    pub allocations: Vec<Assignment>,
}

impl Returned {
    /// The handles that hold the addresses.
    pub fn handles(&self) -> BTreeSet<&HandleId> {
        self.allocations.iter().filter_map(|allocation| allocation.handle.as_ref()).collect()
    }
}

/// What a release has given back in all its attempts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    writes: Writes<Returned>,
    done: Vec<Assignment>,
}

impl Memory {
    /// Remembers what the batch that is about to be committed gives back, with the indexes of its writes.
    pub fn plan(&mut self, returns: Vec<(usize, Returned)>) {
        self.writes.plan(returns);
    }

    /// Takes in the report of that batch. Gives what was certainly given back.
    pub fn observe(&mut self, report: &store::Report) -> Vec<Returned> {
        let applied = self.writes.observe(report);
        self.done.extend(applied.iter().flat_map(|returned| returned.allocations.clone()));
        applied
    }

    /// The blocks with writes in doubt. They must be read in full, after the handle.
    pub fn in_doubt(&self) -> impl Iterator<Item = BlockCidr> {
        self.writes.in_doubt().iter().map(|returned| returned.block)
    }

    /// Whether a write is in doubt that gives back addresses of this handle.
    pub fn holds_in_doubt(&self, id: &HandleId) -> bool {
        self.writes.in_doubt().iter().any(|returned| returned.handles().contains(id))
    }

    /// Decides which writes in doubt were applied. Allocations that no longer exist have been given back, and
    /// are the result. Allocations that still exist stay in doubt: the write may still be applied, until the
    /// block is written again.
    pub fn settle(&mut self, view: &View) -> Vec<Returned> {
        let mut all_gone = Vec::new();
        for Returned { block, allocations } in self.writes.take_in_doubt() {
            let stored = view.block(block).flatten().map(|(stored, _)| stored);
            let is_held = |allocation: &Assignment| {
                stored.and_then(|stored| Assignment::of(stored, allocation.addr)).as_ref() == Some(allocation)
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

    /// All allocations that were certainly given back.
    pub fn given_back(&self) -> &[Assignment] {
        &self.done
    }
}

/// A block from which addresses were released, and the state of its stored record.
pub(crate) struct Changed {
    pub block: Block,
    pub expect: Expect,
}

impl Changed {
    /// The copy to change of a stored block; `None` when the block does not exist.
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

/// Adds the write of a block from which addresses were released. An empty block is deleted if it has no owner
/// or its pool no longer selects the owner's node; any other is rewritten. Gives the index of the block's
/// write.
///
/// # Errors
/// What must be read before.
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

/// The node that must be read to know whether an empty block should be deleted.
pub(crate) fn owner_node(view: &View, block: &Block) -> Option<Key> {
    let Some(Owner::Host(host)) = block.owner() else { return None };
    let key = Key::global(Kind::Node, host);
    (block::is_empty(block) && view.is_unread(&key)).then_some(key)
}

/// Whether the enabled pool of a block no longer selects the node that owns the block. The result is `false`
/// when the node does not exist, or the pool's selector cannot be parsed.
pub(crate) fn is_deselected(view: &View, block: &Block) -> bool {
    let Some(Owner::Host(host)) = block.owner() else { return false };
    let Some(Some((node, _))) = view.resource(&Key::global(Kind::Node, host)) else { return false };
    let pool = pools::enabled(view, block.cidr.family()).find(|p| p.cidr.contains(block.cidr.cidr().first()));
    pool.is_some_and(|pool| pools::selects_node(pool, &node.as_node().labels) == Some(false))
}
