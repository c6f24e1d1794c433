//! Blocks that the attempts of a request made the owner's.

use api::{BlockCidr, Key};
use store::{Batch, View};

use super::{Intent, Progress};
use crate::affinity::{self, Action, Seen};

impl Progress {
    /// Forgets claims that have come to their end: confirmed after all, or the block is another's. A claim whose block is absent is kept: the write that creates the
    /// block may yet be applied.
    pub(super) fn settle_claims(&mut self, view: &View) {
        let owner = &self.owner;
        let text = owner.affinity_text();
        self.unconfirmed.retain(|cidr| {
            let state = view.affinity(owner, *cidr).flatten().map(|(affinity, _)| affinity.state);
            let action = affinity::action(state, affinity::seen(view, *cidr, &text));
            matches!(action, Action::Fetch | Action::Heal | Action::Claim)
        });
    }

    /// Blocks that earlier attempts made, or may have made, the owner's.
    pub fn claimed(&self) -> impl Iterator<Item = BlockCidr> {
        self.claimed.iter().copied()
    }

    /// Blocks of the owner of which the affinity is still to be confirmed.
    pub(super) fn unhealed(&self, view: &View) -> impl Iterator<Item = BlockCidr> {
        let text = self.owner.affinity_text();
        let is_mine = move |cidr: &BlockCidr| affinity::seen(view, *cidr, &text) == Seen::Mine;
        self.unconfirmed.iter().copied().filter(is_mine)
    }

    pub(super) fn affinity_key(&self, block: BlockCidr) -> Key {
        Key::Affinity { owner: self.owner.clone(), block }
    }

    /// Adds writes that heal what earlier attempts claimed and could not confirm, but for blocks that the batch writes anyway.
    pub fn heal(
        &self,
        batch: &mut Batch,
        view: &View,
        written: impl Fn(BlockCidr) -> bool,
        intent: &mut Intent,
    ) {
        for cidr in self.unhealed(view).filter(|cidr| !written(*cidr)) {
            if let Some(Some((stored, revision))) = view.block(cidr) {
                let found = view.affinity(&self.owner, cidr).flatten();
                intent.claims.push(affinity::heal(batch, &self.owner, found, stored.clone(), revision));
            }
        }
    }
}
