//! Searches the blocks of all hosts, in the order of one host.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use api::{BlockCidr, BlockHeader, Family, Key, Owner, Pool, cidr};
use store::{Depth, ReadSet, Scope, Slot};

use super::family::{Context, Stop};
use crate::affinity;
use crate::plan::assign_ip::overlapping;
use crate::pools::Choice;
use crate::ranges::Ranges;
use crate::reservations;
use crate::ring::Ring;
use crate::verdict::{BlockVerdict, Sink};

/// How many headers are read at once.
pub(super) const PAGE: usize = 500;
/// How many blocks without an affinity a claim reads, at most. A host that claims a block takes the first
/// free one in its order, so its lost blocks are near the start of that order.
const UNATTENDED: usize = 64;

/// A search through the pools of a family. It reads and computes each thing when that is first needed.
pub(super) struct Search<'a, S> {
    pub context: &'a Context<'a, S>,
    pub choice: &'a Choice<'a>,
    pub pools: &'a [&'a Arc<Pool>],
    family: Family,
    rings: OnceCell<Vec<Option<Ring>>>,
    taken: OnceCell<Ranges>,
    candidates: OnceCell<Vec<Candidate>>,
}

/// A stored block of a pool, with what its header says.
pub(super) struct Candidate {
    /// The index of the block's pool among the chosen pools.
    pub pool: usize,
    pub cidr: BlockCidr,
    pub header: BlockHeader,
    steps: u128,
}

impl<'a, S: Sink> Search<'a, S> {
    /// A search through the pools of `choice`.
    pub fn new(context: &'a Context<'a, S>, choice: &'a Choice<'a>) -> Search<'a, S> {
        Search {
            context,
            choice,
            pools: &choice.pools,
            // A choice has at least one pool.
            family: choice.pools.first().map_or(Family::V4, |pool| pool.family()),
            rings: OnceCell::new(),
            taken: OnceCell::new(),
            candidates: OnceCell::new(),
        }
    }

    /// The host's ring in each pool; `None` for a pool that is smaller than one block.
    pub fn rings(&self) -> &[Option<Ring>] {
        let (host, seed) = (&self.context.request.host, self.context.seed);
        self.rings.get_or_init(|| self.pools.iter().map(|pool| Ring::of(pool, host, seed)).collect())
    }

    /// Whether no stored block overlaps `block`.
    pub fn is_free(&self, block: BlockCidr) -> Result<bool, Stop> {
        let (first, last) = reservations::numbers(&block.cidr());
        Ok(self.taken()?.meeting(first, last).is_none())
    }

    /// Whether a stored block may be used, as far as other blocks are concerned: it needs no proof, or it can
    /// be proven (see [`affinity`]).
    pub fn may_be_used(&self, block: BlockCidr) -> Result<bool, Stop> {
        let context = self.context;
        if affinity::is_proven(context.view, context.owner, block) {
            return Ok(true);
        }
        context.need_all(self.family, Depth::Key)?;
        let blocks = Scope::Blocks { family: Some(self.family) };
        Ok(self.choice.is_block(block) && overlapping(context.view, &blocks, block).is_none())
    }

    /// The addresses that stored blocks cover, of any block size.
    pub fn taken(&self) -> Result<&Ranges, Stop> {
        self.need_keys()?;
        Ok(self.taken.get_or_init(|| {
            let scope = Scope::Blocks { family: Some(self.family) };
            let stored = self.context.view.slots(&scope).filter(|(_, slot)| **slot != Slot::Absent);
            Ranges::of(stored.filter_map(|(key, _)| match key {
                Key::Block(block) => Some(reservations::numbers(&block.cidr())),
                _ => None,
            }))
        }))
    }

    /// Demands the keys of all blocks and of everybody's affinities. The affinities are in the same read as
    /// the blocks, so a claim takes no step more for them.
    fn need_keys(&self) -> Result<(), Stop> {
        let mut set = ReadSet::new();
        for scope in [Scope::Blocks { family: Some(self.family) }, self.affinities()] {
            if !self.context.view.is_complete(&scope, Depth::Key) {
                set = set.scope(scope, Depth::Key);
            }
        }
        if set.is_empty() { Ok(()) } else { Err(Stop::Fetch(set)) }
    }

    fn affinities(&self) -> Scope {
        Scope::Affinities { owner: None, family: Some(self.family) }
    }

    /// The blocks in the pools to which nobody has an affinity, in the host's order, at most [`UNATTENDED`].
    /// Such a block is nobody's, or its owner's affinity was lost. It may have another size than the pool's
    /// blocks, if the pool was made anew: it is in the way of these.
    ///
    /// First it reads those affinities of the request's owner that the list by owner lacks: old releases of
    /// Calico wrote affinities to Kubernetes without the labels by which that list is made. The planner then
    /// begins again, and knows these affinities.
    pub fn unattended(&self) -> Result<Vec<BlockCidr>, Stop> {
        self.need_keys()?;
        let view = self.context.view;
        let mut attended: BTreeSet<BlockCidr> = BTreeSet::new();
        let mut unlisted = Vec::new();
        let affinities = self.affinities();
        for (key, slot) in view.slots(&affinities).filter(|(_, slot)| **slot != Slot::Absent) {
            let Key::Affinity { owner, block } = key else { continue };
            attended.insert(*block);
            if owner == self.context.owner && matches!(slot, Slot::Key(_)) {
                unlisted.push(key.clone());
            }
        }
        if !unlisted.is_empty() {
            return Err(Stop::Fetch(ReadSet::new().keys(unlisted)));
        }
        let blocks = Scope::Blocks { family: Some(self.family) };
        let stored = view.slots(&blocks).filter(|(_, slot)| **slot != Slot::Absent);
        let mut found: Vec<(usize, u128, BlockCidr)> = Vec::new();
        for (key, _) in stored {
            if let Key::Block(cidr) = key
                && !attended.contains(cidr)
            {
                found.extend(self.beginnings(*cidr).map(|(pool, steps)| (pool, steps, *cidr)));
            }
        }
        found.sort_unstable();
        let mut blocks: Vec<BlockCidr> = found.into_iter().map(|(.., cidr)| cidr).collect();
        blocks.dedup();
        blocks.truncate(UNATTENDED);
        Ok(blocks)
    }

    /// The pools into whose blocks a block fits, by index, and how far it is from the start of the ring.
    pub fn places(&self, cidr: BlockCidr) -> impl Iterator<Item = (usize, u128)> {
        self.beginnings(cidr).filter(move |(at, _)| self.pools[*at].block_size == cidr.cidr().prefix())
    }

    /// The pools in which a block of any size begins, as [`places`](Search::places).
    fn beginnings(&self, cidr: BlockCidr) -> impl Iterator<Item = (usize, u128)> {
        self.pools.iter().zip(self.rings()).enumerate().filter_map(move |(at, (pool, ring))| {
            let index = pool.index_of(cidr.cidr().first())?;
            Some((at, ring.as_ref()?.steps_to(index)))
        })
    }

    /// The stored blocks that have their pool's block size, pool by pool, in the host's order.
    pub fn candidates(&self) -> Result<&[Candidate], Stop> {
        self.context.need_all(self.family, Depth::Header)?;
        Ok(self.candidates.get_or_init(|| {
            let scope = Scope::Blocks { family: Some(self.family) };
            let mut found: Vec<Candidate> = Vec::new();
            for (key, slot) in self.context.view.slots(&scope).filter(|(_, slot)| **slot != Slot::Absent) {
                let Key::Block(cidr) = key else { continue };
                let Some(header) = slot.header() else {
                    self.context.tell(*cidr, BlockVerdict::Unreadable);
                    continue;
                };
                // The owner has a form that this program does not know, so nobody here knows which rules that
                // owner relies on.
                let owner = header.affinity.as_deref().filter(|text| !text.is_empty());
                if owner.is_some_and(|text| Owner::from_affinity_text(text).is_none()) {
                    self.context.tell(*cidr, BlockVerdict::OddOwner);
                    continue;
                }
                let before = found.len();
                let places = self.places(*cidr);
                found.extend(places.map(|(pool, steps)| Candidate {
                    pool,
                    cidr: *cidr,
                    header: header.clone().into_owned(),
                    steps,
                }));
                if found.len() == before {
                    self.context.tell(*cidr, BlockVerdict::OfNoPool);
                }
            }
            found.sort_by_key(|candidate| (candidate.pool, candidate.steps));
            found
        }))
    }
}

/// The first block in the order of a ring that overlaps no stored block, is not reserved as a whole, and is
/// not named by `is_used`. It jumps over adjacent stored blocks and over reservations, so it takes no more
/// steps than there are of these.
pub(super) fn first_unclaimed(
    pool: &Pool,
    ring: &Ring,
    taken: &Ranges,
    reserved: &reservations::Reserved,
    is_used: impl Fn(BlockCidr) -> bool,
) -> Option<BlockCidr> {
    let host_bits = u32::from(pool.family().bits() - pool.block_size);
    let index_of = |number: u128| (number - cidr::number(pool.cidr.first())) >> host_bits;
    let mut steps: u128 = 0;
    while let Some(index) = ring.at(steps) {
        let block = pool.block_at(index)?;
        let (first, last) = reservations::numbers(&block.cidr());
        let next = if let Some(end) = reserved.covered_to(block) {
            end.checked_add(1).map_or(u128::MAX, index_of)
        } else if let Some((_, end)) = taken.meeting(first, last) {
            index_of(end).saturating_add(1)
        } else if is_used(block) {
            index + 1
        } else {
            return Some(block);
        };
        // After the end of the pool, the ring continues at the pool's beginning.
        steps = steps.saturating_add(next.min(ring.count()) - index);
    }
    None
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
