//! Releases everything that handles hold (`libcalico-go/lib/ipam/ipam.go`, `ReleaseByHandle`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::{Attribute, Block, BlockCidr, DecodeError, HandleId, Key, Kind, Owner, Timestamp};
use store::{Batch, Depth, ReadSet, Report, Scope, Slot, View};

use crate::block;
use crate::config;
use crate::handle;
use crate::plan::release::{Allocation, Changed, Memory, Returned, is_deselected, owner_node, write_back};
use crate::plan::set_owner::PodName;
use crate::plan::{Plan, Planner};

/// Which addresses of a handle are meant. Handles are texts that are put together from names with dots in them, so that two parties can come to the same one; what
/// is noted beside an address tells them apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// All.
    #[default]
    Anybodys,
    /// All but those of which another pod is noted.
    NotAnothers(PodName),
    /// Those of which that pod is noted.
    Pods(PodName),
    /// Those of which neither a pod nor another use is noted.
    NoPods,
}

impl Whose {
    /// Which addresses of the handle `<network>.<container>` are that container's: with dots in the names it can be the handle of another pair. Then only what is
    /// noted for the same pod, or for none where it is for none, is certain.
    pub fn of_container(network: &str, container: &str, pod: Option<PodName>) -> Whose {
        let may_be_anothers = network.contains('.') || container.contains('.');
        match (pod, may_be_anothers) {
            (None, false) => Whose::Anybodys,
            (None, true) => Whose::NoPods,
            (Some(pod), false) => Whose::NotAnothers(pod),
            (Some(pod), true) => Whose::Pods(pod),
        }
    }

    /// Whether an address that this is noted beside is meant.
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

/// Handles to release.
#[derive(Clone, Debug)]
pub struct ReleaseByHandle {
    /// The handles.
    pub handles: Vec<HandleId>,
    /// The host that asks, if it is one: its node is read at once.
    pub host: Option<String>,
    /// Which addresses of a handle are meant; of others all.
    whose: BTreeMap<HandleId, Whose>,
}

/// The planner of [`ReleaseByHandle`].
#[derive(Clone, Debug)]
pub struct ReleaseByHandlePlanner {
    request: ReleaseByHandle,
    memory: Memory,
}

/// What of a handle stays in a block.
enum Stays {
    /// Nobody can tell: the block cannot be read, in whole or in the part that says whose an address is. The handle goes on naming it.
    Unreadable(DecodeError),
    /// These, which are not meant.
    NotMeant(Vec<IpAddr>),
}

impl Stays {
    /// What stays in a block of which so many addresses were just released, where the handle counts `count`; `None` for nothing.
    fn of(block: &Block, id: &HandleId, released: usize, count: u32) -> Option<Stays> {
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

/// Where else to look for what a handle holds.
struct Search {
    /// The host's own blocks that it does not name.
    blocks: Vec<BlockCidr>,
    /// Whether no block that it names is there.
    names_nothing: bool,
}

impl Search {
    /// The block for which nobody can tell whether the handle holds something: one that counts addresses in a block that is there, and holds none, may
    /// count too much, and that is all there is to it.
    fn doubt(&self, view: &View) -> Option<(BlockCidr, DecodeError)> {
        let mut blocks = self.blocks.iter().filter(|_| self.names_nothing);
        blocks.find_map(|cidr| {
            if let Some(unreadable) = view.unreadable(&Key::Block(*cidr)) {
                return Some((*cidr, unreadable.error.clone()));
            }
            let addr = block::doubtful_holder(view.block(*cidr)??.0)?;
            let reason = format!("the handle of {addr} cannot be read");
            Some((*cidr, DecodeError::new(Key::Block(*cidr), "attributes", reason)))
        })
    }
}

/// Whether a handle holds nothing in the blocks that it names, as far as anybody can tell.
fn holds_nothing(view: &View, id: &HandleId, draft: &handle::Draft) -> bool {
    draft.counts().keys().all(|cidr| match view.block(*cidr) {
        Some(Some((block, _))) => {
            block::ordinals_of(block, id.as_str()).is_empty() && block::doubtful_holder(block).is_none()
        }
        Some(None) => true,
        None => false,
    })
}

impl ReleaseByHandle {
    /// A request to release those handles, by a host if it is one.
    pub fn new(handles: Vec<HandleId>, host: Option<String>) -> ReleaseByHandle {
        ReleaseByHandle { handles, host, whose: BTreeMap::new() }
    }

    /// The request to release these addresses of that handle, too. What else it holds stays.
    pub fn and(mut self, handle: HandleId, whose: Whose) -> ReleaseByHandle {
        if !self.handles.contains(&handle) {
            self.handles.push(handle.clone());
        }
        self.whose.insert(handle, whose);
        self
    }

    /// The planner of this request.
    pub fn planner(self) -> ReleaseByHandlePlanner {
        ReleaseByHandlePlanner { request: self, memory: Memory::default() }
    }
}

/// What became of a handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandleRelease {
    /// There is no such handle.
    NotFound,
    /// It held these, and is gone, unless it holds what is not meant.
    Released(Vec<IpAddr>),
    /// It held these, and stays: a block that it names cannot be read, in whole or in the part that says whose an address is. Mend that record, and release it
    /// again.
    Partly(Vec<IpAddr>, DecodeError),
    /// It holds only what is not meant: these, which stay.
    Anothers(Vec<IpAddr>),
}

impl Planner for ReleaseByHandlePlanner {
    /// In the order of the request.
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
        let mut drafts: BTreeMap<HandleId, handle::Draft> =
            ids.into_iter().filter_map(|id| Some((id.clone(), handle::Draft::of(view, id)?))).collect();
        let blocks: BTreeSet<BlockCidr> =
            drafts.values().flat_map(|draft| draft.counts().keys().copied()).collect();
        // After the handle, those in doubt too: a block that is absent then is written by nobody whom the handle counted.
        let of_handles = blocks.iter().map(|block| Key::Block(*block)).filter(|key| view.is_unread(key));
        let missing = view.missing(self.memory.in_doubt().map(Key::Block)).keys(of_handles);
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
        // The blocks that nothing is to be done about: they are not written again with each attempt.
        let blocks: BTreeSet<BlockCidr> =
            blocks.into_iter().chain(searches.values().flat_map(|search| search.blocks.clone())).collect();
        let mut untouched = blocks.clone();
        // Handles that stay as they are: what they hold may be where nobody can read it.
        let mut kept: BTreeSet<HandleId> = BTreeSet::new();
        for (id, draft) in &drafts {
            let whose = self.request.whose.get(id).cloned().unwrap_or_default();
            for (cidr, count) in draft.counts() {
                if let Some(unreadable) = view.unreadable(&Key::Block(*cidr)) {
                    stays.insert((id.clone(), *cidr), Stays::Unreadable(unreadable.error.clone()));
                    continue;
                }
                let Some(change) = Changed::of(view, &mut changed, *cidr) else { continue };
                let is_meant = |attribute: &Attribute| whose.has(attribute);
                let allocations = release(&mut change.block, id, is_meant, now, cooldown);
                let stay = Stays::of(&change.block, id, allocations.len(), *count);
                if !allocations.is_empty() || stay.is_none() {
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
                let is_meant = |attribute: &Attribute| whose.has(attribute);
                let allocations = release(&mut change.block, id, is_meant, now, cooldown);
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
        // Blocks are written even if the handle turns out to hold nothing of them: nothing may be added to them unseen while the count goes. Those that are
        // gone were read after the handle.
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
                    None => draft.set(cidr, 0),
                    // Of what the handle did not name it has to count what stays.
                    Some(Stays::NotMeant(left)) if is_search || !untouched.contains(&cidr) => {
                        draft.set(cidr, left.len() as u32);
                    }
                    Some(_) => {}
                }
            }
        }
        // In one write each, that a batch is one transaction; among them handles that name no block at all.
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

/// Releases what a handle holds of a block, as far as it is meant.
fn release(
    block: &mut Block,
    id: &HandleId,
    is_meant: impl Fn(&Attribute) -> bool,
    now: Timestamp,
    cooldown: i64,
) -> Vec<Allocation> {
    let before =
        block::ordinals_of(block, id.as_str()).into_iter().filter_map(|ordinal| block.cidr.addr(ordinal));
    let mut allocations: Vec<_> = before.filter_map(|addr| Allocation::of(block, addr)).collect();
    let released = block::release_by_handle(block, id.as_str(), is_meant, now, cooldown);
    allocations.retain(|allocation| released.contains(&allocation.addr));
    allocations
}

impl ReleaseByHandlePlanner {
    /// The handles that name no block in which they hold anything, as a crash or a hand left them: what the host's own blocks note for them is theirs.
    ///
    /// # Errors
    /// What must be read to know.
    fn searches(
        &self,
        view: &View,
        drafts: &BTreeMap<HandleId, handle::Draft>,
    ) -> Result<BTreeMap<HandleId, Search>, ReadSet> {
        let mut searches = BTreeMap::new();
        let Some(host) = &self.request.host else { return Ok(searches) };
        let is_answered = |id: &HandleId| self.done(id).next().is_some() || self.memory.holds_in_doubt(id);
        let asked = drafts.iter().filter(|(id, draft)| {
            draft.exists() && !draft.is_tombstone() && !is_answered(id) && holds_nothing(view, id, draft)
        });
        for (id, draft) in asked {
            let owner = Owner::Host(host.clone());
            let scope = Scope::Affinities { owner: Some(owner), family: None };
            if !view.is_complete(&scope, Depth::Key) {
                return Err(ReadSet::new().scope(scope, Depth::Key));
            }
            let own = view.slots(&scope).filter(|(_, slot)| **slot != Slot::Absent);
            let own = own.filter_map(|(key, _)| match key {
                Key::Affinity { block, .. } if !draft.counts().contains_key(block) => Some(*block),
                _ => None,
            });
            let blocks: Vec<BlockCidr> = own.collect();
            let unread: Vec<Key> =
                blocks.iter().map(|b| Key::Block(*b)).filter(|key| view.is_unread(key)).collect();
            if !unread.is_empty() {
                return Err(ReadSet::new().keys(unread));
            }
            let names_nothing = draft.counts().keys().all(|cidr| view.block(*cidr) == Some(None));
            searches.insert(id.clone(), Search { blocks, names_nothing });
        }
        Ok(searches)
    }

    /// Blocks of which a write is in doubt.
    pub(super) fn in_doubt(&self) -> impl Iterator<Item = BlockCidr> {
        self.memory.in_doubt()
    }

    /// What earlier attempts are known to have released of a handle.
    fn done(&self, id: &HandleId) -> impl Iterator<Item = IpAddr> {
        let done = self.memory.done().iter().filter(move |done| done.handle.as_ref() == Some(id));
        done.map(|allocation| allocation.addr)
    }

    fn answer(
        &self,
        id: &HandleId,
        draft: Option<&handle::Draft>,
        releases: &[Returned],
        stays: &BTreeMap<(HandleId, BlockCidr), Stays>,
    ) -> HandleRelease {
        if self.done(id).next().is_none() && !draft.is_some_and(|draft| draft.exists()) {
            return HandleRelease::NotFound;
        }
        let now = releases.iter().flat_map(|release| &release.allocations);
        let now = now.filter(|allocation| allocation.handle.as_ref() == Some(id));
        let all = self.done(id).chain(now.map(|allocation| allocation.addr));
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
