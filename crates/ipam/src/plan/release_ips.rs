//! Releases single addresses (`libcalico-go/lib/ipam/ipam.go`, `ReleaseIPs`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::{BlockCidr, DecodeError, HandleId, Key, Kind, Timestamp};
use store::{Batch, Depth, Expect, ReadSet, Report, Scope, View};

use crate::block::{self, ReleaseError, ReleaseIp};
use crate::config;
use crate::handle::{self, Counts};
use crate::plan::attempts::{self, Tally};
use crate::plan::release::{Assignment, Changed, Memory, Returned, is_deselected, owner_node, write_back};
use crate::plan::{Plan, Planner};
use crate::pools;
use crate::usage;

/// A request to release addresses.
#[derive(Clone, Debug, Default)]
pub struct ReleaseIps {
    /// The addresses to release.
    pub ips: Vec<ReleaseIp>,
    /// Whether an address that does not match keeps no other address of its block from being released.
    pub each_alone: bool,
}

impl ReleaseIps {
    /// A request to release those addresses.
    pub fn new(ips: Vec<ReleaseIp>) -> ReleaseIps {
        ReleaseIps { ips, each_alone: false }
    }

    /// The same request, in which an address that does not match keeps no other address from being released.
    pub fn each_alone(self) -> ReleaseIps {
        ReleaseIps { each_alone: true, ..self }
    }

    /// The planner for this request.
    pub fn planner(self) -> ReleaseIpsPlanner {
        let ReleaseIps { ips, each_alone } = self;
        ReleaseIpsPlanner { ips, each_alone, ..ReleaseIpsPlanner::default() }
    }
}

/// The planner for [`ReleaseIps`].
#[derive(Clone, Debug, Default)]
pub struct ReleaseIpsPlanner {
    /// The addresses that are not certainly released yet.
    ips: Vec<ReleaseIp>,
    each_alone: bool,
    memory: Memory,
    /// The assignment of each address when the request first read it. A retry releases no later assignment of
    /// the same address.
    meant: BTreeMap<IpAddr, Assignment>,
    /// What handles count too much because their addresses were released.
    tallies: BTreeMap<HandleId, Tally>,
}

/// Why an address was not released.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseIpsError {
    /// The address was assigned again in the meantime, or belongs to another handle. No address of its block
    /// was released.
    #[error(transparent)]
    Block(#[from] ReleaseError),
    /// The address's block, or one that may hold the address, cannot be parsed. Mend that record.
    #[error(transparent)]
    Unreadable(#[from] DecodeError),
}

/// The result of the request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReleasedIps {
    /// Addresses that were released.
    pub released: Vec<IpAddr>,
    /// Addresses that were not assigned, or are cooling down.
    pub unallocated: Vec<IpAddr>,
    /// The error of the first block that refused.
    pub error: Option<ReleaseIpsError>,
    /// Addresses that do not match, where each stands for itself.
    pub refused: Vec<(IpAddr, ReleaseError)>,
}

impl Planner for ReleaseIpsPlanner {
    type Answer = ReleasedIps;
    type Error = std::convert::Infallible;

    fn reads(&self) -> ReadSet {
        let owing = self.owing().cloned().map(Key::Handle);
        ReadSet::new().key(Key::IpamConfig).keys(owing).scope(Scope::kind(Kind::IPPool), Depth::Full)
    }

    fn plan(&mut self, view: &View, now: Timestamp, _seed: u64) -> Result<Plan<ReleasedIps>, Self::Error> {
        // The blocks are read after the handles.
        let missing = view.missing(self.blocks().into_iter().map(Key::Block));
        if !missing.is_empty() {
            return Ok(Plan::Fetch(missing));
        }
        let gone = self.memory.settle(view);
        self.note(gone);
        let mut answer = ReleasedIps {
            released: self.memory.given_back().iter().map(|allocation| allocation.addr).collect(),
            ..ReleasedIps::default()
        };
        let by_block = match self.by_block(view, &mut answer) {
            Ok(by_block) => by_block,
            Err(more) => return Ok(Plan::Fetch(more)),
        };
        let cooldown = config::of(view).cooldown_seconds;
        let mut changed = BTreeMap::new();
        let mut releases: Vec<Returned> = Vec::new();
        for (cidr, ips) in by_block {
            let Some(change) = Changed::of(view, &mut changed, cidr) else {
                answer.unallocated.extend(ips.iter().map(|ip| ip.addr));
                continue;
            };
            let (mut ips, others) = self.meant(change, ips);
            answer.unallocated.extend(others);
            if self.each_alone {
                answer.refused.extend(block::take_refused(&mut change.block, &mut ips, now, cooldown));
            }
            let mut allocations: Vec<_> =
                ips.iter().filter_map(|ip| Assignment::of(&change.block, ip.addr)).collect();
            match block::release(&mut change.block, &ips, now, cooldown) {
                Ok(released) => {
                    answer.released.extend(&released.released);
                    answer.unallocated.extend(&released.unallocated);
                    if released.released.is_empty() {
                        changed.remove(&cidr);
                    } else {
                        allocations.retain(|allocation| released.released.contains(&allocation.addr));
                        releases.push(Returned { block: cidr, allocations });
                    }
                }
                Err(error) => {
                    changed.remove(&cidr);
                    answer.error.get_or_insert(error.into());
                }
            }
        }
        let handles = releases.iter().flat_map(Returned::handles).chain(self.owing());
        let mut missing = view.missing(handles.cloned().map(Key::Handle).collect::<Vec<_>>());
        let nodes = changed.values().filter_map(|change| owner_node(view, &change.block));
        missing = missing.keys(nodes);
        if !missing.is_empty() {
            return Ok(Plan::Fetch(missing));
        }
        match self.batch(view, changed, releases) {
            Ok(batch) if batch.is_empty() => Ok(Plan::Done(answer)),
            Ok(batch) => Ok(Plan::Commit { batch, answer }),
            Err(more) => Ok(Plan::Fetch(more)),
        }
    }

    fn can_do_without(&self, key: &Key) -> bool {
        match key {
            // The block tells which addresses have been released, so it must be readable.
            Key::Block(block) => !self.blocks().contains(block),
            Key::IpamConfig | Key::Resource { kind: Kind::Node, .. } => true,
            _ => false,
        }
    }

    fn observe(&mut self, report: &Report) {
        let applied = self.memory.observe(report);
        self.note(applied);
        self.tallies.values_mut().for_each(|tally| tally.observe(report));
    }
}

impl ReleaseIpsPlanner {
    /// The handles that may count too much.
    fn owing(&self) -> impl Iterator<Item = &HandleId> {
        self.tallies.iter().filter(|(_, tally)| tally.owes()).map(|(id, _)| id)
    }

    /// The blocks that must be known before anything can be concluded about earlier attempts.
    fn blocks(&self) -> BTreeSet<BlockCidr> {
        self.memory.in_doubt().chain(self.tallies.values().flat_map(Tally::blocks)).collect()
    }

    /// Remembers what was certainly released. The handles count too much until the batch that released it, or
    /// a later one, has lowered them.
    fn note(&mut self, returned: Vec<Returned>) {
        for Returned { block, allocations } in returned {
            self.ips.retain(|ip| !allocations.iter().any(|allocation| allocation.addr == ip.addr));
            for id in allocations.into_iter().filter_map(|allocation| allocation.handle) {
                self.tallies.entry(id).or_default().owe(block);
            }
        }
    }

    /// Splits the addresses of a block: those whose assignment is the one that the request first read, and
    /// the others.
    fn meant(&mut self, change: &Changed, ips: Vec<ReleaseIp>) -> (Vec<ReleaseIp>, Vec<IpAddr>) {
        let mut others = Vec::new();
        let mut meant = ips;
        meant.retain(|ip| {
            let Some(found) = Assignment::of(&change.block, ip.addr) else { return true };
            let is_meant = *self.meant.entry(ip.addr).or_insert_with(|| found.clone()) == found;
            if !is_meant {
                others.push(ip.addr);
            }
            is_meant
        });
        (meant, others)
    }

    /// Groups the addresses by the blocks that hold them; the error is what must be read for that. Disabled
    /// pools count, too. If an address has no pool any more, or its pool was created again with another block
    /// size, blocks of every size are looked at.
    fn by_block(
        &self,
        view: &View,
        answer: &mut ReleasedIps,
    ) -> Result<BTreeMap<BlockCidr, Vec<ReleaseIp>>, ReadSet> {
        let mut by_block: BTreeMap<BlockCidr, Vec<ReleaseIp>> = BTreeMap::new();
        let mut unread: BTreeSet<BlockCidr> = BTreeSet::new();
        for ip in &self.ips {
            let pool = pools::all(view).find(|pool| pool.cidr.contains(ip.addr));
            let first = pool.and_then(|pool| pool.block_of(ip.addr));
            match first.map(|cidr| (cidr, view.block(cidr))) {
                Some((cidr, Some(Some(_)))) => by_block.entry(cidr).or_default().push(ip.clone()),
                Some((cidr, None)) => match view.unreadable(&Key::Block(cidr)) {
                    Some(block) => drop(answer.error.get_or_insert(block.error.clone().into())),
                    None => drop(unread.insert(cidr)),
                },
                Some((_, Some(None))) | None => {
                    let around = || usage::blocks_around(ip.addr).map(Key::Block);
                    let damaged = around().find_map(|key| view.unreadable(&key));
                    let around = usage::blocks_around(ip.addr);
                    unread.extend(around.filter(|cidr| view.is_unread(&Key::Block(*cidr))));
                    let holding =
                        usage::blocks_around(ip.addr).find(|cidr| view.block(*cidr).flatten().is_some());
                    match holding {
                        Some(cidr) => by_block.entry(cidr).or_default().push(ip.clone()),
                        None => match damaged {
                            Some(block) => drop(answer.error.get_or_insert(block.error.clone().into())),
                            None => answer.unallocated.push(ip.addr),
                        },
                    }
                }
            }
        }
        if unread.is_empty() {
            return Ok(by_block);
        }
        Err(ReadSet::new().keys(unread.into_iter().map(Key::Block)))
    }

    /// The writes: first fences of blocks whose count in a handle is too high since an earlier attempt; then
    /// block after block, and each handle after its last block.
    fn batch(
        &mut self,
        view: &View,
        mut changed: BTreeMap<BlockCidr, Changed>,
        releases: Vec<Returned>,
    ) -> Result<Batch, ReadSet> {
        let mut batch = Batch::new();
        let mut returns = Vec::new();
        // The content of each block that the batch has written so far.
        let mut written: BTreeMap<BlockCidr, api::Block> = BTreeMap::new();
        self.settle_handles(view);
        let owing: Vec<HandleId> = self.owing().cloned().collect();
        for cidr in owing.iter().flat_map(|id| self.tallies[id].to_fence(view, id)).collect::<BTreeSet<_>>() {
            if let Some(Some((stored, revision))) = view.block(cidr)
                && !changed.contains_key(&cidr)
            {
                attempts::fence(&mut batch, stored, Expect::at(revision));
                written.insert(cidr, stored.clone());
            }
        }
        let mut last: BTreeMap<&HandleId, BlockCidr> = BTreeMap::new();
        for release in &releases {
            last.extend(release.handles().into_iter().map(|id| (id, release.block)));
        }
        for id in owing.iter().filter(|id| !last.contains_key(id)) {
            self.count(&mut batch, view, id, &written);
        }
        for release in &releases {
            let cidr = release.block;
            let Some(change) = changed.remove(&cidr) else { continue };
            written.insert(cidr, change.block.clone());
            let deselected = is_deselected(view, &change.block);
            returns.push((write_back(&mut batch, view, change, deselected)?, release.clone()));
            for id in release.handles() {
                self.tallies.entry(id.clone()).or_default().owe(cidr);
                if last.get(id) == Some(&cidr) {
                    self.count(&mut batch, view, id, &written);
                }
            }
        }
        self.memory.plan(returns);
        Ok(batch)
    }

    /// Adds a handle's write, which sets its counts for the blocks that the batch has written.
    fn count(
        &mut self,
        batch: &mut Batch,
        view: &View,
        id: &HandleId,
        written: &BTreeMap<BlockCidr, api::Block>,
    ) {
        let Some(mut draft) = handle::HandleDraft::of(view, id).filter(handle::HandleDraft::exists) else {
            return;
        };
        let Some(tally) = self.tallies.get_mut(id) else { return };
        let held = |block| Some((block, block::may_hold(written.get(&block)?, id.as_str())));
        let written = tally.blocks().filter_map(held).collect();
        tally.write(batch, &mut draft, view, Counts::new(), &written);
    }

    /// Compares the counts with the stored handles.
    fn settle_handles(&mut self, view: &View) {
        for (id, tally) in &mut self.tallies {
            if let Some(found) = view.handle(id) {
                tally.settle(found.map(|(_, revision)| revision));
            }
        }
    }
}
