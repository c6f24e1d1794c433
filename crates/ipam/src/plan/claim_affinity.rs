//! Makes a host the owner of all blocks of a network (`libcalico-go/lib/ipam/ipam.go`, `ClaimAffinity`). No
//! selector, reservation or limit on blocks plays a part.

use std::sync::Arc;

use api::{Attribute, BlockCidr, Cidr, Key, Kind, Owner, Pool, Timestamp};
use store::{Batch, Depth, Expect, ReadSet, Report, Scope, View};

use crate::affinity::{self, Action, BlockState};
use crate::block;
use crate::config;
use crate::plan::assign_ip::overlapping;
use crate::plan::progress::{Progress, WritePurposes};
use crate::plan::{Plan, Planner};
use crate::pools::{self, NetworkError};

/// How many blocks one request looks at. A network may have more of them than any program can count.
const AT_ONCE: usize = 16;

/// A request to make an owner the owner of the blocks of a network. It looks at the first few of them; its
/// answer says where the next request goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimAffinity {
    /// The network. It lies in an enabled pool, and is as large as one of the pool's blocks, or larger.
    pub cidr: Cidr,
    /// The owner to be.
    pub owner: Owner,
    /// The first block to look at ([`ClaimedAffinities::next`]); `None` for the network's first block.
    pub from: Option<BlockCidr>,
}

impl ClaimAffinity {
    /// A request for the first blocks of a network.
    pub fn new(cidr: Cidr, owner: Owner) -> ClaimAffinity {
        ClaimAffinity { cidr, owner, from: None }
    }

    /// The planner for this request.
    pub fn planner(self) -> ClaimAffinityPlanner {
        // No address is taken, so nothing ever holds this attribute.
        let progress = Progress::new(self.owner.clone(), Arc::new(Attribute::default()), None);
        ClaimAffinityPlanner { request: self, progress }
    }

    /// The blocks to look at, in ascending order, and the first one after them.
    fn blocks(&self, pool: &Pool) -> (Vec<BlockCidr>, Option<BlockCidr>) {
        let from = self.from.filter(|from| self.cidr.covers(&from.cidr()));
        let first = from.map_or(self.cidr.first(), |from| from.cidr().first());
        // The network lies in the pool, and so does each of its blocks.
        let start = pool.index_of(first).unwrap_or_default();
        let is_inside = |block: &BlockCidr| self.cidr.contains(block.cidr().first());
        let some = (0..=AT_ONCE as u128).map_while(|n| pool.block_at(start.checked_add(n)?));
        let mut blocks: Vec<BlockCidr> = some.take_while(is_inside).collect();
        let next = blocks.get(AT_ONCE).copied();
        blocks.truncate(AT_ONCE);
        (blocks, next)
    }
}

/// Why no block was claimed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimAffinityError {
    /// The owner has no name.
    #[error("Hostname must be specified to claim block affinity")]
    NoHost,
    /// The network cannot be claimed by blocks.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// The result of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimedAffinities {
    /// The blocks that are the owner's now, those that were before included.
    pub claimed: Vec<BlockCidr>,
    /// The blocks that could not be claimed: each is another owner's, or in use without an owner, or a stored
    /// block of another size overlaps it.
    pub failed: Vec<BlockCidr>,
    /// The first block that was not looked at; then ask again from that block ([`ClaimAffinity::from`]).
    pub next: Option<BlockCidr>,
}

/// The planner for [`ClaimAffinity`].
#[derive(Clone, Debug)]
pub struct ClaimAffinityPlanner {
    request: ClaimAffinity,
    progress: Progress,
}

impl ClaimAffinityPlanner {
    /// What must be read before anything can be concluded about the blocks. An affinity is read before its
    /// block: in the other order a claim could end in between, and its live affinity would look stale.
    fn missing(&self, view: &View, blocks: &[BlockCidr]) -> ReadSet {
        let owner = &self.request.owner;
        let affinities = blocks.iter().map(|block| Key::Affinity { owner: owner.clone(), block: *block });
        let missing = view.missing(affinities);
        if !missing.is_empty() {
            return missing;
        }
        let missing = self.progress.missing(view).and(view.missing(blocks.iter().copied().map(Key::Block)));
        // A block must not overlap a block of another size, left by an earlier pool.
        let scope = Scope::Blocks { family: Some(self.request.cidr.family()) };
        let is_unproven = |block: &BlockCidr| !affinity::is_proven(view, owner, *block);
        if missing.is_empty() && blocks.iter().any(is_unproven) && !view.is_complete(&scope, Depth::Key) {
            return ReadSet::new().scope(scope, Depth::Key);
        }
        missing
    }

    /// Adds the writes that make a block the owner's, if any are needed. Gives whether it is the owner's once
    /// the batch is applied.
    fn claim(
        &self,
        batch: &mut Batch,
        purposes: &mut WritePurposes,
        view: &View,
        cidr: BlockCidr,
        now: Timestamp,
    ) -> bool {
        let owner = &self.request.owner;
        let found = view.affinity(owner, cidr).flatten();
        let seen = affinity::block_state(view, cidr, &owner.affinity_text());
        let scope = Scope::Blocks { family: Some(cidr.family()) };
        let may_be_claimed =
            || affinity::is_proven(view, owner, cidr) || overlapping(view, &scope, cidr).is_none();
        match (affinity::action(found.map(|(affinity, _)| affinity.state), seen), view.block(cidr).flatten())
        {
            (Action::Use, _) => true,
            // A block that cannot be parsed ends the operation before.
            (Action::Fetch, _) => false,
            (Action::Heal, Some((stored, revision))) if !may_be_claimed() => {
                affinity::release(batch, owner, found, stored.clone(), Expect::at(revision));
                false
            }
            (Action::Heal, Some((stored, revision))) => {
                purposes.claims.push(affinity::heal(batch, owner, found, stored.clone(), revision));
                true
            }
            (_, Some((stored, revision))) => {
                let mut block = stored.clone();
                block::collect(&mut block, now, config::of(view).cooldown_seconds);
                if seen != BlockState::Ownerless || !block::is_empty(&block) || !may_be_claimed() {
                    return false;
                }
                batch.delete(Key::Block(cidr), Expect::at(revision));
                let created = block::create(cidr, owner, None, now);
                purposes.claims.push(affinity::claim(batch, owner, found, created));
                true
            }
            (_, None) => {
                if !may_be_claimed() {
                    return false;
                }
                let created = block::create(cidr, owner, None, now);
                purposes.claims.push(affinity::claim(batch, owner, found, created));
                true
            }
        }
    }
}

impl Planner for ClaimAffinityPlanner {
    type Answer = ClaimedAffinities;
    type Error = ClaimAffinityError;

    fn reads(&self) -> ReadSet {
        ReadSet::new()
            .key(Key::IpamConfig)
            .and(self.progress.reads())
            .scope(Scope::kind(Kind::IPPool), Depth::Full)
    }

    fn plan(&mut self, view: &View, now: Timestamp, _seed: u64) -> Result<Plan<Self::Answer>, Self::Error> {
        if self.request.owner.name().is_empty() {
            return Err(ClaimAffinityError::NoHost);
        }
        let pool = pools::of_network(view, &self.request.cidr)?;
        let (blocks, next) = self.request.blocks(pool);
        let missing = self.missing(view, &blocks);
        if !missing.is_empty() {
            return Ok(Plan::Fetch(missing));
        }
        // The request has no handle and takes no address, so it cannot be overtaken.
        let _ = self.progress.settle(view);
        let mut batch = Batch::new();
        let mut purposes = WritePurposes::default();
        let (claimed, failed): (Vec<BlockCidr>, Vec<BlockCidr>) =
            blocks.iter().partition(|cidr| self.claim(&mut batch, &mut purposes, view, **cidr, now));
        self.progress.heal(&mut batch, view, |cidr| blocks.contains(&cidr), &mut purposes);
        if !purposes.claims.is_empty() {
            pools::guard(&mut batch, view, pool);
        }
        for cidr in &claimed {
            purposes.prove(&mut batch, view, &self.request.owner, *cidr, pool);
        }
        purposes.only_tidies_from(&batch);
        let owner_text = self.request.owner.affinity_text();
        let is_stale =
            |cidr: &&BlockCidr| affinity::block_state(view, **cidr, &owner_text) != BlockState::Mine;
        for cidr in failed.iter().filter(is_stale) {
            if let Some((_, revision)) = view.affinity(&self.request.owner, *cidr).flatten() {
                affinity::drop_stale(&mut batch, &self.request.owner, *cidr, revision);
            }
        }
        self.progress.intend(purposes);
        let answer = ClaimedAffinities { claimed, failed, next };
        Ok(if batch.is_empty() { Plan::Done(answer) } else { Plan::Commit { batch, answer } })
    }

    fn is_answered_by(&self, report: &Report) -> bool {
        self.progress.is_answered_by(report)
    }

    fn observe(&mut self, report: &Report) {
        self.progress.observe(report);
    }

    fn owes(&self) -> bool {
        self.progress.owes()
    }

    fn give_up(&mut self, view: &View, now: Timestamp) -> Plan<()> {
        self.progress.give_up(view, now)
    }
}
