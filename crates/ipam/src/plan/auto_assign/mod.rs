//! Assigns addresses to a host from the pools that select it (`libcalico-go/lib/ipam/ipam.go`, `AutoAssign`):
//! from the host's own blocks, then from blocks that it claims, then, unless affinity is strict, from other
//! owners' blocks. One batch serves both families.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::{Attribute, Cidr, Family, HandleId, IpamConfig, Key, Kind, Owner, Timestamp, Use};
use store::{Batch, Depth, ReadSet, Report, Scope, View};

use crate::block::HostReserved;
use crate::config;
use crate::plan::ips_by_handle::addresses;
use crate::plan::progress::{Overtaken, Progress};
use crate::plan::{Plan, Planner};
use crate::pools::PoolsError;
use crate::reservations::Reserved;
use crate::verdict::{NoSink, Sink, Verdict};

mod borrow;
mod claim;
mod draft;
mod ensure;
mod family;
mod own;
mod search;

pub(crate) use claim::RECLAIM_AFTER_SECONDS;
use draft::{Draft, FamilyDraft};
pub use ensure::{EnsureBlock, EnsureBlockError, EnsureBlockPlanner, EnsuredBlocks};

/// A request for addresses.
#[derive(Clone, Debug)]
pub struct AutoAssign {
    /// The host that gets the addresses.
    pub host: String,
    /// What the addresses are for.
    pub intended_use: Use,
    /// The handle by which the addresses can be released.
    pub handle: Option<HandleId>,
    /// The owner of the addresses: node, pod, namespace, timestamp and more. Together with the handle, the
    /// attributes are the request's identity.
    pub attributes: BTreeMap<String, String>,
    /// How many IPv4 addresses the request wants.
    pub v4: u32,
    /// How many IPv6 addresses the request wants.
    pub v6: u32,
    /// The IPv4 pools to take from, in this order, whatever their selectors say; if empty, the pools that
    /// select the host.
    pub v4_pools: Vec<Cidr>,
    /// The IPv6 pools to take from; see `v4_pools`.
    pub v6_pools: Vec<Cidr>,
    /// The labels of the namespace, for the pools' namespace selectors.
    pub namespace_labels: Option<BTreeMap<String, String>>,
    /// How many blocks the host may own in the pools of the request; 0 for the configuration's limit.
    pub max_blocks_per_host: u32,
    /// Whether to write nothing unless every address of both families can be assigned.
    pub all_or_nothing: bool,
    /// The addresses that the host reserves in each of its blocks (Windows).
    pub host_reserved: Option<HostReserved>,
    /// How many addresses of a family the handle may hold. If it already holds as many as the request wants,
    /// these are the answer. If the request fails, the handle keeps what the request has taken: another
    /// request may have been answered it.
    pub max_per_handle: Option<u32>,
}

impl AutoAssign {
    /// A request of a host that wants no address yet.
    pub fn new(host: impl Into<String>, intended_use: Use) -> AutoAssign {
        AutoAssign {
            host: host.into(),
            intended_use,
            handle: None,
            attributes: BTreeMap::new(),
            v4: 0,
            v6: 0,
            v4_pools: Vec::new(),
            v6_pools: Vec::new(),
            namespace_labels: None,
            max_blocks_per_host: 0,
            all_or_nothing: false,
            host_reserved: None,
            max_per_handle: None,
        }
    }

    /// The planner for this request.
    pub fn planner(self) -> AutoAssignPlanner {
        self.planner_for(NoSink)
    }

    /// The planner for this request, which gives its verdict on each pool and block to `sink`.
    pub fn planner_for<S: Sink>(self, sink: S) -> AutoAssignPlanner<S> {
        let attribute = Attribute {
            handle_id: self.handle.as_ref().map(|id| id.as_str().to_string()),
            owner: self.attributes.clone(),
            ..Attribute::default()
        };
        let owner = match self.intended_use {
            Use::LoadBalancer => Owner::load_balancer(),
            Use::Workload | Use::Tunnel => Owner::Host(self.host.clone()),
        };
        let node = matches!(owner, Owner::Host(_)).then(|| Key::global(Kind::Node, self.host.as_str()));
        let progress = Progress::new(owner.clone(), Arc::new(attribute), self.handle.clone())
            .of_limited(self.max_per_handle);
        let owner_text = owner.affinity_text();
        AutoAssignPlanner {
            owner_text,
            owner,
            node,
            request: self,
            progress,
            refusal: config::Refusal::default(),
            refused: None,
            sink,
        }
    }

    fn wanted(&self, family: Family) -> u32 {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    fn pools(&self, family: Family) -> &[Cidr] {
        match family {
            Family::V4 => &self.v4_pools,
            Family::V6 => &self.v6_pools,
        }
    }
}

/// Why no addresses can be assigned, or the search for more ended. That there are too few free addresses is
/// no error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AutoAssignError {
    /// There is no pool to take addresses from.
    #[error(transparent)]
    Pools(#[from] PoolsError),
    /// The node's resource does not exist. Create it.
    #[error("resource does not exist: Node({0}) with error: <nil>")]
    NoNode(String),
    /// The host owns as many blocks as it may. Raise the limit, or release blocks that are not needed.
    #[error("cannot allocate new block due to per host block limit")]
    BlockLimit,
    /// The host's blocks are full, and hosts may not claim others (`autoAllocateBlocks` is false).
    #[error("failed to find or claim a block")]
    NoAutoAllocate,
    /// The handle holds as many addresses as it may.
    #[error("handle {handle} already has {held} allocation(s), cannot allocate more (maxAlloc={most})")]
    HandleLimit {
        /// The handle.
        handle: HandleId,
        /// How many addresses of the family the handle holds.
        held: u32,
        /// How many addresses of the family the handle may hold.
        most: u32,
        /// How many of the addresses blocks hold. If these are fewer than `held`, another request for the
        /// same handle has counted an address and not taken it yet, or ended in between.
        found: u32,
    },
    /// Another request has released the handle in the meantime.
    #[error(transparent)]
    Overtaken(#[from] Overtaken),
}

/// An address that was assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The address.
    pub addr: IpAddr,
    /// The prefix length to configure with the address: that of its block, or of a single address where the
    /// handle held it already.
    pub prefix: u8,
}

/// The result of the request in one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assigned {
    /// How many addresses the request wants.
    pub requested: u32,
    /// The addresses that were assigned.
    pub addresses: Vec<Address>,
    /// Why there are not more addresses.
    pub messages: Vec<Verdict>,
    /// Why the search ended early.
    pub error: Option<AutoAssignError>,
}

/// The result of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AutoAssigned {
    /// The result for IPv4.
    pub v4: Assigned,
    /// The result for IPv6.
    pub v6: Assigned,
}

impl AutoAssigned {
    /// The result for a family.
    pub fn family(&self, family: Family) -> &Assigned {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// Whether every wanted address was assigned.
    pub fn is_whole(&self) -> bool {
        Family::BOTH.iter().all(|f| self.family(*f).addresses.len() >= self.family(*f).requested as usize)
    }
}

impl Assigned {
    /// Why there are fewer addresses than wanted, in Calico's words; `None` when there are enough.
    pub fn shortage(&self, family: Family, host_reserved: Option<&HostReserved>) -> Option<String> {
        if self.addresses.len() >= self.requested as usize {
            return None;
        }
        let mut parts = vec![format!(
            "Assigned {} out of {} requested {family} addresses",
            self.addresses.len(),
            self.requested
        )];
        parts.extend(self.messages.iter().map(Verdict::to_string));
        parts.extend(host_reserved.map(|reserved| format!("HostReservedAttr: {}", reserved.handle)));
        Some(parts.join("; "))
    }
}

/// The planner for [`AutoAssign`].
#[derive(Clone, Debug)]
pub struct AutoAssignPlanner<S = NoSink> {
    request: AutoAssign,
    owner: Owner,
    owner_text: String,
    /// The node that is the owner; `None` for other owners.
    node: Option<Key>,
    progress: Progress,
    refusal: config::Refusal,
    /// The answer, once it is certain that the request gets no address. From then on the planner only takes
    /// back what earlier attempts got.
    refused: Option<AutoAssigned>,
    sink: S,
}

impl<S: Sink> AutoAssignPlanner<S> {
    fn families(&self) -> impl Iterator<Item = Family> + '_ {
        Family::BOTH.into_iter().filter(|family| self.request.wanted(*family) > 0)
    }

    /// Everything on which the plan of a family depends.
    fn context<'a>(
        &'a self,
        view: &'a View,
        reserved: &'a Reserved,
        config: &'a IpamConfig,
        (now, seed): (Timestamp, u64),
    ) -> family::Context<'a, S> {
        family::Context {
            view,
            request: &self.request,
            owner: &self.owner,
            owner_text: &self.owner_text,
            node: self.node.as_ref(),
            progress: &self.progress,
            reserved,
            config,
            now,
            seed,
            sink: &self.sink,
        }
    }

    /// The addresses that the handle already holds, where the request limits them; `Ok(None)` when it may
    /// take more.
    fn held_addresses(&self, view: &View, family: Family) -> Result<Option<Vec<Address>>, AutoAssignError> {
        let (Some(most), Some(id)) = (self.request.max_per_handle, &self.request.handle) else {
            return Ok(None);
        };
        let Some(Some((handle, _))) = view.handle(id) else { return Ok(None) };
        let wanted = self.request.wanted(family);
        let held = self.progress.held_count(view, id, handle, family);
        // Addresses that this request itself got do not count as held before.
        if held.saturating_add(wanted) <= most || self.progress.taken_addresses(family).next().is_some() {
            return Ok(None);
        }
        let blocks = handle.blocks.keys().filter(|block| block.family() == family);
        let all = addresses(view, id, blocks);
        let mut addresses: Vec<Address> =
            all.map(|(addr, ..)| Address { addr, prefix: family.bits() }).collect();
        let found = addresses.len() as u32;
        match found >= wanted {
            true => {
                // As many as the request wants, and the same ones each time.
                addresses.truncate(wanted as usize);
                Ok(Some(addresses))
            }
            false => Err(AutoAssignError::HandleLimit { handle: id.clone(), held, most, found }),
        }
    }

    /// The blocks that must be read to know what the handle holds.
    fn unread_of_handle(&self, view: &View) -> Vec<Key> {
        let (Some(_), Some(id)) = (self.request.max_per_handle, &self.request.handle) else {
            return Vec::new();
        };
        let Some(Some((handle, _))) = view.handle(id) else { return Vec::new() };
        handle.blocks.keys().filter(|b| view.block(**b).is_none()).map(|b| Key::Block(*b)).collect()
    }
}

impl<S: Sink> Planner for AutoAssignPlanner<S> {
    type Answer = AutoAssigned;
    type Error = AutoAssignError;

    fn reads(&self) -> ReadSet {
        let family = match (self.request.v4 > 0, self.request.v6 > 0) {
            (true, false) => Some(Family::V4),
            (false, true) => Some(Family::V6),
            _ => None,
        };
        ReadSet::new()
            .key(Key::IpamConfig)
            .keys(self.node.clone())
            .and(self.progress.reads())
            .scope(Scope::kind(Kind::IPPool), Depth::Full)
            .scope(Scope::kind(Kind::IPReservation), Depth::Full)
            .scope(Scope::Affinities { owner: Some(self.owner.clone()), family }, Depth::Full)
    }

    fn plan(
        &mut self,
        view: &View,
        now: Timestamp,
        seed: u64,
    ) -> Result<Plan<AutoAssigned>, AutoAssignError> {
        self.sink.begin();
        let mut needs = self.progress.missing(view).keys(self.unread_of_handle(view));
        if let Some(answer) = self.refused.clone() {
            return Ok(if needs.is_empty() { self.give_back(answer, view, now) } else { Plan::Fetch(needs) });
        }
        if needs.is_empty() {
            self.progress.settle(view)?;
        }
        let reserved = Reserved::in_view(view);
        let config = config::of(view);
        let mut drafts: Vec<FamilyDraft> = Vec::new();
        for family in self.families() {
            if needs.is_empty()
                && let Some(addresses) = self.held_addresses(view, family)?
            {
                drafts.push(FamilyDraft::of_held(family, self.request.wanted(family), addresses));
                continue;
            }
            match self.context(view, &reserved, &config, (now, seed)).draft(family) {
                Ok(draft) => {
                    let failed = draft.assigned.error.is_some();
                    drafts.push(draft);
                    // In Calico, too, an error in IPv4 ends the request.
                    if failed {
                        break;
                    }
                }
                Err(more) => needs = needs.and(more),
            }
        }
        if !needs.is_empty() {
            return Ok(Plan::Fetch(needs));
        }
        if drafts.iter().any(FamilyDraft::is_blocked) {
            return Ok(self.clear(drafts, view, AutoAssigned::default()));
        }
        let mut answer = AutoAssigned::default();
        answer.v4.requested = self.request.v4;
        answer.v6.requested = self.request.v6;
        for draft in &mut drafts {
            let assigned = std::mem::take(&mut draft.assigned);
            match draft.family {
                Family::V4 => answer.v4 = assigned,
                Family::V6 => answer.v6 = assigned,
            }
        }
        let missing = if answer.is_whole() { ReadSet::new() } else { self.refusal.missing(view) };
        if !missing.is_empty() {
            return Ok(Plan::Fetch(missing));
        }
        if self.request.all_or_nothing && !answer.is_whole() {
            answer.v4.addresses.clear();
            answer.v6.addresses.clear();
            self.refused = Some(answer.clone());
            return Ok(self.give_back(answer, view, now));
        }
        let batch = self.batch(drafts, view);
        Ok(if batch.is_empty() { Plan::Done(answer) } else { Plan::Commit { batch, answer } })
    }

    fn may_begin_warm(&self) -> bool {
        // Under a limit, what the handle holds already is the answer, or a part of it.
        self.request.max_per_handle.is_none()
    }

    fn may_stand_warm(&self, answer: &AutoAssigned) -> bool {
        answer.is_whole() && self.progress.has_answer()
    }

    fn may_pass(&self, error: &AutoAssignError) -> bool {
        // Two pods of one virtual machine may begin at once: the second waits for the first one's address.
        matches!(error, AutoAssignError::HandleLimit { held, found, .. } if found < held)
    }

    fn can_do_without(&self, key: &Key) -> bool {
        match key {
            Key::IpamConfig => true,
            // What earlier attempts wrote must be read again.
            Key::Block(_) | Key::Affinity { .. } => !self.progress.rests_on(key),
            _ => false,
        }
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

impl<S: Sink> AutoAssignPlanner<S> {
    fn batch(&mut self, drafts: Vec<FamilyDraft>, view: &View) -> Batch {
        let (owner, node) = (&self.owner, self.node.as_ref());
        Draft { owner, node, view }.batch(drafts, &mut self.progress)
    }

    /// Plans only to release and delete blocks, some of which are in the way of those that the request could
    /// claim. Once they are gone, everything is planned anew, so `answer` is not given.
    fn clear<A>(&mut self, mut drafts: Vec<FamilyDraft>, view: &View, answer: A) -> Plan<A> {
        drafts.iter_mut().for_each(|draft| draft.takings.clear());
        let batch = self.batch(drafts, view);
        self.progress.only_prepares();
        Plan::Commit { batch, answer }
    }

    /// Answers a request that wants all or nothing and cannot have all: first takes back what earlier
    /// attempts got.
    fn give_back(&mut self, answer: AutoAssigned, view: &View, now: Timestamp) -> Plan<AutoAssigned> {
        match self.progress.give_up(view, now) {
            Plan::Fetch(set) => Plan::Fetch(set),
            Plan::Commit { batch, .. } => Plan::Commit { batch, answer },
            Plan::Done(()) => Plan::Done(answer),
        }
    }
}
