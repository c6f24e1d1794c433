//! Takes single addresses from other owners' blocks.

use api::BlockCidr;

use super::draft::FamilyDraft;
use super::family::Stop;
use super::search::{Candidate, Search};
use crate::verdict::{BlockVerdict, Sink, Verdict};

/// How many blocks are read at once.
const AT_ONCE: usize = 8;

impl<S: Sink> Search<'_, S> {
    /// Takes the addresses that are still missing from any block of the pools, in the host's order.
    pub fn borrow(&self, draft: &mut FamilyDraft) -> Result<(), Stop> {
        let reserved = self.context.reserved;
        let mut candidates: Vec<BlockCidr> = Vec::new();
        for Candidate { cidr, header, .. } in
            self.candidates()?.iter().filter(|other| !draft.takes_from(other.cidr))
        {
            if !self.may_have_room(header) {
                self.context.tell(*cidr, BlockVerdict::Full);
            } else if reserved.covers(*cidr) {
                self.context.tell(*cidr, BlockVerdict::Reserved);
            } else {
                candidates.push(*cidr);
            }
        }
        for some in candidates.chunks(AT_ONCE) {
            if draft.missing() == 0 {
                break;
            }
            self.context.need_blocks(some.iter().copied())?;
            some.iter().try_for_each(|cidr| self.borrow_from(draft, *cidr))?;
        }
        if draft.missing() > 0 {
            let pools = self.pools.iter().map(|pool| pool.cidr).collect();
            draft.tell(Verdict::Exhausted(pools), self.context.sink);
        }
        Ok(())
    }

    fn borrow_from(&self, draft: &mut FamilyDraft, cidr: BlockCidr) -> Result<(), Stop> {
        if draft.missing() == 0 {
            return Ok(());
        }
        let Some(Some((stored, revision))) = self.context.view.block(cidr) else {
            self.context.tell(cidr, BlockVerdict::Unreadable);
            return Ok(());
        };
        if self.may_be_used(cidr)? {
            let source = self.context.source_of_stored(cidr, revision.clone());
            self.context.take(draft, stored, source, None, BlockVerdict::Borrowed);
        } else {
            self.context.tell(cidr, BlockVerdict::Overlapping);
        }
        Ok(())
    }
}
