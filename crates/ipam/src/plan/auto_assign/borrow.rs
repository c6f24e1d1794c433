//! Taking single addresses from blocks of others.

use api::BlockCidr;

use super::draft::{FamilyDraft, Source, Taking};
use super::family::Stop;
use super::search::Search;
use crate::block;

/// Blocks read at a time.
const AT_ONCE: usize = 8;

impl Search<'_> {
    /// Takes what is missing from any block of the pools, in the host's order.
    pub fn borrow(&self, draft: &mut FamilyDraft) -> Result<(), Stop> {
        let reserved = self.context.reserved;
        let candidates: Vec<BlockCidr> = self
            .candidates()?
            .iter()
            .filter(|candidate| self.may_have_room(&candidate.header))
            .map(|candidate| candidate.cidr)
            .filter(|cidr| !draft.takes_from(*cidr) && !reserved.covers(*cidr))
            .collect();
        for some in candidates.chunks(AT_ONCE) {
            if draft.missing() == 0 {
                break;
            }
            self.context.need_blocks(some.iter().copied())?;
            some.iter().for_each(|cidr| self.borrow_from(draft, *cidr));
        }
        if draft.missing() > 0 {
            let exhausted: Vec<String> = self.pools.iter().map(|pool| pool.cidr.to_string()).collect();
            draft.tell(format!("No IPs available in pools: [{}]", exhausted.join(" ")));
        }
        Ok(())
    }

    fn borrow_from(&self, draft: &mut FamilyDraft, cidr: BlockCidr) {
        let Some(Some((stored, revision))) = self.context.view.block(cidr) else { return };
        if draft.missing() == 0 {
            return;
        }
        let mut block = self.context.collected(stored);
        let source = self.context.stored(cidr, revision.clone());
        if matches!(source, Source::Fenced(_)) {
            // It is rewritten once before.
            block::bump(&mut block);
        }
        let attribute = self.context.progress.attribute();
        let taken = block::assign(&mut block, draft.missing(), None, attribute, self.context.reserved);
        if let Ok(addresses) = taken
            && !addresses.is_empty()
        {
            draft.take(Taking { block, source, addresses });
        }
    }
}
