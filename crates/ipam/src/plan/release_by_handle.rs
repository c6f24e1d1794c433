//! Releases the addresses that handles hold (`libcalico-go/lib/ipam/ipam.go`, `ReleaseByHandle`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::{Attribute, Block, BlockCidr, DecodeError, HandleId, Key, Kind, Timestamp};
use store::{Batch, Depth, ReadSet, Report, Scope, View};

use crate::block;
use crate::config;
use crate::handle;
use crate::plan::further_blocks::FurtherBlocks;
use crate::plan::release::{Assignment, Changed, Memory, Returned, is_deselected, owner_node, write_back};
use crate::plan::set_owner::PodName;
use crate::plan::{Plan, Planner};

/// Which addresses of a handle a release means. The text of a handle is put together from names that may
/// contain dots, so two pods can get the same handle. The attributes of an address tell them apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// All addresses of the handle.
    #[default]
    Anybodys,
    /// All addresses, except those whose attributes name another pod.
    NotAnothers(PodName),
    /// The addresses whose attributes name that pod.
    Pods(PodName),
    /// The addresses whose attributes name neither a pod nor another use.
    NoPods,
}

impl Whose {
    /// Which addresses of the handle `<network>.<container>` are that container's. If one of the names
    /// contains dots, another pair of names can give the same handle. Then only addresses whose attributes
    /// name the same pod are certain; for a container without a pod, those that name no pod.
    pub fn of_container(network: &str, container: &str, pod: Option<PodName>) -> Whose {
        let may_be_anothers = network.contains('.') || container.contains('.');
        match (pod, may_be_anothers) {
            (None, false) => Whose::Anybodys,
            (None, true) => Whose::NoPods,
            (Some(pod), false) => Whose::NotAnothers(pod),
            (Some(pod), true) => Whose::Pods(pod),
        }
    }

    /// Whether the release means an address with this attribute.
    pub fn has(&self, attribute: &Attribute) -> bool {
        let owners = [&attribute.owner, &attribute.alternate_owner];
        let is_noted = |key: &str| owners.iter().any(|owner| owner.contains_key(key));
        let names = |pod: &PodName| owners.iter().any(|owner| pod.is(owner));
        match self {
            Whose::Anybodys => true,
            Whose::NotAnothers(pod) => names(pod) || !is_noted("pod"),
            Whose::Pods(pod) => names(pod),
            Whose::NoPods => !is_noted("pod") && !is_noted("type"),
        }
    }
}

/// A request to release handles.
#[derive(Clone, Debug)]
pub struct ReleaseByHandle {
    /// The handles to release.
    pub handles: Vec<HandleId>,
    /// The host that asks, where a host does: its node is read at the start.
    pub host: Option<String>,
    /// The addresses that the caller was given. If none of the handles exists, these addresses' blocks are
    /// searched for what the handles hold.
    pub given: Vec<IpAddr>,
    /// Which addresses of a handle to release. Of a handle that is not in the map, all are released.
    whose: BTreeMap<HandleId, Whose>,
    /// The only assignments of a handle to release: the addresses with their sequence numbers. Of a handle
    /// that is not in the map, all are released.
    only: BTreeMap<HandleId, BTreeMap<IpAddr, u64>>,
}

/// The planner for [`ReleaseByHandle`].
#[derive(Clone, Debug)]
pub struct ReleaseByHandlePlanner {
    request: ReleaseByHandle,
    memory: Memory,
}

/// What a handle keeps in a block after the release.
pub(super) enum Stays {
    /// Unknown, because the block, or its record of who holds an address, cannot be parsed. The handle goes
    /// on naming the block.
    Unreadable(DecodeError),
    /// These addresses, which the release does not mean.
    NotMeant(Vec<IpAddr>),
}

impl Stays {
    /// What a handle keeps in a block, after `released` of its addresses were released, where the handle
    /// counted `count`; `None` if it keeps nothing.
    pub(super) fn of(block: &Block, id: &HandleId, released: usize, count: u32) -> Option<Stays> {
        let left = block::ordinals_of(block, id.as_str()).into_iter();
        let left: Vec<IpAddr> = left.filter_map(|ordinal| block.cidr.addr(ordinal)).collect();
        let found = released + left.len();
        match block::doubtful_holder(block).filter(|_| found < count as usize) {
            Some(addr) => {
                let reason = format!(
                    "the handle of {addr} cannot be read, and {id} holds {count} addresses of the block, of which {found} are found"
                );
                Some(Stays::Unreadable(DecodeError::new(Key::Block(block.cidr), "attributes", reason)))
            }
            None => (!left.is_empty()).then_some(Stays::NotMeant(left)),
        }
    }
}

impl ReleaseByHandle {
    /// A request to release those handles entirely. `host` is the host that asks, if a host does.
    pub fn new(handles: Vec<HandleId>, host: Option<String>) -> ReleaseByHandle {
        ReleaseByHandle { handles, host, given: Vec::new(), whose: BTreeMap::new(), only: BTreeMap::new() }
    }

    /// Adds a handle of which only these addresses are released. Its other addresses stay.
    pub fn and(mut self, handle: HandleId, whose: Whose) -> ReleaseByHandle {
        if !self.handles.contains(&handle) {
            self.handles.push(handle.clone());
        }
        self.whose.insert(handle, whose);
        self
    }

    /// Adds a handle of which only these assignments are released: addresses with the sequence numbers that
    /// somebody saw, as [`IpsByHandle`](crate::IpsByHandle) tells them. What the handle got since, the same
    /// address included, stays. Calico releases all that the handle holds at the time of the release.
    pub fn only(
        mut self,
        handle: HandleId,
        seen: impl IntoIterator<Item = (IpAddr, u64)>,
    ) -> ReleaseByHandle {
        if !self.handles.contains(&handle) {
            self.handles.push(handle.clone());
        }
        self.only.entry(handle).or_default().extend(seen);
        self
    }

    /// The only assignments of a handle that are released; `None` if no sequence number is demanded.
    pub fn only_of(&self, handle: &HandleId) -> Option<&BTreeMap<IpAddr, u64>> {
        self.only.get(handle)
    }

    /// Whether the release means this address of a handle in a block.
    fn means(&self, handle: &HandleId, block: &Block, ordinal: u32) -> bool {
        let is_owners = |whose: &Whose| block.attribute(ordinal).is_some_and(|it| whose.has(it));
        let is_seen = |seen: &BTreeMap<IpAddr, u64>| {
            let sequence = block.cidr.addr(ordinal).and_then(|addr| seen.get(&addr));
            sequence == Some(&block.sequence_of(ordinal))
        };
        self.whose.get(handle).is_none_or(is_owners) && self.only.get(handle).is_none_or(is_seen)
    }

    /// Adds addresses that the caller was given.
    pub fn given(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> ReleaseByHandle {
        self.given.extend(addresses);
        self
    }

    /// The planner for this request.
    pub fn planner(self) -> ReleaseByHandlePlanner {
        ReleaseByHandlePlanner { request: self, memory: Memory::default() }
    }
}

/// The result for one handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandleRelease {
    /// The handle does not exist.
    NotFound,
    /// These addresses were released. The handle is deleted, unless it holds addresses that the release did
    /// not mean.
    Released(Vec<IpAddr>),
    /// These addresses were released, and the handle stays: a block that it names, or the block's record of
    /// who holds an address, cannot be parsed. Mend that record and release the handle again.
    Partly(Vec<IpAddr>, DecodeError),
    /// The handle holds only these addresses, which the release did not mean. They stay.
    Anothers(Vec<IpAddr>),
}

impl Planner for ReleaseByHandlePlanner {
    /// One result for each handle, in the order of the request.
    type Answer = Vec<HandleRelease>;
    type Error = std::convert::Infallible;

    fn reads(&self) -> ReadSet {
        let node = self.request.host.as_deref().map(|host| Key::global(Kind::Node, host));
        ReadSet::new()
            .key(Key::IpamConfig)
            .keys(self.request.handles.iter().cloned().map(Key::Handle))
            .keys(node)
            .scope(Scope::kind(Kind::IPPool), Depth::Full)
    }

    fn plan(&mut self, view: &View, now: Timestamp, _seed: u64) -> Result<Plan<Self::Answer>, Self::Error> {
        let ids: BTreeSet<&HandleId> = self.request.handles.iter().collect();
        let mut drafts: BTreeMap<HandleId, handle::HandleDraft> =
            ids.into_iter().filter_map(|id| Some((id.clone(), handle::HandleDraft::of(view, id)?))).collect();
        let blocks: BTreeSet<BlockCidr> =
            drafts.values().flat_map(|draft| draft.counts().keys().copied()).collect();
        // Blocks must be read after the handle, also blocks with writes in doubt: if a block is absent then,
        // no write that the handle had counted can create it any more.
        let of_handles = view.unread(blocks.iter().copied().map(Key::Block));
        let missing = view.missing(self.memory.in_doubt().map(Key::Block)).and(of_handles);
        if !missing.is_empty() {
            return Ok(Plan::Fetch(missing));
        }
        self.memory.settle(view);
        let searches = match self.searches(view, &drafts) {
            Ok(searches) => searches,
            Err(more) => return Ok(Plan::Fetch(more)),
        };

        let cooldown = config::of(view).cooldown_seconds;
        let mut changed: BTreeMap<BlockCidr, Changed> = BTreeMap::new();
        let mut releases: Vec<Returned> = Vec::new();
        let mut stays: BTreeMap<(HandleId, BlockCidr), Stays> = BTreeMap::new();
        // The blocks in which nothing changes. They are not written, so that repeated attempts do not rewrite
        // them.
        let blocks: BTreeSet<BlockCidr> =
            blocks.into_iter().chain(searches.values().flat_map(|search| search.blocks.clone())).collect();
        let mut untouched = blocks.clone();
        // The handles that are not written, because what they hold may be in a block that cannot be parsed.
        let mut kept: BTreeSet<HandleId> = BTreeSet::new();
        for (id, draft) in &drafts {
            for (cidr, count) in draft.counts() {
                if let Some(unreadable) = view.unreadable(&Key::Block(*cidr)) {
                    stays.insert((id.clone(), *cidr), Stays::Unreadable(unreadable.error.clone()));
                    continue;
                }
                let Some(change) = Changed::of(view, &mut changed, *cidr) else { continue };
                let allocations = self.release(&mut change.block, id, now, cooldown);
                let stay = Stays::of(&change.block, id, allocations.len(), *count);
                // What an earlier attempt released, the handle may still count.
                let is_owed = self.released_addresses(id).any(|addr| cidr.cidr().contains(addr));
                if !allocations.is_empty() || stay.is_none() || is_owed {
                    untouched.remove(cidr);
                }
                if let Some(stay) = stay {
                    stays.insert((id.clone(), *cidr), stay);
                }
                releases.push(Returned { block: *cidr, allocations });
            }
            let Some(search) = searches.get(id) else { continue };
            let mut is_found = false;
            for cidr in &search.blocks {
                let Some(change) = Changed::of(view, &mut changed, *cidr) else { continue };
                let allocations = self.release(&mut change.block, id, now, cooldown);
                let stay = Stays::of(&change.block, id, allocations.len(), 0);
                is_found |= stay.is_some() || !allocations.is_empty();
                if !allocations.is_empty() {
                    untouched.remove(cidr);
                    releases.push(Returned { block: *cidr, allocations });
                }
                stays.extend(stay.map(|stay| ((id.clone(), *cidr), stay)));
            }
            if let Some((cidr, error)) = search.doubt(view).filter(|_| !is_found) {
                stays.insert((id.clone(), cidr), Stays::Unreadable(error));
                kept.insert(id.clone());
            }
        }
        changed.retain(|cidr, _| !untouched.contains(cidr));
        let nodes: Vec<Key> = changed.values().filter_map(|change| owner_node(view, &change.block)).collect();
        if !nodes.is_empty() {
            return Ok(Plan::Fetch(ReadSet::new().keys(nodes)));
        }
        let answer = self
            .request
            .handles
            .iter()
            .map(|id| self.answer(id, drafts.get(id), &releases, &stays))
            .collect();
        let mut batch = Batch::new();
        let mut returns = Vec::new();
        // A handle that does not exist is made first, with what was found. If another request has made it
        // since, to take addresses, the batch is refused, and the handle keeps what that request counted.
        for (id, draft) in drafts.iter_mut().filter(|(_, draft)| !draft.exists()) {
            let found = releases.iter().filter(|release| release.handles().contains(id));
            draft.raise(&found.map(|release| (release.block, release.allocations.len() as u32)).collect());
            draft.write(&mut batch);
        }
        // A block is written even if it holds none of the handle's addresses: otherwise another request could
        // add one unseen while the handle's count is removed. Absent blocks need no write, as they were read
        // after the handle.
        for cidr in blocks {
            if let Some(change) = changed.remove(&cidr) {
                let deselected = is_deselected(view, &change.block);
                let index = match write_back(&mut batch, view, change, deselected) {
                    Ok(index) => index,
                    Err(more) => return Ok(Plan::Fetch(more)),
                };
                let here = releases.iter().filter(|release| release.block == cidr);
                returns.extend(here.map(|release| (index, release.clone())));
            }
            for (id, draft) in drafts.iter_mut().filter(|(id, _)| !kept.contains(id)) {
                let is_search = searches.get(id).is_some_and(|search| search.blocks.contains(&cidr));
                match stays.get(&(id.clone(), cidr)) {
                    None if draft.counts().contains_key(&cidr) => draft.set(cidr, 0),
                    // The handle did not name this block. It has to count the addresses that stay there.
                    Some(Stays::NotMeant(left)) if is_search || !untouched.contains(&cidr) => {
                        draft.set(cidr, left.len() as u32);
                    }
                    _ => {}
                }
            }
        }
        // Each handle has only one write, so that the batch fits into one transaction. These include handles
        // that name no block at all.
        let ends = drafts.iter_mut().filter(|(id, _)| !kept.contains(id));
        for (_, draft) in ends {
            draft.write(&mut batch);
        }
        self.memory.plan(returns);
        Ok(if batch.is_empty() { Plan::Done(answer) } else { Plan::Commit { batch, answer } })
    }

    fn can_do_without(&self, key: &Key) -> bool {
        match key {
            Key::Block(block) => self.memory.in_doubt().all(|in_doubt| in_doubt != *block),
            Key::IpamConfig | Key::Resource { kind: Kind::Node, .. } => true,
            _ => false,
        }
    }

    fn observe(&mut self, report: &Report) {
        self.memory.observe(report);
    }
}

impl ReleaseByHandlePlanner {
    /// Releases those addresses of a handle in a block that the release means.
    fn release(&self, block: &mut Block, id: &HandleId, now: Timestamp, cooldown: i64) -> Vec<Assignment> {
        let ordinals = block::ordinals_of(block, id.as_str()).into_iter();
        let meant: BTreeSet<u32> =
            ordinals.filter(|ordinal| self.request.means(id, block, *ordinal)).collect();
        let addresses = meant.iter().filter_map(|ordinal| block.cidr.addr(*ordinal));
        let mut allocations: Vec<_> = addresses.filter_map(|addr| Assignment::of(block, addr)).collect();
        let is_meant = |ordinal| meant.contains(&ordinal);
        let released = block::release_by_handle(block, id.as_str(), is_meant, now, cooldown);
        allocations.retain(|allocation| released.contains(&allocation.addr));
        allocations
    }

    /// The searches for handles that hold no address in the blocks that they name, as after a crash or a
    /// change by hand. Such a handle's addresses may be in other blocks of the host. Handles that do not
    /// exist are searched for in the blocks of the addresses that the caller was given, if none of the
    /// request's handles exists: of a pod's handles usually one does, and then there is nothing to look for.
    ///
    /// # Errors
    /// What must be read before.
    fn searches(
        &self,
        view: &View,
        drafts: &BTreeMap<HandleId, handle::HandleDraft>,
    ) -> Result<BTreeMap<HandleId, FurtherBlocks>, ReadSet> {
        let mut searches = BTreeMap::new();
        let is_answered =
            |id: &HandleId| self.released_addresses(id).next().is_some() || self.memory.holds_in_doubt(id);
        if !drafts.iter().any(|(id, draft)| draft.exists() || is_answered(id)) {
            let search = FurtherBlocks::of_given(view, &self.request.given)?;
            return Ok(drafts.keys().map(|id| (id.clone(), search.clone())).collect());
        }
        let Some(host) = &self.request.host else { return Ok(searches) };
        for (id, draft) in drafts.iter().filter(|(id, _)| !is_answered(id)) {
            let search = FurtherBlocks::of_host(view, host, id, draft)?;
            searches.extend(search.map(|search| (id.clone(), search)));
        }
        Ok(searches)
    }

    /// The blocks with writes in doubt.
    pub(super) fn in_doubt(&self) -> impl Iterator<Item = BlockCidr> {
        self.memory.in_doubt()
    }

    /// The addresses of a handle that earlier attempts certainly released.
    fn released_addresses(&self, id: &HandleId) -> impl Iterator<Item = IpAddr> {
        let done = self.memory.given_back().iter().filter(move |done| done.handle.as_ref() == Some(id));
        done.map(|allocation| allocation.addr)
    }

    fn answer(
        &self,
        id: &HandleId,
        draft: Option<&handle::HandleDraft>,
        releases: &[Returned],
        stays: &BTreeMap<(HandleId, BlockCidr), Stays>,
    ) -> HandleRelease {
        let now = releases.iter().flat_map(|release| &release.allocations);
        let now = now.filter(|allocation| allocation.handle.as_ref() == Some(id));
        let is_found = now.clone().next().is_some() || self.released_addresses(id).next().is_some();
        if !is_found && !draft.is_some_and(|draft| draft.exists()) {
            return HandleRelease::NotFound;
        }
        let all = self.released_addresses(id).chain(now.map(|allocation| allocation.addr));
        let mut addresses: Vec<IpAddr> = Vec::new();
        for addr in all {
            if !addresses.contains(&addr) {
                addresses.push(addr);
            }
        }
        let stays: Vec<&Stays> =
            stays.iter().filter(|((other, _), _)| other == id).map(|(_, stays)| stays).collect();
        let error = stays.iter().find_map(|stays| match stays {
            Stays::Unreadable(error) => Some(error.clone()),
            Stays::NotMeant(_) => None,
        });
        if let Some(error) = error {
            return HandleRelease::Partly(addresses, error);
        }
        let left = stays.into_iter().flat_map(|stays| match stays {
            Stays::NotMeant(left) => left.as_slice(),
            Stays::Unreadable(_) => &[],
        });
        let left: Vec<IpAddr> = left.copied().collect();
        if addresses.is_empty() && !left.is_empty() {
            return HandleRelease::Anothers(left);
        }
        HandleRelease::Released(addresses)
    }
}
