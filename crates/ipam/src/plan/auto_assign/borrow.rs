//! Taking single addresses from blocks of others.

use store::Depth;

use super::draft::{FamilyDraft, Source};
use super::family::{Context, Stop};
use crate::block;
use crate::plan::auto_assign::draft::Taking;
use crate::pools::Choice;

/// Blocks read at a time.
const AT_ONCE: usize = 8;

impl Context<'_> {
    /// Takes what is missing from any block of the pools, in the host's order.
    pub fn borrow(&self, draft: &mut FamilyDraft, choice: &Choice) -> Result<(), Stop> {
        self.need_all(draft.family, Depth::Header)?;
        let mut exhausted = Vec::new();
        for pool in &choice.pools {
            let candidates: Vec<_> = self
                .by_ring(pool)
                .into_iter()
                // With a cooldown, addresses may have become free since the block was last written.
                .filter(|(_, header)| header.free > 0 || self.config.cooldown_seconds > 0)
                .map(|(cidr, _)| cidr)
                .filter(|cidr| !draft.takes_from(*cidr) && !self.reserved.covers(*cidr))
                .collect();
            for some in candidates.chunks(AT_ONCE) {
                if draft.missing() == 0 {
                    break;
                }
                self.need_blocks(some.iter().copied())?;
                for cidr in some.iter().filter(|_| draft.missing() > 0).copied().collect::<Vec<_>>() {
                    self.borrow_from(draft, cidr);
                }
            }
            if draft.missing() > 0 {
                exhausted.push(pool.cidr.to_string());
            }
        }
        if draft.missing() > 0 {
            draft.tell(format!("No IPs available in pools: [{}]", exhausted.join(" ")));
        }
        Ok(())
    }

    fn borrow_from(&self, draft: &mut FamilyDraft, cidr: api::BlockCidr) {
        if draft.missing() == 0 {
            return;
        }
        let Some(Some((stored, revision))) = self.view.block(cidr) else { return };
        let mut block = self.collected(stored);
        let taken =
            block::assign(&mut block, draft.missing(), None, self.progress.attribute(), self.reserved);
        if let Ok(addresses) = taken
            && !addresses.is_empty()
        {
            draft.take(Taking { block, source: Source::Stored(revision.clone()), addresses });
        }
    }
}
