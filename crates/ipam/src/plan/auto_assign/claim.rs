//! Finding a block that the host can make its own.

use std::collections::BTreeMap;

use api::{BlockCidr, BlockHeader, Family, Key, Pool, Timestamp, cidr};
use store::{Depth, ReadSet, Scope, Slot};

use super::draft::{FamilyDraft, Source};
use super::family::{Context, Stop};
use crate::block;
use crate::pools::Choice;
use crate::ring;

/// Headers read at a time.
pub(super) const PAGE: usize = 500;
/// Seconds for which a claimed block is left to its owner even if it is empty.
const RECLAIM_AFTER_SECONDS: i64 = 60;

impl Context<'_> {
    /// Adds a block that nobody has yet, or that its owner has not used for a minute; `false` when there is none.
    pub fn claim_one(&self, draft: &mut FamilyDraft, choice: &Choice) -> Result<bool, Stop> {
        let family = draft.family;
        self.need_keys(family)?;
        let stored = self.stored(family);
        for pool in &choice.pools {
            if let Some(cidr) = self.unclaimed(pool, &stored, draft) {
                self.take_claimed(draft, cidr, Source::Claimed);
                return Ok(true);
            }
        }
        self.need_all(family, Depth::Header)?;
        for pool in &choice.pools {
            for (cidr, header) in self.by_ring(pool) {
                let mine = header.affinity.as_deref() == Some(self.owner_text);
                if mine && header.free > 0 && !draft.takes_from(cidr) && !draft.stale.contains(&cidr) {
                    self.need_blocks([cidr].into_iter())?;
                    let before = draft.takings.len();
                    self.take_stored(draft, cidr, Source::Healed);
                    if draft.takings.len() > before {
                        return Ok(true);
                    }
                }
            }
        }
        self.reclaim_one(draft, choice)
    }

    /// The first block in the host's order that no stored block overlaps and that is not reserved as a whole. Jumps over reservations, and so needs at most as
    /// many steps as there are stored blocks and reservations.
    fn unclaimed(&self, pool: &Pool, stored: &Stored, draft: &FamilyDraft) -> Option<BlockCidr> {
        let count = pool.block_count();
        let start = ring::start(pool, &self.request.host, self.seed)?;
        let mut walked: u128 = 0;
        while walked < count {
            let index = if start >= count - walked { start - (count - walked) } else { start + walked };
            let cidr = pool.block_at(index)?;
            if self.reserved.covers(cidr) {
                let end = self.reserved.end_of(cidr.cidr().first())?;
                let end = if pool.cidr.contains(end) { pool.index_of(end)? } else { count - 1 };
                // The block of the last reserved address is reserved as a whole, unless the range ends inside of it.
                let next = if pool.block_at(end).is_some_and(|last| self.reserved.covers(last)) {
                    end + 1
                } else {
                    end
                };
                // Not past the place where the walk wraps, or began.
                walked +=
                    (next - index).min(if index < start { start - index } else { count - index }).max(1);
                continue;
            }
            if !stored.overlaps(cidr) && !draft.takes_from(cidr) {
                return Some(cidr);
            }
            walked += 1;
        }
        None
    }

    /// Takes over an empty block of another owner who has had it for a while.
    fn reclaim_one(&self, draft: &mut FamilyDraft, choice: &Choice) -> Result<bool, Stop> {
        for pool in &choice.pools {
            for (cidr, header) in self.by_ring(pool) {
                let usable = header.affinity.as_deref() != Some(self.owner_text)
                    && is_old(&header, self.now)
                    && !draft.takes_from(cidr)
                    && !self.reserved.covers(cidr);
                // With a cooldown, addresses may have become free since the block was last written.
                if !usable || (header.free < cidr.size() && self.config.cooldown_seconds == 0) {
                    continue;
                }
                self.need_blocks([cidr].into_iter())?;
                let Some(Some((stored, revision))) = self.view.block(cidr) else { continue };
                if !block::is_empty(&self.collected(stored))
                    || stored.sequence_number != header.sequence_number
                {
                    continue;
                }
                if let Some(owner) = stored.owner() {
                    let key = Key::Affinity { owner, block: cidr };
                    if self.view.full(&key).is_none() {
                        return Err(Stop::Fetch(ReadSet::new().key(key)));
                    }
                }
                let source = Source::Reclaimed(revision.clone());
                self.take_claimed(draft, cidr, source);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The stored blocks of a pool whose headers are known, in the host's order.
    pub fn by_ring(&self, pool: &Pool) -> Vec<(BlockCidr, BlockHeader)> {
        let count = pool.block_count();
        let Some(start) = ring::start(pool, &self.request.host, self.seed) else { return Vec::new() };
        let scope = Scope::Blocks { family: Some(pool.family()) };
        let mut found: Vec<(u128, BlockCidr, BlockHeader)> = Vec::new();
        for (key, slot) in self.view.slots(&scope) {
            let Key::Block(cidr) = key else { continue };
            let header = match slot {
                Slot::Header(header, _) => header.clone(),
                Slot::Full(record) => match record.block() {
                    Some(block) => block.header(),
                    None => continue,
                },
                Slot::Key(_) | Slot::Absent => continue,
            };
            if cidr.cidr().prefix() == pool.block_size
                && let Some(index) = pool.index_of(cidr.cidr().first())
            {
                found.push((ring::distance(start, count, index), *cidr, header));
            }
        }
        found.sort_by_key(|(distance, ..)| *distance);
        found.into_iter().map(|(_, cidr, header)| (cidr, header)).collect()
    }

    fn need_keys(&self, family: Family) -> Result<(), Stop> {
        self.need_all(family, Depth::Key)
    }

    fn stored(&self, family: Family) -> Stored {
        let scope = Scope::Blocks { family: Some(family) };
        let blocks = self.view.slots(&scope).filter(|(_, slot)| **slot != Slot::Absent);
        Stored::of(
            blocks.filter_map(|(key, _)| if let Key::Block(block) = key { Some(*block) } else { None }),
        )
    }
}

/// Which addresses stored blocks cover, of whatever size they are.
struct Stored {
    ends: BTreeMap<u128, u128>,
}

impl Stored {
    fn of(blocks: impl Iterator<Item = BlockCidr>) -> Stored {
        let mut ends: BTreeMap<u128, u128> = BTreeMap::new();
        for block in blocks {
            let (first, last) = (cidr::number(block.cidr().first()), cidr::number(block.cidr().last()));
            let end = ends.entry(first).or_insert(last);
            *end = (*end).max(last);
        }
        Stored { ends }
    }

    /// Networks are nested or disjoint: an overlapping one begins inside of `block`, or is a larger one around it.
    fn overlaps(&self, block: BlockCidr) -> bool {
        let (first, last) = (cidr::number(block.cidr().first()), cidr::number(block.cidr().last()));
        if self.ends.range(first..=last).next().is_some() {
            return true;
        }
        // A block around it has at most 2^16 addresses, and begins at a multiple of its size: go through the sizes.
        let bits = block.family().bits();
        (bits - BlockCidr::MAX_HOST_BITS..block.cidr().prefix()).any(|prefix| {
            let around = BlockCidr::holding(block.cidr().first(), prefix);
            around.is_some_and(|around| {
                self.ends.get(&cidr::number(around.cidr().first())).is_some_and(|end| *end >= last)
            })
        })
    }
}

/// Whether a block was claimed long enough ago to be taken over; no claim time means very long ago.
fn is_old(header: &BlockHeader, now: Timestamp) -> bool {
    header.affinity_claim_time.is_none_or(|time| now.as_second() - time.as_second() >= RECLAIM_AFTER_SECONDS)
}
