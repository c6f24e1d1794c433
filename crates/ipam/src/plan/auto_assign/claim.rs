//! Finds a block that the host can make its own.

use api::{Block, BlockCidr, BlockHeader, Key, Timestamp};
use store::ReadSet;

use super::draft::{FamilyDraft, Source};
use super::family::Stop;
use super::search::{Search, first_unclaimed};
use crate::block;
use crate::verdict::{BlockVerdict, Sink};

/// For how many seconds a claimed block stays its owner's even if it is empty.
pub(crate) const RECLAIM_AFTER_SECONDS: i64 = 60;

impl<S: Sink> Search<'_, S> {
    /// Adds one block that does not exist yet. Gives `false` when there is no such block.
    pub fn claim_free(&self, draft: &mut FamilyDraft) -> Result<bool, Stop> {
        let taken = self.taken()?;
        for (pool, ring) in self.pools.iter().zip(self.rings()) {
            let Some(ring) = ring else { continue };
            let is_used = |cidr| draft.takes_from(cidr) || self.context.is_damaged(cidr);
            let found = first_unclaimed(pool, ring, taken, self.context.reserved, is_used);
            if let Some(cidr) = found {
                self.context.take_claimed(draft, cidr, Source::Claimed);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Adds one block that exists: a block of the host's own without an affinity, or an empty block that its
    /// owner claimed more than a minute ago. Gives `false` when there is no such block. The host's blocks
    /// that have an affinity must have been used before.
    pub fn take_over(&self, draft: &mut FamilyDraft) -> Result<bool, Stop> {
        Ok(self.find_mine(draft)? || self.reclaim_one(draft)?)
    }

    /// Takes addresses from a block that names the host as its owner, though the host has no affinity to it.
    fn find_mine(&self, draft: &mut FamilyDraft) -> Result<bool, Stop> {
        for candidate in self.candidates()? {
            let is_mine = candidate.header.affinity.as_deref() == Some(self.context.owner_text);
            if !is_mine || draft.takes_from(candidate.cidr) {
                continue;
            }
            if !self.may_have_room(&candidate.header) {
                self.context.tell(candidate.cidr, BlockVerdict::Full);
                continue;
            }
            self.context.need_blocks([candidate.cidr].into_iter())?;
            if !self.may_be_used(candidate.cidr)? {
                self.context.tell(candidate.cidr, BlockVerdict::Overlapping);
                continue;
            }
            let before = draft.takings.len();
            self.context.take_stored(draft, candidate.cidr, Source::Healed);
            if draft.takings.len() > before {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes over an empty block that another owner claimed a while ago.
    fn reclaim_one(&self, draft: &mut FamilyDraft) -> Result<bool, Stop> {
        let context = self.context;
        for candidate in self.candidates()? {
            let (cidr, header) = (candidate.cidr, &candidate.header);
            if header.affinity.as_deref() == Some(context.owner_text) || draft.takes_from(cidr) {
                continue;
            }
            if let Some(why) = self.not_reclaimable(cidr, header) {
                context.tell(cidr, why);
                continue;
            }
            context.need_blocks([cidr].into_iter())?;
            let Some(emptied) = context.if_empty(cidr) else {
                context.tell(cidr, BlockVerdict::InUse);
                continue;
            };
            if !is_the_same(&emptied.block, header) {
                context.tell(cidr, BlockVerdict::Changed);
                continue;
            }
            if !self.may_be_used(cidr)? {
                context.tell(cidr, BlockVerdict::Overlapping);
                continue;
            }
            if let Some(owner) = emptied.block.owner() {
                let key = Key::Affinity { owner, block: cidr };
                if context.view.unreadable(&key).is_some() {
                    context.tell(cidr, BlockVerdict::Unreadable);
                    continue;
                }
                if context.view.full(&key).is_none() {
                    return Err(Stop::Fetch(ReadSet::new().key(key)));
                }
            }
            context.take_claimed(draft, cidr, |block| Source::Reclaimed(Box::new(emptied), block));
            return Ok(true);
        }
        Ok(false)
    }

    /// Why another owner's block is not taken over, judged by its header; `None` if it may be.
    fn not_reclaimable(&self, cidr: BlockCidr, header: &BlockHeader) -> Option<BlockVerdict> {
        let is_cold = |(_, last)| self.is_cold(last);
        match header.affinity_claim_time {
            Some(time) if !is_old(header, self.context.now) => Some(BlockVerdict::ClaimedLately(time)),
            _ if header.held > 0 || !header.cooling.is_none_or(is_cold) => Some(BlockVerdict::InUse),
            _ if self.context.reserved.covers(cidr) => Some(BlockVerdict::Reserved),
            _ => self.context.is_damaged(cidr).then_some(BlockVerdict::Unreadable),
        }
    }

    /// Whether a block has a free address, or one that has cooled down since it was last written.
    pub fn may_have_room(&self, header: &BlockHeader) -> bool {
        header.free > 0 || header.cooling.is_some_and(|(first, _)| self.is_cold(first))
    }

    fn is_cold(&self, released: Timestamp) -> bool {
        block::is_cold(released, self.context.now, self.context.config.cooldown_seconds)
    }
}

/// Whether a block is still in the state that its header showed.
fn is_the_same(block: &Block, header: &BlockHeader) -> bool {
    (block.sequence_number, &block.affinity) == (header.sequence_number, &header.affinity)
}

/// Whether a block was claimed long enough ago to be taken over. A block without a claim time was.
fn is_old(header: &BlockHeader, now: Timestamp) -> bool {
    header.affinity_claim_time.is_none_or(|time| now.as_second() - time.as_second() >= RECLAIM_AFTER_SECONDS)
}
