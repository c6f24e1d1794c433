//! Makes sure that a host owns a block (`libcalico-go/lib/ipam/ipam.go`, `EnsureBlock`), by the search and
//! the claims of [`AutoAssign`].

use std::sync::Arc;

use api::{BlockCidr, Cidr, Family, Key, Pool, Timestamp, Use};
use store::{ReadSet, Report, View};

use super::draft::{Draft, FamilyDraft, Source};
use super::{AutoAssign, AutoAssignError, AutoAssignPlanner};
use crate::block::HostReserved;
use crate::config;
use crate::plan::{Plan, Planner};
use crate::reservations::Reserved;
use crate::verdict::NoSink;

/// A request that a host own at least one block of each wanted family, in the pools for workloads that select
/// it. A full block is enough. It takes no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnsureBlock {
    /// The host.
    pub host: String,
    /// Whether the host is to own an IPv4 block.
    pub v4: bool,
    /// Whether the host is to own an IPv6 block.
    pub v6: bool,
    /// The IPv4 pools to take the block from; see [`AutoAssign::v4_pools`].
    pub v4_pools: Vec<Cidr>,
    /// The IPv6 pools to take the block from.
    pub v6_pools: Vec<Cidr>,
    /// How many blocks the host may own; see [`AutoAssign::max_blocks_per_host`].
    pub max_blocks_per_host: u32,
    /// The addresses that the host reserves in each of its blocks (Windows).
    pub host_reserved: Option<HostReserved>,
}

impl EnsureBlock {
    /// A request of a host that wants no block yet.
    pub fn new(host: impl Into<String>) -> EnsureBlock {
        EnsureBlock {
            host: host.into(),
            v4: false,
            v6: false,
            v4_pools: Vec::new(),
            v6_pools: Vec::new(),
            max_blocks_per_host: 0,
            host_reserved: None,
        }
    }

    /// The planner for this request.
    pub fn planner(self) -> EnsureBlockPlanner {
        let search = AutoAssign {
            v4: self.v4.into(),
            v6: self.v6.into(),
            v4_pools: self.v4_pools,
            v6_pools: self.v6_pools,
            max_blocks_per_host: self.max_blocks_per_host,
            host_reserved: self.host_reserved,
            ..AutoAssign::new(self.host, Use::Workload)
        };
        EnsureBlockPlanner { search: search.planner() }
    }
}

/// Why the host has no block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnsureBlockError {
    /// There is no pool for the host, or the host may own no more blocks.
    #[error(transparent)]
    Search(#[from] AutoAssignError),
    /// Every block of the host's pools has an owner, or is reserved. Create a pool, or release the affinities
    /// of hosts that are gone.
    #[error(
        "failed to find or claim a block: the {family} pools of host {host} have none that is free (add a pool, or \
         release affinities that are not needed)"
    )]
    NoneFree {
        /// The host.
        host: String,
        /// The family that lacks a block.
        family: Family,
    },
}

/// The result of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EnsuredBlocks {
    /// An IPv4 block of the host, where one is wanted.
    pub v4: Option<BlockCidr>,
    /// An IPv6 block of the host, where one is wanted.
    pub v6: Option<BlockCidr>,
}

/// The planner for [`EnsureBlock`].
#[derive(Clone, Debug)]
pub struct EnsureBlockPlanner {
    /// The search for one address of each family. The drafts take the block of such an address instead.
    search: AutoAssignPlanner<NoSink>,
}

impl EnsureBlockPlanner {
    /// What to do in each family; the error is what must be read before.
    fn drafts(&self, view: &View, now: Timestamp, seed: u64) -> Result<Vec<FamilyDraft>, ReadSet> {
        let (reserved, config) = (Reserved::in_view(view), config::of(view));
        let context = self.search.context(view, &reserved, &config, (now, seed));
        let (mut drafts, mut needs) = (Vec::new(), self.search.progress.missing(view));
        for family in self.search.families() {
            match context.draft_of_block(family) {
                Ok(draft) => drafts.push(draft),
                Err(more) => needs = needs.and(more),
            }
        }
        if needs.is_empty() { Ok(drafts) } else { Err(needs) }
    }

    /// The block of a draft, and the pool that it is claimed from, unless it is the host's already.
    fn block_of(&self, draft: &mut FamilyDraft) -> Result<(BlockCidr, Option<Arc<Pool>>), EnsureBlockError> {
        if let Some(error) = draft.assigned.error.take() {
            return Err(error.into());
        }
        let Some(taking) = draft.takings.first() else {
            let (host, family) = (self.search.request.host.clone(), draft.family);
            return Err(EnsureBlockError::NoneFree { host, family });
        };
        let cidr = taking.block.cidr;
        let is_new = !matches!(taking.source, Source::Stored(_));
        let pool = draft.pool_of(cidr).filter(|_| is_new);
        Ok((cidr, pool.cloned()))
    }
}

impl Planner for EnsureBlockPlanner {
    type Answer = EnsuredBlocks;
    type Error = EnsureBlockError;

    fn reads(&self) -> ReadSet {
        self.search.reads()
    }

    fn plan(&mut self, view: &View, now: Timestamp, seed: u64) -> Result<Plan<Self::Answer>, Self::Error> {
        if self.search.progress.missing(view).is_empty() {
            // The request has no handle and takes no address, so it cannot be overtaken.
            let _ = self.search.progress.settle(view);
        }
        let mut drafts = match self.drafts(view, now, seed) {
            Ok(drafts) => drafts,
            Err(more) => return Ok(Plan::Fetch(more)),
        };
        let mut answer = EnsuredBlocks::default();
        if drafts.iter().any(FamilyDraft::is_blocked) {
            return Ok(self.search.clear(drafts, view, answer));
        }
        let mut sources = Vec::new();
        for draft in &mut drafts {
            let (cidr, pool) = self.block_of(draft)?;
            sources.extend(pool);
            match draft.family {
                Family::V4 => answer.v4 = Some(cidr),
                Family::V6 => answer.v6 = Some(cidr),
            }
        }
        let (owner, node) = (&self.search.owner, self.search.node.as_ref());
        let draft = Draft { owner, node, view };
        let mut batch = draft.batch(drafts, &mut self.search.progress);
        if !sources.is_empty() {
            draft.guard(&mut batch, &sources);
        }
        Ok(if batch.is_empty() { Plan::Done(answer) } else { Plan::Commit { batch, answer } })
    }

    fn can_do_without(&self, key: &Key) -> bool {
        self.search.can_do_without(key)
    }

    fn is_answered_by(&self, report: &Report) -> bool {
        self.search.is_answered_by(report)
    }

    fn observe(&mut self, report: &Report) {
        self.search.observe(report);
    }

    fn owes(&self) -> bool {
        self.search.owes()
    }

    fn give_up(&mut self, view: &View, now: Timestamp) -> Plan<()> {
        self.search.give_up(view, now)
    }
}
