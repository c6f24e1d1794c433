//! How a host comes to own a block, and gives it up.
//!
//! ```text
//! absent -> pending -> confirmed -> pendingDeletion -> absent
//!              ^__________________________|            (a claimer may rescue it)
//! ```
//!
//! The block is the arbiter: an affinity that disagrees with its block is stale. Every block that a planner meets goes through [`action`].

use api::{Affinity, AffinityState, Block, BlockCidr, Key, Owner, Revision, Value};
use store::{Batch, Expect, View};

use crate::block;

/// What is known of the block of an affinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It was not read.
    Unread,
    /// It does not exist.
    Absent,
    /// It is affine to the owner in question.
    Mine,
    /// It is affine to somebody else.
    Anothers,
    /// It exists and is affine to nobody.
    Ownerless,
}

/// What to do about a block and an owner's affinity to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read the block first.
    Fetch,
    /// Take addresses from it as one's own.
    Use,
    /// It is the owner's, but a claim or a release was left half done: make the affinity pending, rewrite the block so that whoever is about to
    /// write it is refused, confirm. Then use it.
    Heal,
    /// Make the affinity pending, create the block, confirm. Then use it.
    Claim,
    /// The affinity is stale: delete it, and leave the block alone.
    Drop,
    /// Not the owner's; leave it alone.
    Pass,
}

/// The healing table. `affinity` is the state of the owner's affinity, `None` when there is none.
pub fn action(affinity: Option<AffinityState>, block: Seen) -> Action {
    use AffinityState::{Confirmed, Pending, PendingDeletion};
    match (affinity, block) {
        (_, Seen::Unread) => Action::Fetch,
        (Some(Confirmed), Seen::Mine) => Action::Use,
        (None | Some(Pending | PendingDeletion), Seen::Mine) => Action::Heal,
        (_, Seen::Absent) => Action::Claim,
        (Some(_), Seen::Anothers | Seen::Ownerless) => Action::Drop,
        (None, Seen::Anothers | Seen::Ownerless) => Action::Pass,
    }
}

/// What a view knows of a block, seen by an owner (`owner` as in a block's `affinity`).
pub fn seen(view: &View, cidr: BlockCidr, owner: &str) -> Seen {
    match view.block(cidr) {
        None => Seen::Unread,
        Some(None) => Seen::Absent,
        Some(Some((block, _))) => match block.affinity.as_deref() {
            Some(text) if text == owner => Seen::Mine,
            Some(_) => Seen::Anothers,
            None => Seen::Ownerless,
        },
    }
}

/// An affinity as a planner found it: its state and revision, or nothing.
pub type Found<'a> = Option<(&'a Affinity, &'a Revision)>;

/// A claim, or the healing of one, in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The block.
    pub block: BlockCidr,
    /// The index of its write, for what is to be taken from it.
    pub written: usize,
    /// The index of the write that confirms the affinity.
    pub confirmed: usize,
}

/// Writes a claim: affinity pending, block created empty, affinity confirmed.
pub fn claim(batch: &mut Batch, owner: &Owner, found: Found<'_>, block: Block) -> Claimed {
    let cidr = block.cidr;
    let pending = announce(batch, owner, cidr, found);
    let written = batch.put(Key::Block(cidr), Expect::Absent, Value::Block(block));
    Claimed { block: cidr, written, confirmed: confirm(batch, owner, cidr, pending) }
}

/// Writes the healing of a block that is the owner's already: affinity pending, block rewritten, affinity confirmed. `block` is what is to be stored of it,
/// but for the sequence number.
pub fn heal(
    batch: &mut Batch,
    owner: &Owner,
    found: Found<'_>,
    mut block: Block,
    revision: &Revision,
) -> Claimed {
    let cidr = block.cidr;
    let pending = announce(batch, owner, cidr, found);
    block::bump(&mut block);
    let written = batch.put(Key::Block(cidr), Expect::Revision(revision.clone()), Value::Block(block));
    Claimed { block: cidr, written, confirmed: confirm(batch, owner, cidr, pending) }
}

/// Writes the end of a stale affinity.
pub fn drop_stale(batch: &mut Batch, owner: &Owner, block: BlockCidr, revision: &Revision) {
    let key = Key::Affinity { owner: owner.clone(), block };
    batch.delete(key, Expect::Revision(revision.clone()));
}

/// Writes the release of a block by its owner: affinity pending deletion, the block deleted when it is empty, else without owner, then the affinity
/// deleted. `block` is what is to be stored of it, `expect` how its record stands. Tells the index of the block's write.
pub fn release(
    batch: &mut Batch,
    owner: &Owner,
    found: Found<'_>,
    mut block: Block,
    expect: Expect,
) -> usize {
    let key = Key::Affinity { owner: owner.clone(), block: block.cidr };
    let leaving = found.map(|(affinity, revision)| match affinity.state {
        // Somebody began to release it and did not end: the compare-and-swap of the deletion below is enough.
        AffinityState::PendingDeletion => Expect::Revision(revision.clone()),
        _ => {
            let value = Value::Affinity(Affinity::new(AffinityState::PendingDeletion));
            Expect::AsLeftBy(batch.put(key.clone(), Expect::Revision(revision.clone()), value))
        }
    });
    let cidr = block.cidr;
    let written = if block::is_empty(&block) {
        batch.delete(Key::Block(cidr), expect)
    } else {
        block::disown(&mut block);
        block::bump(&mut block);
        batch.put(Key::Block(cidr), expect, Value::Block(block))
    };
    if let Some(leaving) = leaving {
        batch.delete(key, leaving);
    }
    written
}

/// The affinity becomes pending, unless it is so already; what the confirmation then expects.
fn announce(batch: &mut Batch, owner: &Owner, block: BlockCidr, found: Found<'_>) -> Expect {
    let expect = match found {
        Some((affinity, revision)) if affinity.state == AffinityState::Pending => {
            return Expect::Revision(revision.clone());
        }
        Some((_, revision)) => Expect::Revision(revision.clone()),
        None => Expect::Absent,
    };
    let key = Key::Affinity { owner: owner.clone(), block };
    Expect::AsLeftBy(batch.put(key, expect, Value::Affinity(Affinity::new(AffinityState::Pending))))
}

fn confirm(batch: &mut Batch, owner: &Owner, block: BlockCidr, expect: Expect) -> usize {
    let key = Key::Affinity { owner: owner.clone(), block };
    batch.put(key, expect, Value::Affinity(Affinity::new(AffinityState::Confirmed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        use AffinityState::{Confirmed, Pending, PendingDeletion};
        use Seen::{Absent, Anothers, Mine, Ownerless, Unread};
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
