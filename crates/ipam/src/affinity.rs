//! How a host becomes the owner of a block, and how it gives the block up.
//!
//! ```text
//! absent -> pending -> confirmed -> pendingDeletion -> absent
//!              ^__________________________|            (a claimer may rescue it)
//! ```
//!
//! The block decides: an affinity that disagrees with its block is stale. Every block that a planner meets
//! goes through [`action`].
//!
//! **Blocks of two sizes.** Where a pool is made anew with another block size while a claim is under way, two
//! blocks that overlap may come to be stored. Only one of them may ever be taken from. A block is *proven*
//! if, at a moment at which it was stored, the pool whose block size it has was still as it was before all
//! blocks' keys were listed, and no other stored block overlapped it. Of two blocks that overlap, only one
//! can be proven: the one that came later was stored after the other's list, so its claim either listed the
//! other one, or rests on a pool that is gone by then. So:
//! * an affinity is confirmed only once its block is proven ([`store::Look`]), or holds addresses;
//! * an empty block without a confirmed affinity is proven before its first address is taken; with one, the
//!   affinity is looked at before: it may have been read before the block was released and created again;
//! * one that cannot be proven is released by its owner.

use api::{Affinity, AffinityState, Block, BlockCidr, Key, Owner, Revision, Value};
use store::{Batch, Expect, View};

use crate::block;

/// What a view says about the block of an affinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// The block was not read.
    Unread,
    /// The block does not exist.
    Absent,
    /// The block is affine to the owner in question.
    Mine,
    /// The block is affine to another owner.
    Anothers,
    /// The block exists, and is affine to no owner.
    Ownerless,
}

/// What a planner has to do about a block and an owner's affinity to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the block, then look again.
    Fetch,
    /// Take addresses from the block: it is the owner's.
    Use,
    /// Finish a claim or a release of the owner's block that was left half done: make the affinity pending,
    /// rewrite the block, so that any older write of it is refused, and confirm the affinity. Then use the
    /// block.
    Heal,
    /// Claim the block: make the affinity pending, create the block, and confirm the affinity. Then use the
    /// block.
    Claim,
    /// Delete the affinity, which is stale, and leave the block alone.
    Drop,
    /// Leave the block alone: it is not the owner's.
    Pass,
}

/// The healing table. `affinity` is the state of the owner's affinity; `None` when there is no affinity.
pub fn action(affinity: Option<AffinityState>, block: BlockState) -> Action {
    use AffinityState::{Confirmed, Pending, PendingDeletion};
    match (affinity, block) {
        (_, BlockState::Unread) => Action::Fetch,
        (Some(Confirmed), BlockState::Mine) => Action::Use,
        (None | Some(Pending | PendingDeletion), BlockState::Mine) => Action::Heal,
        (_, BlockState::Absent) => Action::Claim,
        (Some(_), BlockState::Anothers | BlockState::Ownerless) => Action::Drop,
        (None, BlockState::Anothers | BlockState::Ownerless) => Action::Pass,
    }
}

/// What a view says about a block, from the point of view of an owner (`owner` is a text as in a block's
/// `affinity`).
pub fn block_state(view: &View, cidr: BlockCidr, owner: &str) -> BlockState {
    match view.block(cidr) {
        None => BlockState::Unread,
        Some(None) => BlockState::Absent,
        Some(Some((block, _))) => match block.affinity.as_deref() {
            Some(text) if text == owner => BlockState::Mine,
            Some(_) => BlockState::Anothers,
            None => BlockState::Ownerless,
        },
    }
}

/// What shows that of the blocks that overlap a block, no other is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof<'a> {
    /// It holds addresses.
    Addresses,
    /// The owner's affinity to it is confirmed, with this revision. It has to be so still once the block was
    /// read.
    Affinity(&'a Revision),
    /// Nothing does yet: no stored block may overlap it, and its pool has to be the same once it is stored.
    Pool,
}

/// What shows, in a view, that a block may be taken from.
pub fn proof<'a>(view: &'a View, owner: &Owner, cidr: BlockCidr) -> Proof<'a> {
    if view.block(cidr).flatten().is_some_and(|(block, _)| !block::is_empty(block)) {
        return Proof::Addresses;
    }
    let seen = block_state(view, cidr, &owner.affinity_text());
    match view.affinity(owner, cidr).flatten() {
        Some((found, revision)) if action(Some(found.state), seen) == Action::Use => {
            Proof::Affinity(revision)
        }
        _ => Proof::Pool,
    }
}

/// Whether the pool need not be looked at again before a block is taken from; see [`proof`].
pub fn is_proven(view: &View, owner: &Owner, cidr: BlockCidr) -> bool {
    proof(view, owner, cidr) != Proof::Pool
}

/// An affinity as a view holds it, with its revision; `None` for an absent one.
pub type StoredAffinity<'a> = Option<(&'a Affinity, &'a Revision)>;

/// The writes of a claim, or of a healing, in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The block that is claimed or healed.
    pub block: BlockCidr,
    /// The index of the block's write, on which a later write of the block in the same batch builds.
    pub written: usize,
    /// The index of the write after which nobody takes the affinity for stale any more: the write that
    /// confirms it, or that leaves it pending.
    pub confirmed: usize,
}

/// Adds the writes of a claim: affinity pending, empty block created, affinity confirmed.
pub fn claim(batch: &mut Batch, owner: &Owner, found: StoredAffinity<'_>, block: Block) -> Claimed {
    let cidr = block.cidr;
    let pending = announce(batch, owner, cidr, found);
    let written = batch.put(Key::Block(cidr), Expect::Absent, Value::Block(block));
    Claimed { block: cidr, written, confirmed: put(batch, owner, cidr, pending, AffinityState::Confirmed) }
}

/// Adds the writes that heal a block which is the owner's already: affinity pending, block rewritten,
/// affinity confirmed. `block` is the content to store; this function raises its sequence number.
pub fn heal(
    batch: &mut Batch,
    owner: &Owner,
    found: StoredAffinity<'_>,
    mut block: Block,
    revision: &Revision,
) -> Claimed {
    let cidr = block.cidr;
    let pending = announce(batch, owner, cidr, found);
    block::bump(&mut block);
    let written = batch.put(Key::Block(cidr), Expect::Revision(revision.clone()), Value::Block(block));
    Claimed { block: cidr, written, confirmed: put(batch, owner, cidr, pending, AffinityState::Confirmed) }
}

/// Adds the writes that leave a claim half done so that the owner's next request finds and heals it: affinity
/// pending, block stored as `block`. The affinity is written even if it is pending already: then a request
/// that takes it for stale is refused. Where the block is created, it is written again after that: in
/// between, others find no block, and may delete the affinity. An empty block is left like this by a request
/// that cannot prove it now.
pub fn leave_pending(
    batch: &mut Batch,
    owner: &Owner,
    found: StoredAffinity<'_>,
    block: Block,
    expect: Expect,
) -> Claimed {
    let cidr = block.cidr;
    let is_created = expect == Expect::Absent;
    let pending = put(batch, owner, cidr, expected(found), AffinityState::Pending);
    let written = batch.put(Key::Block(cidr), expect, Value::Block(block));
    let confirmed = match is_created {
        true => put(batch, owner, cidr, Expect::AsLeftBy(pending), AffinityState::Pending),
        false => written,
    };
    Claimed { block: cidr, written, confirmed }
}

/// Adds the write that deletes a stale affinity.
pub fn drop_stale(batch: &mut Batch, owner: &Owner, block: BlockCidr, revision: &Revision) {
    batch.delete(key(owner, block), Expect::at(revision));
}

/// Adds the writes by which an owner releases a block: affinity pending deletion; block deleted if it is
/// empty, else stored without owner; affinity deleted. `block` is the content to store, `expect` the state of
/// the stored record. Gives the index of the block's write.
///
/// The affinity's state is written even if the affinity is pending deletion already, or does not exist. The
/// block may have been read after the affinity, and in between the owner may have made the affinity again:
/// then the write of the state is refused, and a confirmed affinity keeps its block.
pub fn release(
    batch: &mut Batch,
    owner: &Owner,
    found: StoredAffinity<'_>,
    mut block: Block,
    expect: Expect,
) -> usize {
    let cidr = block.cidr;
    let leaving = put(batch, owner, cidr, expected(found), AffinityState::PendingDeletion);
    let written = if block::is_empty(&block) {
        batch.delete(Key::Block(cidr), expect)
    } else {
        block::disown(&mut block);
        block::bump(&mut block);
        batch.put(Key::Block(cidr), expect, Value::Block(block))
    };
    batch.delete(key(owner, cidr), Expect::AsLeftBy(leaving));
    written
}

/// Makes the affinity pending, unless it is. Gives what the write that confirms the affinity has to expect.
fn announce(batch: &mut Batch, owner: &Owner, block: BlockCidr, found: StoredAffinity<'_>) -> Expect {
    let is_pending = found.is_some_and(|(affinity, _)| affinity.state == AffinityState::Pending);
    match is_pending {
        true => expected(found),
        false => Expect::AsLeftBy(put(batch, owner, block, expected(found), AffinityState::Pending)),
    }
}

/// What a write of the affinity has to expect.
fn expected(found: StoredAffinity<'_>) -> Expect {
    found.map_or(Expect::Absent, |(_, revision)| Expect::at(revision))
}

/// Adds a write of the affinity. Gives its index.
fn put(batch: &mut Batch, owner: &Owner, block: BlockCidr, expect: Expect, state: AffinityState) -> usize {
    batch.put(key(owner, block), expect, Value::Affinity(Affinity::new(state)))
}

/// The key of an owner's affinity to a block.
pub fn key(owner: &Owner, block: BlockCidr) -> Key {
    Key::Affinity { owner: owner.clone(), block }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        use AffinityState::{Confirmed, Pending, PendingDeletion};
        use BlockState::{Absent, Anothers, Mine, Ownerless, Unread};
        let rows = [
            (None, Unread, Action::Fetch),
            (None, Absent, Action::Claim),
            (None, Mine, Action::Heal),
            (None, Anothers, Action::Pass),
            (None, Ownerless, Action::Pass),
            (Some(Pending), Unread, Action::Fetch),
            (Some(Pending), Absent, Action::Claim),
            (Some(Pending), Mine, Action::Heal),
            (Some(Pending), Anothers, Action::Drop),
            (Some(Pending), Ownerless, Action::Drop),
            (Some(Confirmed), Unread, Action::Fetch),
            (Some(Confirmed), Absent, Action::Claim),
            (Some(Confirmed), Mine, Action::Use),
            (Some(Confirmed), Anothers, Action::Drop),
            (Some(Confirmed), Ownerless, Action::Drop),
            (Some(PendingDeletion), Unread, Action::Fetch),
            (Some(PendingDeletion), Absent, Action::Claim),
            (Some(PendingDeletion), Mine, Action::Heal),
            (Some(PendingDeletion), Anothers, Action::Drop),
            (Some(PendingDeletion), Ownerless, Action::Drop),
        ];
        for (affinity, block, wanted) in rows {
            assert_eq!(action(affinity, block), wanted, "{affinity:?} x {block:?}");
        }
    }
}
