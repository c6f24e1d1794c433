//! What a request counts in a handle for addresses that the handle does not hold.

use std::collections::BTreeSet;

use api::{BlockCidr, HandleId, Revision};
use store::{Batch, Op, Outcome, Report, View};

use crate::block;
use crate::handle::{Counts, Draft};

/// What one handle counts too much through a request.
///
/// How much that is, is certain only while the handle is as the request last knew it. Once somebody else may have written it, nobody can tell whose a count is: what was
/// counted may have been taken back, and counted again for another. Then nothing is subtracted; the count is set to what the block holds, by a batch that writes the
/// block before it.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The handle's revision, `None` for a handle that is not there, when `surplus` was certain.
    at: Option<Revision>,
    /// How much of the counts was then for addresses that the handle does not hold.
    surplus: Counts,
    /// Blocks that writes of the handle count which may yet be applied: as long as the handle is at `at`.
    in_doubt: BTreeSet<BlockCidr>,
    /// Blocks of which nobody can tell how much is counted too much, if anything.
    unsure: BTreeSet<BlockCidr>,
    planned: Option<Planned>,
}

/// The write of the handle in the batch at hand.
#[derive(Clone, Debug)]
struct Planned {
    index: usize,
    deletes: bool,
    /// What is counted too much after it.
    surplus: Counts,
    /// The blocks of which the count is right after it.
    settled: BTreeSet<BlockCidr>,
}

impl Tally {
    /// Whether the handle may count too much.
    pub fn owes(&self) -> bool {
        !self.in_doubt.is_empty() || !self.unsure.is_empty() || self.has_surplus()
    }

    fn has_surplus(&self) -> bool {
        self.surplus.values().any(|n| *n > 0)
    }

    /// The blocks of which the counts may have to be set. They are to be read after the handle: one that is absent then is written by nobody who had been counted.
    pub fn blocks(&self) -> impl Iterator<Item = BlockCidr> {
        let surplus = self.surplus.iter().filter(|(_, n)| **n > 0).map(|(block, _)| block);
        surplus.chain(&self.in_doubt).chain(&self.unsure).copied()
    }

    /// Notes that the count of a block is to be set right.
    pub fn owe(&mut self, block: BlockCidr) {
        self.unsure.insert(block);
    }

    /// Whether the count of a block is to be set right, if the handle counts it.
    pub fn is_unsure(&self, block: BlockCidr) -> bool {
        self.unsure.contains(&block)
    }

    /// Compares with the handle as it is found; whether it was taken away, with what this request had counted in it.
    pub fn settle(&mut self, found: Option<&Revision>) -> bool {
        let is_gone = found.is_none() && self.at.is_some() && self.has_surplus() && self.in_doubt.is_empty();
        if found != self.at.as_ref() {
            // What was in doubt has been applied, or never will be.
            let counted = self.surplus.iter().filter(|(_, n)| **n > 0).map(|(block, _)| *block);
            self.unsure.extend(counted);
            self.unsure.append(&mut self.in_doubt);
            self.surplus.clear();
            self.at = found.cloned();
        }
        if found.is_none() {
            self.unsure.clear();
        }
        is_gone
    }

    /// Addresses of a block that were counted are held now.
    pub fn got(&mut self, block: BlockCidr, n: u32) {
        if let Some(count) = self.surplus.get_mut(&block) {
            *count = count.saturating_sub(n);
        }
    }

    /// How much of a handle's count of a block is not this request's for nothing; `None` where a block would have to be read to know.
    pub fn held(&self, view: &View, id: &HandleId, block: BlockCidr, counted: u32) -> Option<u32> {
        if self.is_unsure(block) {
            return Some(match view.block(block)? {
                Some((stored, _)) => block::may_hold(stored, id.as_str()).min(counted),
                None => 0,
            });
        }
        Some(counted.saturating_sub(self.surplus.get(&block).copied().unwrap_or_default()))
    }

    /// The blocks that must be written before the handle is: it counts more of them than they hold, and nobody can tell why.
    pub fn to_fence(&self, view: &View, id: &HandleId) -> Vec<BlockCidr> {
        let Some(Some((handle, _))) = view.handle(id) else { return Vec::new() };
        let is_wrong = |block: &BlockCidr| match (handle.blocks.get(block), view.block(*block)) {
            (Some(count), Some(Some((stored, _)))) => block::may_hold(stored, id.as_str()) < *count,
            _ => false,
        };
        self.unsure.iter().copied().filter(is_wrong).collect()
    }

    /// Writes the handle: with what the batch is about to take (`by`), and without what is counted too much. `held` tells what a block holds that the batch has
    /// written before this, or that is absent; of others the count stays, unless the block as it was read holds as many.
    pub fn write(
        &mut self,
        batch: &mut Batch,
        draft: &mut Draft,
        by: Counts,
        held: impl Fn(BlockCidr, u32) -> Option<u32>,
    ) {
        let mut settled = BTreeSet::new();
        for block in self.unsure.iter().copied() {
            let counted = draft.counts().get(&block).copied().unwrap_or_default();
            let held = if counted == 0 { Some(0) } else { held(block, counted) };
            if let Some(n) = held {
                draft.set(block, n);
                settled.insert(block);
            }
        }
        draft.lower(&self.surplus);
        draft.raise(&by);
        let is_needed = !by.is_empty() || self.owes();
        // Where anything was owed, this is what it was settled by.
        self.at = draft.revision().cloned();
        let Some(index) = is_needed.then(|| draft.write(batch)).flatten() else {
            // Nothing is counted too much after all.
            self.surplus.clear();
            self.unsure.retain(|block| !settled.contains(block));
            return;
        };
        let deletes = matches!(batch.writes[index].op, Op::Delete);
        self.planned = Some(Planned { index, deletes, surplus: by, settled });
    }

    /// Learns what came of the batch.
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
                let before = self.surplus.iter().filter(|(_, n)| **n > 0).map(|(block, _)| *block);
                self.in_doubt.extend(before.chain(surplus.into_keys()));
            }
            _ => {}
        }
    }
}
