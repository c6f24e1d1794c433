//! Gives back a host's blocks that have been empty for a while, so that other hosts can claim them, as
//! Calico's controllers do (`kube-controllers/pkg/controllers/node/ipam.go`).

use std::collections::{BTreeMap, BTreeSet};

use api::{AffinityState, Block, BlockCidr, Family, Key, Kind, Owner, Timestamp};
use store::{Batch, Depth, Expect, ReadSet, Report, Scope, View};

use crate::affinity;
use crate::block;
use crate::config;
use crate::plan::attempts::Writes;
use crate::plan::release::is_deselected;
use crate::plan::release_affinities::ReleaseAffinitiesError;
use crate::plan::{Plan, Planner};
use crate::pools;

/// How many blocks one request gives back. A large release thus makes progress even if a later batch fails.
const AT_ONCE: usize = 16;

/// An empty block of a host, as somebody has seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdleBlock {
    /// The block.
    pub cidr: BlockCidr,
    /// The block's sequence number. Every write of a block changes it, so a block that has the same number
    /// later was empty all the time between.
    pub sequence_number: u64,
}

impl IdleBlock {
    /// The empty blocks of hosts in a view, each with its host, by their headers: no address is in use, or
    /// cooling down.
    pub fn in_view(view: &View, now: Timestamp) -> Vec<(String, IdleBlock)> {
        let cooldown = config::of(view).cooldown_seconds;
        let mut idle = Vec::new();
        for (key, slot) in view.slots(&Scope::Blocks { family: None }) {
            let Key::Block(cidr) = key else { continue };
            let Some(header) = slot.header() else { continue };
            let is_warm = header.cooling.is_some_and(|(_, last)| !block::is_cold(last, now, cooldown));
            if let (Some(Owner::Host(host)), 0, false) =
                (header.affinity.as_deref().and_then(Owner::from_affinity_text), header.held, is_warm)
            {
                idle.push((host, IdleBlock { cidr: *cidr, sequence_number: header.sequence_number }));
            }
        }
        idle
    }
}

/// A request to give back those of a host's blocks that are still as they were seen: empty, and not written
/// since. How long ago that was is the caller's matter: Calico waits for its `leakGracePeriod`.
///
/// A host keeps at least one block of each enabled pool that selects it. If two such requests for one host
/// name different blocks at the same time, they can give back all; then the host's next pod claims a block.
#[derive(Clone, Debug)]
pub struct ReleaseIdleBlocks {
    /// The host.
    pub host: String,
    /// Its empty blocks.
    pub blocks: Vec<IdleBlock>,
}

impl ReleaseIdleBlocks {
    /// The planner for this request.
    pub fn planner(self) -> ReleaseIdleBlocksPlanner {
        let owner = Owner::Host(self.host.clone());
        ReleaseIdleBlocksPlanner { request: self, owner, released: Vec::new(), writes: Writes::default() }
    }
}

/// Why a block was not given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The block does not exist, is not the host's, or cannot be parsed.
    NotTheHosts,
    /// The block has been written since it was seen, or the host is just claiming it.
    Changed,
    /// Addresses of the block are in use or cooling down.
    InUse,
    /// The host has no other block of the pool.
    Last,
}

/// The result of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleasedIdleBlocks {
    /// The blocks that were given back, by this and earlier attempts.
    pub released: Vec<BlockCidr>,
    /// The blocks that were not, and why.
    pub kept: Vec<(BlockCidr, Kept)>,
    /// Whether there are more blocks to give back; then repeat the request.
    pub more: bool,
}

/// The planner for [`ReleaseIdleBlocks`].
#[derive(Clone, Debug)]
pub struct ReleaseIdleBlocksPlanner {
    request: ReleaseIdleBlocks,
    owner: Owner,
    /// The blocks that earlier attempts gave back.
    released: Vec<BlockCidr>,
    /// The last write of each release.
    writes: Writes<BlockCidr>,
}

/// What to do about a block.
enum Fate {
    Keep(Kept),
    /// Give the block back. It holds nothing that has not cooled down.
    Release(Block),
    /// An earlier release has deleted the block, and was interrupted before it deleted the affinity.
    Finish,
}

impl Planner for ReleaseIdleBlocksPlanner {
    type Answer = ReleasedIdleBlocks;
    type Error = ReleaseAffinitiesError;

    fn reads(&self) -> ReadSet {
        ReadSet::new()
            .key(Key::IpamConfig)
            .key(Key::global(Kind::Node, self.request.host.as_str()))
            .scope(Scope::kind(Kind::IPPool), Depth::Full)
            .scope(Scope::Affinities { owner: Some(self.owner.clone()), family: None }, Depth::Full)
    }

    fn plan(&mut self, view: &View, now: Timestamp, _seed: u64) -> Result<Plan<Self::Answer>, Self::Error> {
        if self.request.host.is_empty() {
            return Err(ReleaseAffinitiesError::NoHost);
        }
        // The blocks are read after the affinities. In the other order, a claim could end between the two
        // reads, and its live affinity would look like one that was left over.
        let unread = view.unread(self.request.blocks.iter().map(|idle| Key::Block(idle.cidr)));
        if !unread.is_empty() {
            return Ok(Plan::Fetch(unread));
        }
        for cidr in self.writes.take_in_doubt() {
            if view.affinity(&self.owner, cidr) == Some(None) {
                self.released.push(cidr);
            }
        }
        let cooldown = config::of(view).cooldown_seconds;
        let mut answer = ReleasedIdleBlocks { released: self.released.clone(), ..Default::default() };
        let idle: BTreeSet<IdleBlock> = self.request.blocks.iter().copied().collect();
        let mut fates: BTreeMap<BlockCidr, Fate> = BTreeMap::new();
        for idle in idle.iter().filter(|idle| !self.released.contains(&idle.cidr)) {
            fates.insert(idle.cidr, self.fate(view, *idle, now, cooldown));
        }
        self.keep_the_last(view, &mut fates);
        let mut batch = Batch::new();
        let mut planned = Vec::new();
        for (cidr, fate) in fates {
            if let Fate::Keep(why) = fate {
                answer.kept.push((cidr, why));
                continue;
            }
            if planned.len() == AT_ONCE {
                answer.more = true;
                continue;
            }
            let found = view.affinity(&self.owner, cidr).flatten();
            match (fate, view.block(cidr).flatten(), found) {
                (Fate::Release(block), Some((_, revision)), _) => {
                    affinity::release(&mut batch, &self.owner, found, block, Expect::at(revision));
                }
                (_, _, Some((_, revision))) => {
                    affinity::drop_stale(&mut batch, &self.owner, cidr, revision);
                }
                // A block to release was read, and its affinity was, too, so this case does not occur.
                _ => continue,
            }
            planned.push((batch.writes.len() - 1, cidr));
            answer.released.push(cidr);
        }
        self.writes.plan(planned);
        Ok(if batch.is_empty() { Plan::Done(answer) } else { Plan::Commit { batch, answer } })
    }

    fn can_do_without(&self, key: &Key) -> bool {
        matches!(key, Key::IpamConfig | Key::Block(_) | Key::Resource { kind: Kind::Node, .. })
    }

    fn observe(&mut self, report: &Report) {
        self.released.extend(self.writes.observe(report));
    }
}

impl ReleaseIdleBlocksPlanner {
    fn fate(&self, view: &View, idle: IdleBlock, now: Timestamp, cooldown: i64) -> Fate {
        // The affinity of a block that was created late may be gone; that block, too, keeps others out.
        let affinity = view.affinity(&self.owner, idle.cidr).flatten().map(|(affinity, _)| affinity.state);
        let stored = match (view.block(idle.cidr), affinity) {
            (Some(Some((stored, _))), _) => stored,
            (Some(None), Some(AffinityState::PendingDeletion)) => return Fate::Finish,
            _ => return Fate::Keep(Kept::NotTheHosts),
        };
        if stored.affinity.as_deref() != Some(&self.owner.affinity_text()) {
            return Fate::Keep(Kept::NotTheHosts);
        }
        if affinity == Some(AffinityState::Pending) || stored.sequence_number != idle.sequence_number {
            return Fate::Keep(Kept::Changed);
        }
        let mut block = stored.clone();
        block::collect(&mut block, now, cooldown);
        match block::is_empty(&block) {
            true => Fate::Release(block),
            false => Fate::Keep(Kept::InUse),
        }
    }

    /// Lets the host keep a block of each pool from which it takes addresses: the lowest one, where all would
    /// go.
    fn keep_the_last(&self, view: &View, fates: &mut BTreeMap<BlockCidr, Fate>) {
        let blocks = Family::BOTH.into_iter().flat_map(|family| view.affine_blocks(&self.owner, family));
        let confirmed: Vec<BlockCidr> = blocks
            .filter(|(_, affinity, _)| affinity.state == AffinityState::Confirmed)
            .map(|(cidr, ..)| cidr)
            .collect();
        for pool in Family::BOTH.into_iter().flat_map(|family| pools::enabled(view, family)) {
            let of_pool = confirmed.iter().filter(|cidr| pool.cidr.contains(cidr.cidr().first()));
            let goes = |cidr: &BlockCidr, fates: &BTreeMap<BlockCidr, Fate>| matches!(fates.get(cidr), Some(Fate::Release(block)) if !is_deselected(view, block));
            if of_pool.clone().all(|cidr| goes(cidr, fates))
                && let Some(lowest) = of_pool.min()
            {
                fates.insert(*lowest, Fate::Keep(Kept::Last));
            }
        }
    }
}
