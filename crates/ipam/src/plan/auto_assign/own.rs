//! Uses the blocks that the host has affinities to. A host with many has them read in portions, because each
//! block is a record of its own, and on Kubernetes a request of its own.

use std::cmp::Reverse;

use api::{AffinityState, BlockCidr};

use super::draft::{FamilyDraft, Source};
use super::family::Stop;
use super::search::Search;
use crate::affinity::Action;
use crate::verdict::{BlockVerdict, Sink};

/// How many blocks every request looks at, in Calico's order. It is more than the default limit of a host's
/// blocks, so a usual host has all its blocks read at once.
const FIRST: usize = 32;
/// How many of the newest blocks a request looks at after these, because a host claims a block when its
/// others are full.
const NEWEST: usize = 32;
/// How many of the rest it looks at as well, because releases make room anywhere. They are chosen by chance:
/// the first ones with room in a fixed order would always be used up. If no block so far has room, the
/// request claims another one, and looks at the rest only if it cannot.
const BY_CHANCE: usize = 64;

/// A block, and the state of the host's affinity to it; `None` for a block that this request claimed and
/// whose affinity was lost.
type OwnBlock = (BlockCidr, Option<AffinityState>);

/// The blocks of a host in the pools of a request, in the order in which the request looks at them.
pub(super) struct Own {
    blocks: Vec<OwnBlock>,
    /// How many of the blocks were looked at.
    seen: usize,
    /// How many blocks are the host's: of those that were looked at, and of those that it got since.
    pub owned: u32,
}

impl Own {
    /// Puts the blocks in order. They are given in Calico's order.
    pub fn of<S: Sink>(search: &Search<'_, S>, mut blocks: Vec<OwnBlock>) -> Own {
        if blocks.len() > FIRST {
            // The request may have to finish the claims of its earlier attempts, so these come first.
            blocks.sort_by_key(|(_, state)| state.is_some());
            let others = &mut blocks[FIRST..];
            // A host claims blocks in the order of the pools, and in a pool in the order of its ring.
            others.sort_by_cached_key(|(cidr, _)| Reverse(search.places(*cidr).max()));
            let older = others.get_mut(NEWEST..).unwrap_or_default();
            rotate(older, search.context.seed);
        }
        Own { blocks, seen: 0, owned: 0 }
    }

    /// The blocks that every request looks at.
    pub fn first(&self) -> impl Iterator<Item = BlockCidr> {
        self.blocks.iter().take(FIRST).map(|(cidr, _)| *cidr)
    }

    /// Whether there are blocks that were not looked at.
    pub fn has_unseen(&self) -> bool {
        self.seen < self.blocks.len()
    }

    /// How many blocks the host owns, at most: an affinity whose block was not looked at may be stale.
    pub fn at_most(&self) -> u32 {
        let unseen = u32::try_from(self.blocks.len() - self.seen).unwrap_or(u32::MAX);
        self.owned.saturating_add(unseen)
    }
}

impl<S: Sink> Search<'_, S> {
    /// Takes addresses from the blocks that every request looks at.
    pub fn use_first_own(&self, draft: &mut FamilyDraft, own: &mut Own) -> Result<(), Stop> {
        self.use_own(draft, own, FIRST)
    }

    /// Takes addresses from some of the other blocks.
    pub fn use_some_own(&self, draft: &mut FamilyDraft, own: &mut Own) -> Result<(), Stop> {
        self.use_own(draft, own, FIRST + NEWEST + BY_CHANCE)
    }

    /// Takes addresses from all blocks that were not looked at yet.
    pub fn use_all_own(&self, draft: &mut FamilyDraft, own: &mut Own) -> Result<(), Stop> {
        self.use_own(draft, own, usize::MAX)
    }

    /// Looks at the blocks up to the one with that number. Every block passes the healing table.
    fn use_own(&self, draft: &mut FamilyDraft, own: &mut Own, to: usize) -> Result<(), Stop> {
        let context = self.context;
        let to = to.min(own.blocks.len());
        let portion = &mut own.blocks[own.seen..to];
        own.seen = to;
        context.need_blocks(portion.iter().map(|(cidr, _)| *cidr))?;
        if draft.wants_block {
            // Nothing is claimed or healed while the owner has a block.
            portion.sort_by_key(|(cidr, state)| context.action(*cidr, *state) != Action::Use);
        }
        for (cidr, state) in portion.iter().copied() {
            match context.action(cidr, state) {
                Action::Use => {
                    own.owned += 1;
                    context.take_stored(draft, cidr, |revision| context.source_of_stored(cidr, revision));
                }
                Action::Heal if self.may_be_used(cidr)? => {
                    own.owned += 1;
                    context.take_stored(draft, cidr, Source::Healed);
                }
                Action::Heal => context.release_unproven(draft, cidr),
                Action::Claim => {
                    // If the affinity's block would overlap others (because the pool was created again with
                    // another block size), it is not claimed.
                    if draft.missing() == 0 || context.reserved.covers(cidr) {
                        own.owned += 1;
                    } else if self.choice.is_block(cidr) && self.is_free(cidr)? {
                        own.owned += 1;
                        context.take_claimed(draft, cidr, Source::Claimed);
                    } else {
                        context.drop_stale(draft, cidr, BlockVerdict::Overlapping);
                    }
                }
                Action::Drop => context.drop_stale(draft, cidr, BlockVerdict::Stale),
                // The block cannot be parsed. It counts as one of the owner's, and is left alone.
                Action::Fetch => {
                    own.owned += 1;
                    context.tell(cidr, BlockVerdict::Unreadable);
                }
                // This cannot occur: every block was read, and the owner either has an affinity to it or is
                // its owner.
                Action::Pass => {}
            }
        }
        Ok(())
    }
}

/// Leaves only so many of the blocks that a request may read them all at once, chosen by chance: the next
/// requests see to the others.
pub(super) fn keep_some(blocks: &mut Vec<BlockCidr>, seed: u64) {
    if blocks.len() > FIRST {
        rotate(blocks, seed);
        blocks.truncate(FIRST);
    }
}

/// Makes a slice begin at a place that the seed decides.
fn rotate<T>(slice: &mut [T], seed: u64) {
    if !slice.is_empty() {
        // The remainder is less than the length, which is a `usize`.
        slice.rotate_left((seed % slice.len() as u64) as usize);
    }
}
