//! Tracks what a request has counted in a handle for addresses that the handle does not hold.

use std::collections::BTreeSet;

use api::{BlockCidr, HandleId, Revision};
use store::{Batch, Op, Outcome, Report, View};

use crate::block;
use crate::handle::{Counts, HandleDraft};

/// By how much one handle's counts are too high because of a request.
///
/// The amount is certain only while the handle is in the state in which the request last knew it. Once others
/// may have written the handle, the counts of several requests cannot be told apart: this request's count may
/// have been taken back, and the same block counted again for another request. Then nothing may be
/// subtracted. Instead the count is set to what the block holds, by a batch that writes the block first.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The handle's revision at which `surplus` is certain; `None` for a handle that does not exist.
    at: Option<Revision>,
    /// By how much each block's count was too high at that revision. A block whose count was right is not in
    /// it.
    surplus: Counts,
    /// Blocks counted by writes of the handle whose outcome is unknown. These writes can be applied only
    /// while the handle is at the revision `at`.
    in_doubt: BTreeSet<BlockCidr>,
    /// Blocks whose counts may be too high by an unknown amount.
    unsure: BTreeSet<BlockCidr>,
    planned: Option<Planned>,
}

/// The handle's write in the batch that is being committed.
#[derive(Clone, Debug)]
struct Planned {
    index: usize,
    deletes: bool,
    /// By how much the counts are too high after this write.
    surplus: Counts,
    /// The blocks whose counts are right after this write.
    settled: BTreeSet<BlockCidr>,
}

impl Tally {
    /// Whether the handle may count too much because of this request.
    pub fn owes(&self) -> bool {
        !self.in_doubt.is_empty() || !self.unsure.is_empty() || !self.surplus.is_empty()
    }

    /// The blocks whose counts may have to be set. They must be read after the handle: if a block is absent
    /// then, no write that the handle had counted can create it any more.
    pub fn blocks(&self) -> impl Iterator<Item = BlockCidr> {
        self.surplus.keys().chain(&self.in_doubt).chain(&self.unsure).copied()
    }

    /// Marks a block whose count has to be set right.
    pub fn owe(&mut self, block: BlockCidr) {
        self.unsure.insert(block);
    }

    /// Whether the count of a block has to be set right, if the handle counts that block.
    pub fn is_unsure(&self, block: BlockCidr) -> bool {
        self.unsure.contains(&block)
    }

    /// Compares with the stored handle. Gives whether another request deleted the handle, and with it what
    /// this request had counted.
    pub fn settle(&mut self, found: Option<&Revision>) -> bool {
        let is_gone =
            found.is_none() && self.at.is_some() && !self.surplus.is_empty() && self.in_doubt.is_empty();
        if found != self.at.as_ref() {
            // The handle has changed, so each write in doubt has been applied, or never will be.
            self.unsure.extend(std::mem::take(&mut self.surplus).into_keys());
            self.unsure.append(&mut self.in_doubt);
            self.at = found.cloned();
        }
        if found.is_none() {
            self.unsure.clear();
        }
        is_gone
    }

    /// Of the addresses of a block that were counted, `n` are held now, so these are not counted too much.
    pub fn count_as_held(&mut self, block: BlockCidr, n: u32) {
        if let Some(count) = self.surplus.get_mut(&block) {
            *count = count.saturating_sub(n);
        }
        self.surplus.retain(|_, count| *count > 0);
    }

    /// A handle's count of a block without what this request counted too much; `None` where the block has to
    /// be read first.
    pub fn rightful_count(&self, view: &View, id: &HandleId, block: BlockCidr, counted: u32) -> Option<u32> {
        if self.is_unsure(block) {
            return Some(match view.block(block)? {
                Some((stored, _)) => block::may_hold(stored, id.as_str()).min(counted),
                None => 0,
            });
        }
        Some(counted.saturating_sub(self.surplus.get(&block).copied().unwrap_or_default()))
    }

    /// The blocks to write before the handle: the handle counts more than they hold, and the surplus may
    /// belong to a write of another request.
    pub fn to_fence(&self, view: &View, id: &HandleId) -> Vec<BlockCidr> {
        let Some(Some((handle, _))) = view.handle(id) else { return Vec::new() };
        let is_wrong = |block: &BlockCidr| match (handle.blocks.get(block), view.block(*block)) {
            (Some(count), Some(Some((stored, _)))) => block::may_hold(stored, id.as_str()) < *count,
            _ => false,
        };
        self.unsure.iter().copied().filter(is_wrong).collect()
    }

    /// Adds the handle's write: with the addresses that the batch is about to take (`by`), and without what
    /// is counted too much. `written` gives, for blocks that the batch has written before, how many addresses
    /// they then hold for the handle. An absent block holds none, and a block whose count is right keeps it.
    /// Of all other blocks nobody can tell, so their counts stay.
    pub fn write(
        &mut self,
        batch: &mut Batch,
        draft: &mut HandleDraft,
        view: &View,
        by: Counts,
        written: &Counts,
    ) {
        let mut settled = BTreeSet::new();
        for block in self.unsure.iter().copied() {
            let counted = draft.counts().get(&block).copied().unwrap_or_default();
            let held = match (written.get(&block), view.block(block)) {
                _ if counted == 0 => Some(0),
                (Some(held), _) => Some(*held),
                (None, Some(None)) => Some(0),
                (None, Some(Some((stored, _)))) => {
                    Some(block::may_hold(stored, draft.id().as_str())).filter(|held| *held == counted)
                }
                (None, None) => None,
            };
            if let Some(n) = held {
                // Where nothing was counted, nothing of this request's can be counted any more.
                if counted > 0 || written.contains_key(&block) {
                    draft.set(block, n);
                }
                settled.insert(block);
            }
        }
        draft.lower(&self.surplus);
        draft.raise(&by);
        let is_needed = !by.is_empty() || self.owes();
        // If anything was owed, it is settled against this revision.
        self.at = draft.revision().cloned();
        let Some(index) = is_needed.then(|| draft.write(batch)).flatten() else {
            // It turned out that nothing is counted too much.
            self.surplus.clear();
            self.unsure.retain(|block| !settled.contains(block));
            return;
        };
        let deletes = matches!(batch.writes[index].op, Op::Delete);
        self.planned = Some(Planned { index, deletes, surplus: by, settled });
    }

    /// Takes in the report of the batch.
    pub fn observe(&mut self, report: &Report) {
        let Some(Planned { index, deletes, surplus, settled }) = self.planned.take() else { return };
        match report.outcomes.get(index) {
            Some(Outcome::Applied(revision)) => {
                self.at = (!deletes).then(|| revision.clone());
                self.surplus = surplus;
                self.in_doubt.clear();
                self.unsure.retain(|block| !settled.contains(block));
            }
            Some(Outcome::Unknown(_)) => {
                self.in_doubt.extend(self.surplus.keys().copied().chain(surplus.into_keys()));
            }
            _ => {}
        }
    }
}
