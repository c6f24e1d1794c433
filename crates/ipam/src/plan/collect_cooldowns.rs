//! Ends the cooldowns that are over in blocks that nobody allocates from (`libcalico-go/lib/ipam`,
//! `GarbageCollectColdIPs`). The allocator itself does that only to a block that it writes anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::{Block, BlockCidr, BlockHeader, IpamConfig, Key, Timestamp};
use store::{Batch, ReadSet, Report, Scope, View};

use crate::block;
use crate::config;
use crate::plan::attempts::Writes;
use crate::plan::release::{Changed, write_back};
use crate::plan::{Plan, Planner};

/// How many blocks one request writes at most, of those that [`CollectCooldowns::in_view`] makes.
const AT_ONCE: usize = 16;

/// A request to free the addresses of blocks whose cooldown is over. A block that is empty then, and that is
/// nobody's, is deleted: a release under cooldown had to leave it.
///
/// Whoever looks through a whole cluster reads the headers of its blocks page by page, together with the
/// configuration, and lets [`CollectCooldowns::in_view`] choose the blocks of each page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectCooldowns {
    /// The blocks to look at.
    pub blocks: Vec<BlockCidr>,
}

impl CollectCooldowns {
    /// The requests for those blocks of a view that have something to free or are to be deleted, by their
    /// headers and the view's configuration.
    pub fn in_view(view: &View, now: Timestamp) -> Vec<CollectCooldowns> {
        let config = config::of(view);
        let slots = view.slots(&Scope::Blocks { family: None });
        let due = slots.filter_map(|(key, slot)| match (key, slot.header()) {
            (Key::Block(cidr), Some(header)) => is_due(&header, &config, now).then_some(*cidr),
            _ => None,
        });
        let due: Vec<BlockCidr> = due.collect();
        due.chunks(AT_ONCE).map(|some| CollectCooldowns { blocks: some.to_vec() }).collect()
    }

    /// The planner for this request.
    pub fn planner(self) -> CollectCooldownsPlanner {
        CollectCooldownsPlanner { request: self, answer: Collected::default(), writes: Writes::default() }
    }
}

fn is_due(header: &BlockHeader, config: &IpamConfig, now: Timestamp) -> bool {
    match header.cooling {
        Some((first, _)) => block::is_cold(first, now, config.cooldown_seconds),
        None => header.affinity.is_none() && header.held == 0,
    }
}

/// The result of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// The addresses whose cooldown was ended, by this and earlier attempts.
    pub freed: Vec<IpAddr>,
    /// The blocks that were deleted, by this and earlier attempts.
    pub deleted: Vec<BlockCidr>,
}

/// What one write does to a block.
#[derive(Clone, Debug)]
struct Ending {
    block: BlockCidr,
    freed: Vec<IpAddr>,
    deletes: bool,
}

impl Collected {
    fn add(&mut self, ending: Ending) {
        self.freed.extend(ending.freed);
        self.deleted.extend(ending.deletes.then_some(ending.block));
    }
}

/// The planner for [`CollectCooldowns`]. It cannot fail: a block that cannot be parsed is left alone, and if
/// the configuration cannot be parsed, no cooldown is over.
#[derive(Clone, Debug)]
pub struct CollectCooldownsPlanner {
    request: CollectCooldowns,
    /// What earlier attempts did.
    answer: Collected,
    writes: Writes<Ending>,
}

impl Planner for CollectCooldownsPlanner {
    type Answer = Collected;
    type Error = std::convert::Infallible;

    fn reads(&self) -> ReadSet {
        let blocks = self.request.blocks.iter().map(|cidr| Key::Block(*cidr));
        ReadSet::new().key(Key::IpamConfig).keys(blocks)
    }

    fn plan(&mut self, view: &View, now: Timestamp, _seed: u64) -> Result<Plan<Collected>, Self::Error> {
        self.settle(view);
        let cooldown = config::of(view).cooldown_seconds;
        let mut batch = Batch::new();
        let mut planned = Vec::new();
        let mut changed = BTreeMap::new();
        for cidr in self.request.blocks.iter().collect::<BTreeSet<_>>() {
            let Some(change) = Changed::of(view, &mut changed, *cidr) else { continue };
            let cooling = cooling(&change.block);
            block::collect(&mut change.block, now, cooldown);
            let freed = freed(&change.block, cooling);
            let deletes = change.block.affinity.is_none() && block::is_empty(&change.block);
            match freed.is_empty() && !deletes {
                true => drop(changed.remove(cidr)),
                false => planned.push(Ending { block: *cidr, freed, deletes }),
            }
        }
        let mut answer = self.answer.clone();
        let mut writes = Vec::new();
        for ending in planned {
            let Some(change) = changed.remove(&ending.block) else { continue };
            // Whether a pool still selects the block's owner plays no part, so nothing more must be read.
            match write_back(&mut batch, view, change, false) {
                Ok(index) => writes.push((index, ending.clone())),
                Err(more) => return Ok(Plan::Fetch(more)),
            }
            answer.add(ending);
        }
        self.writes.plan(writes);
        Ok(if batch.is_empty() { Plan::Done(answer) } else { Plan::Commit { batch, answer } })
    }

    fn can_do_without(&self, key: &Key) -> bool {
        matches!(key, Key::IpamConfig | Key::Block(_))
    }

    fn observe(&mut self, report: &Report) {
        self.writes.observe(report).into_iter().for_each(|ending| self.answer.add(ending));
    }
}

impl CollectCooldownsPlanner {
    /// Decides the writes in doubt: what does not cool down any more was freed. What still does is freed
    /// again by this attempt, after which the write in doubt can no longer be applied.
    fn settle(&mut self, view: &View) {
        for Ending { block, freed: doubtful, deletes } in self.writes.take_in_doubt() {
            let (freed, deletes) = match view.block(block) {
                Some(None) => (doubtful, deletes),
                Some(Some((stored, _))) => (freed(stored, doubtful), false),
                None => continue,
            };
            self.answer.add(Ending { block, freed, deletes });
        }
    }
}

/// The addresses of a block that cool down.
fn cooling(block: &Block) -> Vec<IpAddr> {
    (0..block.cidr.size())
        .filter(|at| block::is_cooling(block, *at))
        .filter_map(|at| block.cidr.addr(at))
        .collect()
}

/// Those addresses that do not cool down.
fn freed(block: &Block, mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.retain(|addr| !block.cidr.ordinal(*addr).is_some_and(|at| block::is_cooling(block, at)));
    addresses
}
