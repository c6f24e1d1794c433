//! Releases affinities: of a host, of all hosts in a network, or one.

use api::{AffinityState, BlockCidr, Cidr, Family, Key, Owner, Timestamp};
use store::{Batch, Depth, ReadSet, Scope, Slot, View};

use crate::affinity;
use crate::block;
use crate::handle;
use crate::plan::{Plan, Planner};

/// Blocks whose affinity is released in one batch, so that a large release makes progress whatever else happens.
const AT_ONCE: usize = 16;

/// Which affinities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All of an owner (`ReleaseHostAffinities`).
    Owner(Owner),
    /// All whose block begins in a network, of hosts and virtual owners (`ReleasePoolAffinities`).
    Within(Cidr),
    /// One.
    One(Owner, BlockCidr),
}

/// Affinities to release. Empty blocks are deleted, used ones stay, without owner.
#[derive(Clone, Debug)]
pub struct ReleaseAffinities {
    /// Which ones.
    pub which: Which,
    /// Leave blocks that are in use to their owners, and say so.
    pub must_be_empty: bool,
    released: Vec<BlockCidr>,
    planned: Vec<BlockCidr>,
    refused: Vec<BlockCidr>,
}

impl ReleaseAffinities {
    /// A request to release those.
    pub fn new(which: Which, must_be_empty: bool) -> ReleaseAffinities {
        let none = Vec::new;
        ReleaseAffinities { which, must_be_empty, released: none(), planned: none(), refused: none() }
    }
}

/// Why not every affinity was released.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseAffinitiesError {
    /// The owner has no name.
    #[error("Hostname must be specified to release block affinity")]
    NoHost,
}

/// What became of the affinities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleasedAffinities {
    /// Released.
    pub released: Vec<BlockCidr>,
    /// Left, since they are in use (`block '<cidr>' is not empty`).
    pub in_use: Vec<BlockCidr>,
    /// There are more; ask again.
    pub more: bool,
}

impl Planner for ReleaseAffinities {
    type Answer = ReleasedAffinities;
    type Error = ReleaseAffinitiesError;

    fn reads(&self) -> ReadSet {
        match &self.which {
            Which::Owner(owner) => ReadSet::new()
                .scope(Scope::Affinities { owner: Some(owner.clone()), family: None }, Depth::Full),
            Which::Within(_) => {
                ReadSet::new().scope(Scope::Affinities { owner: None, family: None }, Depth::Full)
            }
            Which::One(owner, block) => ReadSet::new()
                .key(Key::Affinity { owner: owner.clone(), block: *block })
                .key(Key::Block(*block)),
        }
        .key(Key::IpamConfig)
    }

    fn plan(&mut self, view: &View, now: Timestamp, _seed: u64) -> Result<Plan<Self::Answer>, Self::Error> {
        if let Which::Owner(owner) | Which::One(owner, _) = &self.which
            && owner.name().is_empty()
        {
            return Err(ReleaseAffinitiesError::NoHost);
        }
        let mut wanted: Vec<(Owner, BlockCidr)> = self.wanted(view);
        wanted.retain(|(_, cidr)| !self.refused.contains(cidr));
        let more = wanted.len() > AT_ONCE;
        wanted.truncate(AT_ONCE);
        let missing: Vec<Key> =
            wanted.iter().map(|(_, cidr)| Key::Block(*cidr)).filter(|key| view.full(key).is_none()).collect();
        if !missing.is_empty() {
            return Ok(Plan::Fetch(ReadSet::new().keys(missing)));
        }
        let mut batch = Batch::new();
        self.planned.clear();
        let mut in_use = Vec::new();
        for (owner, cidr) in wanted {
            let found = view.affinity(&owner, cidr).flatten();
            match view.block(cidr).flatten() {
                Some((stored, revision)) if stored.affinity.as_deref() == Some(&owner.affinity_text()) => {
                    let mut block = stored.clone();
                    let cooldown = view.ipam_config().unwrap_or_default().cooldown_seconds;
                    block::collect(&mut block, now, cooldown);
                    if self.must_be_empty && !block::is_empty(&block) {
                        in_use.push(cidr);
                        continue;
                    }
                    affinity::release(&mut batch, &owner, found, block, handle::at(revision));
                }
                // Another's, nobody's, or gone: the affinity is stale.
                _ => {
                    if let Some((_, revision)) = found {
                        affinity::drop_stale(&mut batch, &owner, cidr, revision);
                    }
                }
            }
            self.planned.push(cidr);
        }
        let mut released = self.released.clone();
        released.extend(&self.planned);
        let answer = ReleasedAffinities { released, in_use, more };
        Ok(if batch.is_empty() { Plan::Done(answer) } else { Plan::Commit { batch, answer } })
    }
}

impl ReleaseAffinities {
    /// The affinities in question, by owner and block.
    fn wanted(&self, view: &View) -> Vec<(Owner, BlockCidr)> {
        match &self.which {
            Which::Owner(owner) => {
                let blocks = Family::BOTH.into_iter().flat_map(|family| view.affine_blocks(owner, family));
                blocks.map(|(cidr, ..)| (owner.clone(), cidr)).collect()
            }
            Which::Within(cidr) => {
                let scope = Scope::Affinities { owner: None, family: None };
                let known = view.slots(&scope).filter(|(_, slot)| **slot != Slot::Absent);
                known
                    .filter_map(|(key, _)| match key {
                        Key::Affinity { owner, block } if cidr.contains(block.cidr().first()) => {
                            Some((owner.clone(), *block))
                        }
                        _ => None,
                    })
                    .collect()
            }
            Which::One(owner, block) => vec![(owner.clone(), *block)],
        }
    }
}

/// Whether an affinity counts as held in announcements: confirmed, not on its way in or out.
pub fn is_settled(state: AffinityState) -> bool {
    state == AffinityState::Confirmed
}
