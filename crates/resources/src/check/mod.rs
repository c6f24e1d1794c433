//! The check of a cluster's addresses: what the allocator's records say, joined with who uses addresses
//! (`calicoctl/calicoctl/commands/ipam/check.go`).
//!
//! [`Check`] is fed the records page by page and keeps little of each. Blocks have to be fed first, before
//! the handles that they name, and read before those who use addresses: an address that is assigned in
//! between then shows up as used without allocation, which nobody acts on, and not as leaked, which somebody
//! might release. [`Check::end`] joins everything. What Calico's check finds and counts is apart from what
//! only this program finds ([`Checked::more`]).

mod blocks;
mod more;
mod services;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use api::{BlockCidr, Cidr, Key, Kind, Record, Revision, Timestamp};
use ipam::invariants::{BlockFault, Moment, Names, Snapshot, Violation};
use store::{Slot, View};

pub use blocks::{Allocation, CheckedBlock, Owner};
pub use more::Problem;
pub use services::{Load, load_balancers};
pub use users::{User, Witness};

use users::Users;

/// A pool that is not disabled, as Calico lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivePool {
    /// `spec.cidr`.
    pub text: String,
    /// The network; `None` where the text is none.
    pub cidr: Option<Cidr>,
}

/// A check while it is fed.
#[derive(Debug)]
pub struct Check {
    snapshot: Snapshot,
    violations: Vec<Violation>,
    now: Timestamp,
    names: Names,
    blocks: Vec<CheckedBlock>,
    active: Vec<ActivePool>,
    /// The networks of all pools.
    pools: Vec<Cidr>,
    users: Users,
    handles: Handles,
    unreadable: Vec<Problem>,
    /// Nodes and endpoints that cannot be read, so that what they use is not known.
    unread: Vec<String>,
}

impl Check {
    /// A check that was fed nothing yet. An address that was released later than `now` is a problem.
    pub fn new(now: Timestamp) -> Check {
        Check {
            snapshot: Snapshot::new(Moment::AtRest, Some(now)),
            violations: Vec::new(),
            now,
            names: Names::default(),
            blocks: Vec::new(),
            active: Vec::new(),
            pools: Vec::new(),
            users: Users::default(),
            handles: Handles::default(),
            unreadable: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// Whether somebody uses the address, by what was fed.
    pub fn is_used(&self, addr: IpAddr) -> bool {
        self.users.has(addr)
    }

    /// The nodes and endpoints, of those that were fed, of which it is not known which addresses they use.
    pub fn unread_users(&self) -> impl Iterator<Item = &str> {
        let odd = self.unreadable.iter().map(|problem| problem.record.as_str());
        self.unread.iter().map(String::as_str).chain(odd)
    }

    /// Takes all records of a view: blocks, affinities, handles, pools, nodes, endpoints.
    pub fn take(&mut self, view: &View) {
        for (key, slot) in view.all() {
            match slot {
                Slot::Full(record) => self.take_record(record),
                Slot::Unreadable(unreadable) => {
                    if let Key::Resource { kind: Kind::Node | Kind::WorkloadEndpoint, .. } = key {
                        self.unread.push(unreadable.error.key.clone());
                    }
                    let mut tell = |violation| self.violations.push(violation);
                    self.snapshot.feed_unreadable(Some(key), &unreadable.error, &mut tell);
                    // Calico reads such a block.
                    if let Some(block) = &unreadable.error.doubtful {
                        let entry = CheckedBlock::of(block, self.now, &mut self.names);
                        self.blocks.push(entry);
                    }
                }
                Slot::Absent | Slot::Key(_) | Slot::Header(..) => {}
            }
        }
        for stray in view.strays() {
            self.unread.push(stray.key.clone());
            self.snapshot.feed_unreadable(None, stray, &mut |violation| self.violations.push(violation));
        }
    }

    fn take_record(&mut self, record: &Record) {
        self.snapshot.feed(record, &mut |violation| self.violations.push(violation));
        match &record.key {
            Key::Block(_) => {
                if let Some(block) = record.block() {
                    let entry = CheckedBlock::of(block, self.now, &mut self.names);
                    self.blocks.push(entry);
                }
            }
            Key::Handle(id) => self.handles.take(id.as_str(), &record.revision, &self.blocks),
            Key::Resource { kind: Kind::IPPool, .. } => {
                let Some(resource) = record.resource() else { return };
                let text = resource.text(&["spec", "cidr"]).unwrap_or_default().to_string();
                let cidr = Cidr::parse_unmasked(&text).ok().map(|(cidr, _)| cidr);
                self.pools.extend(cidr);
                if resource.field(&["spec", "disabled"]).and_then(|json| json.as_bool()) != Some(true) {
                    self.active.push(ActivePool { text, cidr });
                }
            }
            Key::Resource { kind: Kind::Node, .. } => {
                let odd = record.resource().map(|node| self.users.take_node(node));
                self.unreadable.extend(odd.into_iter().flatten());
            }
            Key::Resource { kind: Kind::WorkloadEndpoint, .. } => {
                let odd = record.resource().map(|endpoint| self.users.take_endpoint(endpoint));
                self.unreadable.extend(odd.into_iter().flatten());
            }
            _ => {}
        }
    }

    /// Notes the addresses of a service.
    pub fn take_service(&mut self, service: &Load) {
        for addr in &service.addresses {
            self.users.add(*addr, service.name.as_str().into(), Witness::Service);
        }
    }

    /// The blocks that were fed, in Calico's order.
    pub fn blocks(&mut self) -> &[CheckedBlock] {
        self.blocks.sort_by_cached_key(|block| (block.cidr.family().number(), block.cidr.to_string()));
        // What Windows keeps for itself is in use.
        let kept = self.blocks.iter().flat_map(|block| {
            let kept = block.allocations.iter().filter(|allocation| allocation.is_kept_by_windows);
            kept.filter_map(|allocation| block.cidr.addr(allocation.ordinal))
        });
        self.users.set_windows(kept.collect());
        &self.blocks
    }

    /// The pools that are not disabled.
    pub fn pools(&self) -> &[ActivePool] {
        &self.active
    }

    /// The addresses whose users that witness tells, in the order in which they were fed.
    pub fn used_by(&self, witness: Witness) -> impl Iterator<Item = (IpAddr, &Arc<str>)> {
        self.users.of(witness)
    }

    /// How many addresses have a user that Calico knows.
    pub fn count_used(&self) -> usize {
        self.users.count()
    }

    /// The virtual machines for which addresses without a user are kept: namespace and name.
    pub fn machines(&self) -> BTreeSet<(String, String)> {
        let held = self.blocks.iter().flat_map(|block| {
            block.allocations.iter().filter_map(move |allocation| {
                let addr = block.cidr.addr(allocation.ordinal)?;
                (!self.users.has(addr)).then(|| allocation.machine()).flatten()
            })
        });
        held.collect()
    }

    /// Notes that a virtual machine exists: the addresses that are kept for it have not leaked.
    pub fn take_machine(&mut self, namespace: &str, name: &str) {
        let owner: Arc<str> = format!("VirtualMachine({namespace}/{name})").into();
        let is_its = |allocation: &&Allocation| {
            allocation.machine().is_some_and(|(of, machine)| of == namespace && machine == name)
        };
        for block in &self.blocks {
            for allocation in block.allocations.iter().filter(is_its) {
                if let Some(addr) = block.cidr.addr(allocation.ordinal) {
                    self.users.add(addr, owner.clone(), Witness::Machine);
                }
            }
        }
    }

    /// Takes addresses of services for used: for where services have some, and cannot be looked up.
    pub fn take_unseen_services(&mut self) {
        for block in &self.blocks {
            for allocation in &block.allocations {
                let owner = allocation.service().zip(block.cidr.addr(allocation.ordinal));
                if let Some(((namespace, name), addr)) = owner {
                    self.users.add(addr, format!("Service({namespace}/{name})").into(), Witness::Unseen);
                }
            }
        }
    }

    /// Joins everything.
    pub fn end(mut self) -> Checked {
        self.blocks();
        let mut violations = std::mem::take(&mut self.violations);
        self.snapshot.end(&mut |violation| violations.push(violation));
        violations.sort();
        let mut checked = Checked {
            allocations: addresses(&self.blocks),
            users: self.users.by_address(),
            blocks: self.blocks,
            ..Checked::default()
        };
        checked.find_leaks();
        checked.find_unallocated(&self.active);
        let Handles { missing, good, leaked } = self.handles;
        let missing = missing.unwrap_or_else(|| named(&checked.blocks));
        checked.missing_handles = missing.into_iter().collect();
        (checked.good_handles, checked.leaked_handles) = (good, leaked);
        checked.count_by_node();
        checked.more = more::problems(&checked, violations, self.unreadable, &self.pools);
        checked
    }
}

/// The handles that were fed. Those that blocks name are not kept, as there may be as many as addresses.
#[derive(Debug, Default)]
struct Handles {
    /// The handles that blocks name and that were not fed yet; `None` before the first handle.
    missing: Option<BTreeSet<Arc<str>>>,
    good: usize,
    leaked: Vec<(Arc<str>, Revision)>,
}

impl Handles {
    fn take(&mut self, id: &str, revision: &Revision, blocks: &[CheckedBlock]) {
        match self.missing.get_or_insert_with(|| named(blocks)).remove(id) {
            true => self.good += 1,
            false => self.leaked.push((id.into(), revision.clone())),
        }
    }
}

/// The handles that blocks name, as stored.
fn named(blocks: &[CheckedBlock]) -> BTreeSet<Arc<str>> {
    let all = blocks.iter().flat_map(|block| &block.allocations);
    all.filter_map(|allocation| allocation.handle.clone()).collect()
}

/// Every allocation, by its address: the indices of its block, and of itself in that block.
fn addresses(blocks: &[CheckedBlock]) -> Vec<(IpAddr, u32, u32)> {
    let mut all = Vec::with_capacity(blocks.iter().map(|block| block.allocations.len()).sum());
    for (at, block) in (0..).zip(blocks) {
        for (index, allocation) in (0..).zip(&block.allocations) {
            all.extend(block.cidr.addr(allocation.ordinal).map(|addr| (addr, at, index)));
        }
    }
    all.sort_unstable();
    all
}

/// Addresses that are used, and by whom.
type Used = Vec<(IpAddr, Vec<User>)>;

/// What a check found. Everything in it has a stable order.
#[derive(Debug, Default)]
pub struct Checked {
    /// All blocks, in Calico's order.
    pub blocks: Vec<CheckedBlock>,
    allocations: Vec<(IpAddr, u32, u32)>,
    users: BTreeMap<IpAddr, Vec<User>>,
    /// How many addresses each node has, most first.
    pub by_node: Vec<(Arc<str>, u32)>,
    /// Addresses that are allocated and that nobody uses.
    pub leaked: Vec<IpAddr>,
    /// Addresses that Calico finds to have several users.
    pub shared: Vec<IpAddr>,
    /// Addresses that are used, not allocated, and in no pool that is active.
    pub outside: Used,
    /// Addresses that are used, in a pool, and not allocated.
    pub unallocated: Used,
    /// Handles of which no block holds an address.
    pub leaked_handles: Vec<(Arc<str>, Revision)>,
    /// The number of the other handles.
    pub good_handles: usize,
    /// Handles that blocks name, and that do not exist.
    pub missing_handles: Vec<Arc<str>>,
    /// What Calico's check does not count.
    pub more: Vec<Problem>,
}

impl Checked {
    /// The number of problems that Calico's check counts.
    pub fn problems(&self) -> usize {
        let used = self.outside.len() + self.unallocated.len();
        self.leaked.len() + used + self.leaked_handles.len() + self.invalid().count()
    }

    /// The blocks whose parts contradict each other, with the first contradiction of each.
    pub fn invalid(&self) -> impl Iterator<Item = (BlockCidr, &BlockFault)> {
        self.blocks.iter().filter_map(|block| Some((block.cidr, block.fault.as_ref()?)))
    }

    /// The allocations of an address; several where blocks overlap.
    pub fn allocations_of(&self, addr: IpAddr) -> impl Iterator<Item = (&CheckedBlock, &Allocation)> {
        let first = self.allocations.partition_point(|(at, ..)| *at < addr);
        let same = self.allocations[first..].iter().take_while(move |(at, ..)| *at == addr);
        same.map(|(_, block, index)| {
            let block = &self.blocks[*block as usize];
            (block, &block.allocations[*index as usize])
        })
    }

    /// All addresses that are allocated, each once.
    pub fn allocated(&self) -> impl Iterator<Item = IpAddr> {
        let mut last = None;
        let all = self.allocations.iter().map(|(addr, ..)| *addr);
        all.filter(move |addr| last.replace(*addr) != Some(*addr))
    }

    /// Those who use an address.
    pub fn users_of(&self, addr: IpAddr) -> &[User] {
        self.users.get(&addr).map_or(&[], Vec::as_slice)
    }

    /// Whether an address is allocated, and not merely cooling down.
    pub fn is_in_use(&self, addr: IpAddr, allocation: &Allocation) -> bool {
        !allocation.is_cooling && !self.users_of(addr).is_empty()
    }

    fn find_leaks(&mut self) {
        let is_leaked = |addr: &IpAddr| {
            self.users_of(*addr).is_empty()
                && self.allocations_of(*addr).all(|(_, allocation)| !allocation.is_cooling)
        };
        self.leaked = self.allocated().filter(is_leaked).collect();
    }

    fn find_unallocated(&mut self, pools: &[ActivePool]) {
        let is_in_pool =
            |addr: IpAddr| pools.iter().filter_map(|pool| pool.cidr).any(|cidr| cidr.contains(addr));
        let (mut outside, mut unallocated) = (Vec::new(), Vec::new());
        for (addr, users) in &self.users {
            let known: Vec<User> = users.iter().filter(|user| user.witness.is_calicos()).cloned().collect();
            if known.len() > 1 {
                self.shared.push(*addr);
            }
            if !known.is_empty() && self.allocations_of(*addr).next().is_none() {
                if is_in_pool(*addr) { &mut unallocated } else { &mut outside }.push((*addr, known));
            }
        }
        (self.outside, self.unallocated) = (outside, unallocated);
    }

    fn count_by_node(&mut self) {
        let mut counts: BTreeMap<Arc<str>, u32> = BTreeMap::new();
        for allocation in self.blocks.iter().flat_map(|block| &block.allocations) {
            *counts.entry(allocation.node.clone()).or_default() += 1;
        }
        self.by_node = counts.into_iter().collect();
        self.by_node.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    }
}

#[cfg(test)]
mod tests;
