//! Releases everything that handles hold (`libcalico-go/lib/ipam/ipam.go`, `ReleaseByHandle`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::{Attribute, Block, BlockCidr, DecodeError, HandleId, Key, Kind, Timestamp};
use store::{Batch, Depth, Outcome, ReadSet, Report, Scope, View};

use crate::block;
use crate::config;
use crate::handle;
use crate::plan::release_ips::{Changed, is_deselected, owner_node, write_back};
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
    fn has(&self, attribute: &Attribute) -> bool {
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
    /// Released by earlier attempts, by handle.
    done: BTreeMap<HandleId, Vec<IpAddr>>,
    /// What the batch at hand releases.
    intent: Vec<Release>,
    /// What may have been released: the reply was lost.
    in_doubt: Vec<Release>,
}

/// Addresses of a handle in a block, and the index of the write that releases them.
#[derive(Clone, Debug)]
struct Release {
    index: usize,
    block: BlockCidr,
    handle: HandleId,
    addresses: Vec<IpAddr>,
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

impl ReleaseByHandle {
    /// A request to release those handles, by a host if it is one.
    pub fn new(handles: Vec<HandleId>, host: Option<String>) -> ReleaseByHandle {
        let (whose, done, intent, in_doubt) = Default::default();
        ReleaseByHandle { handles, host, whose, done, intent, in_doubt }
    }

    /// The request to release these addresses of that handle, too. What else it holds stays.
    pub fn and(mut self, handle: HandleId, whose: Whose) -> ReleaseByHandle {
        if !self.handles.contains(&handle) {
            self.handles.push(handle.clone());
        }
        self.whose.insert(handle, whose);
        self
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

impl Planner for ReleaseByHandle {
    /// In the order of the request.
    type Answer = Vec<HandleRelease>;
    type Error = std::convert::Infallible;

    fn reads(&self) -> ReadSet {
        let node = self.host.as_deref().map(|host| Key::global(Kind::Node, host));
        ReadSet::new()
            .key(Key::IpamConfig)
            .keys(self.handles.iter().cloned().map(Key::Handle))
            .keys(self.in_doubt.iter().map(|release| Key::Block(release.block)))
            .keys(node)
            .scope(Scope::kind(Kind::IPPool), Depth::Full)
    }

    fn plan(&mut self, view: &View, now: Timestamp, _seed: u64) -> Result<Plan<Self::Answer>, Self::Error> {
        let ids: BTreeSet<&HandleId> = self.handles.iter().collect();
        let mut drafts: BTreeMap<HandleId, handle::Draft> =
            ids.into_iter().filter_map(|id| Some((id.clone(), handle::Draft::of(view, id)?))).collect();
        let blocks: BTreeSet<BlockCidr> =
            drafts.values().flat_map(|draft| draft.counts().keys().copied()).collect();
        let missing: Vec<Key> =
            blocks.iter().map(|b| Key::Block(*b)).filter(|key| view.full(key).is_none()).collect();
        let missing: Vec<Key> = missing.into_iter().filter(|key| view.unreadable(key).is_none()).collect();
        if !missing.is_empty() {
            return Ok(Plan::Fetch(ReadSet::new().keys(missing)));
        }
        self.settle(view);

        let cooldown = config::of(view).cooldown_seconds;
        let mut changed: BTreeMap<BlockCidr, Changed> = BTreeMap::new();
        let mut releases: Vec<Release> = Vec::new();
        let mut stays: BTreeMap<(HandleId, BlockCidr), Stays> = BTreeMap::new();
        // The blocks that nothing is to be done about: they are not written again with each attempt.
        let mut untouched = blocks.clone();
        for (id, draft) in &drafts {
            let whose = self.whose.get(id).cloned().unwrap_or_default();
            for (cidr, count) in draft.counts() {
                if let Some(unreadable) = view.unreadable(&Key::Block(*cidr)) {
                    stays.insert((id.clone(), *cidr), Stays::Unreadable(unreadable.error.clone()));
                    continue;
                }
                let Some(change) = Changed::of(view, &mut changed, *cidr) else { continue };
                let is_meant = |attribute: &Attribute| whose.has(attribute);
                let addresses =
                    block::release_by_handle(&mut change.block, id.as_str(), is_meant, now, cooldown);
                let stay = Stays::of(&change.block, id, addresses.len(), *count);
                if !addresses.is_empty() || stay.is_none() {
                    untouched.remove(cidr);
                }
                if let Some(stay) = stay {
                    stays.insert((id.clone(), *cidr), stay);
                }
                releases.push(Release { index: 0, block: *cidr, handle: id.clone(), addresses });
            }
        }
        changed.retain(|cidr, _| !untouched.contains(cidr));
        let nodes: Vec<Key> = changed.values().filter_map(|change| owner_node(view, &change.block)).collect();
        if !nodes.is_empty() {
            return Ok(Plan::Fetch(ReadSet::new().keys(nodes)));
        }
        let answer =
            self.handles.iter().map(|id| self.answer(id, drafts.get(id), &releases, &stays)).collect();
        let mut batch = Batch::new();
        // Blocks are written even if the handle turns out to hold nothing of them: nothing may be added to them unseen while the count goes. Those that are
        // gone were read after the handle.
        for cidr in blocks {
            if let Some(change) = changed.remove(&cidr) {
                let deselected = is_deselected(view, &change.block);
                let index = match write_back(&mut batch, view, change, deselected) {
                    Ok(index) => index,
                    Err(more) => return Ok(Plan::Fetch(more)),
                };
                releases.iter_mut().filter(|r| r.block == cidr).for_each(|r| r.index = index);
            }
            for (id, draft) in &mut drafts {
                match stays.get(&(id.clone(), cidr)) {
                    None => draft.clear(cidr),
                    Some(Stays::NotMeant(left)) if !untouched.contains(&cidr) => {
                        draft.leave(cidr, left.len() as u32);
                    }
                    Some(_) => {}
                }
            }
        }
        // In one write each, that a batch is one transaction; among them handles that name no block at all.
        drafts.values_mut().for_each(|draft| draft.end(&mut batch));
        self.intent = releases;
        Ok(if batch.is_empty() { Plan::Done(answer) } else { Plan::Commit { batch, answer } })
    }

    fn can_do_without(&self, key: &Key) -> bool {
        let in_doubt = |block: &BlockCidr| self.in_doubt.iter().any(|release| release.block == *block);
        match key {
            Key::Block(block) => !in_doubt(block),
            Key::IpamConfig | Key::Resource { kind: Kind::Node, .. } => true,
            _ => false,
        }
    }

    fn observe(&mut self, report: &Report) {
        for release in std::mem::take(&mut self.intent) {
            match report.outcomes.get(release.index) {
                Some(Outcome::Applied(_)) => self.note(release.handle, release.addresses),
                Some(Outcome::Unknown(_)) => self.in_doubt.push(release),
                _ => {}
            }
        }
    }
}

impl ReleaseByHandle {
    /// What was in doubt and is not held any more has been released. What is still held stays in doubt: the write may yet arrive, until somebody
    /// writes the block.
    fn settle(&mut self, view: &View) {
        for mut release in std::mem::take(&mut self.in_doubt) {
            let mut gone = std::mem::take(&mut release.addresses);
            if let Some(Some((block, _))) = view.block(release.block) {
                let held = block::ordinals_of(block, release.handle.as_str());
                let is_held = |addr: &IpAddr| block.cidr.ordinal(*addr).is_some_and(|o| held.contains(&o));
                (release.addresses, gone) = gone.into_iter().partition(is_held);
            }
            self.note(release.handle.clone(), gone);
            if !release.addresses.is_empty() {
                self.in_doubt.push(release);
            }
        }
    }

    fn note(&mut self, handle: HandleId, addresses: Vec<IpAddr>) {
        let done = self.done.entry(handle).or_default();
        done.extend(addresses);
    }

    fn answer(
        &self,
        id: &HandleId,
        draft: Option<&handle::Draft>,
        releases: &[Release],
        stays: &BTreeMap<(HandleId, BlockCidr), Stays>,
    ) -> HandleRelease {
        let done = self.done.get(id);
        if done.is_none() && !draft.is_some_and(|draft| draft.exists()) {
            return HandleRelease::NotFound;
        }
        let now = releases.iter().filter(|release| release.handle == *id);
        let all = done.into_iter().flatten().chain(now.flat_map(|release| &release.addresses));
        let mut addresses: Vec<IpAddr> = Vec::new();
        for addr in all {
            if !addresses.contains(addr) {
                addresses.push(*addr);
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
