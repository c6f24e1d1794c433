//! Releases affinities: all of a host, all in a network, those of a host in a network, or a single one.

use api::{BlockCidr, Cidr, Family, Key, Kind, Owner, Timestamp};
use store::{Batch, Depth, Expect, ReadSet, Report, Scope, Slot, View};

use crate::affinity;
use crate::block;
use crate::config;
use crate::plan::attempts::Writes;
use crate::plan::{Plan, Planner};
use crate::pools::{self, NetworkError};

/// How many affinities one batch releases. A large release thus makes progress even if a later batch fails.
const AT_ONCE: usize = 16;

/// Which affinities to release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All affinities of an owner (`ReleaseHostAffinities`).
    Owner(Owner),
    /// All affinities whose block begins in a network, of hosts and virtual owners (`ReleasePoolAffinities`).
    Within(Cidr),
    /// The affinities of an owner to the blocks that lie in a network (`ReleaseAffinity`). The network lies
    /// in an enabled pool, and is as large as one of the pool's blocks, or larger.
    OwnerWithin(Owner, Cidr),
    /// The affinity of an owner to a block.
    One(Owner, BlockCidr),
}

/// A request to release affinities. Empty blocks are deleted. Blocks in use stay, without owner.
#[derive(Clone, Debug)]
pub struct ReleaseAffinities {
    /// The affinities to release.
    pub which: Which,
    /// Whether to leave blocks that are in use to their owners, and report them.
    pub must_be_empty: bool,
}

impl ReleaseAffinities {
    /// The planner for this request.
    pub fn planner(self) -> ReleaseAffinitiesPlanner {
        ReleaseAffinitiesPlanner { request: self, released: Vec::new(), writes: Writes::default() }
    }
}

/// The planner for [`ReleaseAffinities`].
#[derive(Clone, Debug)]
pub struct ReleaseAffinitiesPlanner {
    request: ReleaseAffinities,
    /// The blocks whose affinities earlier attempts released.
    released: Vec<BlockCidr>,
    /// The last write of each release, by owner and block.
    writes: Writes<(Owner, BlockCidr)>,
}

/// Why not every affinity was released.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseAffinitiesError {
    /// The owner has no name.
    #[error("Hostname must be specified to release block affinity")]
    NoHost,
    /// The network of [`Which::OwnerWithin`] cannot be given up by blocks.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// The result of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleasedAffinities {
    /// The blocks whose affinities were released, by this and earlier attempts.
    pub released: Vec<BlockCidr>,
    /// The blocks that kept their affinity because they are in use (`block '<cidr>' is not empty`).
    pub in_use: Vec<BlockCidr>,
    /// Whether there are more affinities to release; then repeat the request.
    pub more: bool,
}

impl Planner for ReleaseAffinitiesPlanner {
    type Answer = ReleasedAffinities;
    type Error = ReleaseAffinitiesError;

    fn reads(&self) -> ReadSet {
        match &self.request.which {
            Which::Owner(owner) => ReadSet::new()
                .scope(Scope::Affinities { owner: Some(owner.clone()), family: None }, Depth::Full),
            Which::OwnerWithin(owner, network) => {
                let family = Some(network.family());
                ReadSet::new()
                    .scope(Scope::Affinities { owner: Some(owner.clone()), family }, Depth::Full)
                    .scope(Scope::kind(Kind::IPPool), Depth::Full)
            }
            Which::Within(_) => {
                ReadSet::new().scope(Scope::Affinities { owner: None, family: None }, Depth::Full)
            }
            Which::One(owner, block) => {
                ReadSet::new().key(Key::Affinity { owner: owner.clone(), block: *block })
            }
        }
        .key(Key::IpamConfig)
    }

    fn plan(&mut self, view: &View, now: Timestamp, _seed: u64) -> Result<Plan<Self::Answer>, Self::Error> {
        if let Which::Owner(owner) | Which::OwnerWithin(owner, _) | Which::One(owner, _) = &self.request.which
            && owner.name().is_empty()
        {
            return Err(ReleaseAffinitiesError::NoHost);
        }
        if let Which::OwnerWithin(_, network) = &self.request.which {
            pools::of_network(view, network)?;
        }
        let cooldown = config::of(view).cooldown_seconds;
        let wanted = self.wanted(view);
        let mut batch = Batch::new();
        let mut in_use = Vec::new();
        let mut more = false;
        let mut planned = Vec::new();
        self.settle(view);
        for some in wanted.chunks(AT_ONCE) {
            if !batch.is_empty() {
                more = true;
                break;
            }
            // The affinity is read before the block. In the other order, a claim could end between the two
            // reads, and its live affinity would look stale.
            let affinities =
                some.iter().map(|(owner, cidr)| Key::Affinity { owner: owner.clone(), block: *cidr });
            let missing = view.missing(affinities);
            if !missing.is_empty() {
                return Ok(Plan::Fetch(missing));
            }
            let missing = view.missing(some.iter().map(|(_, cidr)| Key::Block(*cidr)));
            if !missing.is_empty() {
                return Ok(Plan::Fetch(missing));
            }
            for (owner, cidr) in some {
                let found = view.affinity(owner, *cidr).flatten();
                let block = view.block(*cidr).flatten().map(|(stored, revision)| {
                    let mut block = stored.clone();
                    block::collect(&mut block, now, cooldown);
                    (block, revision)
                });
                let own = owner.affinity_text();
                match block {
                    // An empty block without owner is deleted, too, together with the affinity: an earlier
                    // release gave the block up while it was in use, and was then interrupted.
                    Some((block, revision))
                        if block.affinity.as_deref() == Some(&own)
                            || block.affinity.is_none() && block::is_empty(&block) && found.is_some() =>
                    {
                        if self.request.must_be_empty && !block::is_empty(&block) {
                            in_use.push(*cidr);
                            continue;
                        }
                        affinity::release(&mut batch, owner, found, block, Expect::at(revision));
                    }
                    // The block has another owner, is in use without an owner, or does not exist: the
                    // affinity is stale.
                    _ => {
                        let Some((_, revision)) = found else { continue };
                        affinity::drop_stale(&mut batch, owner, *cidr, revision);
                    }
                }
                planned.push((batch.writes.len() - 1, (owner.clone(), *cidr)));
            }
        }
        let released = self.released.iter().copied().chain(planned.iter().map(|(_, (_, cidr))| *cidr));
        let answer = ReleasedAffinities { released: released.collect(), in_use, more };
        self.writes.plan(planned);
        Ok(if batch.is_empty() { Plan::Done(answer) } else { Plan::Commit { batch, answer } })
    }

    fn observe(&mut self, report: &Report) {
        let applied = self.writes.observe(report);
        self.released.extend(applied.into_iter().map(|(_, cidr)| cidr));
    }
}

impl ReleaseAffinitiesPlanner {
    /// Decides the releases in doubt: if the affinity is gone, the block was released; else this attempt
    /// releases it again.
    fn settle(&mut self, view: &View) {
        for (owner, cidr) in self.writes.take_in_doubt() {
            if view.affinity(&owner, cidr) == Some(None) {
                self.released.push(cidr);
            }
        }
    }

    /// The affinities to release, by owner and block.
    fn wanted(&self, view: &View) -> Vec<(Owner, BlockCidr)> {
        match &self.request.which {
            Which::Owner(owner) => {
                let blocks = Family::BOTH.into_iter().flat_map(|family| view.affine_blocks(owner, family));
                blocks.map(|(cidr, ..)| (owner.clone(), cidr)).collect()
            }
            Which::OwnerWithin(owner, network) => {
                let blocks = view.affine_blocks(owner, network.family()).into_iter().map(|(cidr, ..)| cidr);
                let inside = blocks.filter(|cidr| network.covers(&cidr.cidr()));
                inside.map(|cidr| (owner.clone(), cidr)).collect()
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
