//! The blocks that a request's attempts claimed for the owner.

use api::{Block, BlockCidr, Key, Revision};
use store::{Batch, Expect, View};

use super::{Progress, WritePurposes};
use crate::affinity::{self, Action, BlockState, Claimed};
use crate::block;

impl Progress {
    /// Forgets claims that need no healing any more: the affinity is confirmed, or the block is another
    /// owner's. A claim whose block is absent stays: its write that creates the block may still be applied.
    pub(super) fn settle_claims(&mut self, view: &View) {
        let owner = &self.owner;
        let text = owner.affinity_text();
        self.unconfirmed.retain(|cidr| {
            let state = view.affinity(owner, *cidr).flatten().map(|(affinity, _)| affinity.state);
            let action = affinity::action(state, affinity::block_state(view, *cidr, &text));
            matches!(action, Action::Fetch | Action::Heal | Action::Claim)
        });
    }

    /// The blocks that earlier attempts claimed, or may have claimed.
    pub fn claimed(&self) -> impl Iterator<Item = BlockCidr> {
        self.claimed.iter().copied()
    }

    /// The blocks that are the owner's, and whose affinity has still to be confirmed.
    pub(super) fn claims_to_heal(&self, view: &View) -> impl Iterator<Item = BlockCidr> {
        let text = self.owner.affinity_text();
        let is_mine = move |cidr: &BlockCidr| affinity::block_state(view, *cidr, &text) == BlockState::Mine;
        self.unconfirmed.iter().copied().filter(is_mine)
    }

    /// Adds the writes that finish the claim of a block, or leave it pending if the block is empty. `block`
    /// is the content to store.
    pub(super) fn finish(
        &self,
        batch: &mut Batch,
        view: &View,
        mut block: Block,
        revision: &Revision,
    ) -> Claimed {
        let found = view.affinity(&self.owner, block.cidr).flatten();
        if !block::is_empty(&block) {
            return affinity::heal(batch, &self.owner, found, block, revision);
        }
        block::bump(&mut block);
        affinity::leave_pending(batch, &self.owner, found, block, Expect::at(revision))
    }

    pub(super) fn affinity_key(&self, block: BlockCidr) -> Key {
        Key::Affinity { owner: self.owner.clone(), block }
    }

    /// Adds the writes that finish claims of earlier attempts. Leaves out blocks that the batch writes
    /// already.
    pub fn heal(
        &self,
        batch: &mut Batch,
        view: &View,
        written: impl Fn(BlockCidr) -> bool,
        purposes: &mut WritePurposes,
    ) {
        for cidr in self.claims_to_heal(view).filter(|cidr| !written(*cidr)) {
            if let Some(Some((stored, revision))) = view.block(cidr) {
                purposes.claims.push(self.finish(batch, view, stored.clone(), revision));
            }
        }
    }
}
