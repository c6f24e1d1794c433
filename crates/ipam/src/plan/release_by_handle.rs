//! Releases everything that handles hold (`libcalico-go/lib/ipam/ipam.go`, `ReleaseByHandle`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::{BlockCidr, DecodeError, HandleId, Key, Kind, Timestamp};
use store::{Batch, Depth, Outcome, ReadSet, Report, Scope, View};

use crate::block;
use crate::config;
use crate::handle;
use crate::plan::release_ips::{Changed, is_deselected, owner_node, write_back};
use crate::plan::{Plan, Planner};

/// Handles to release.
#[derive(Clone, Debug)]
pub struct ReleaseByHandle {
    /// The handles.
    pub handles: Vec<HandleId>,
    /// The host that asks, if it is one: its node is read at once.
    pub host: Option<String>,
    /// Released by earlier attempts, by handle.
    done: BTreeMap<HandleId, Vec<IpAddr>>,
    /// What the batch at hand releases.
    intent: Vec<Release>,
    /// What may have been released: the reply was lost.
    in_doubt: Vec<Release>,
    /// Blocks of the handles that cannot be read, and why: what they hold is not released, and the handles stay.
    kept: BTreeMap<(HandleId, BlockCidr), DecodeError>,
}

/// Addresses of a handle in a block, and the index of the write that releases them.
#[derive(Clone, Debug)]
struct Release {
    index: usize,
    block: BlockCidr,
    handle: HandleId,
    addresses: Vec<IpAddr>,
}

impl ReleaseByHandle {
    /// A request to release those handles, by a host if it is one.
    pub fn new(handles: Vec<HandleId>, host: Option<String>) -> ReleaseByHandle {
        let (done, intent, in_doubt, kept) = Default::default();
        ReleaseByHandle { handles, host, done, intent, in_doubt, kept }
    }
}

/// What became of a handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandleRelease {
    /// There is no such handle.
    NotFound,
    /// It held these, and is gone.
    Released(Vec<IpAddr>),
    /// It held these, and stays: a block that it names cannot be read, in whole or in the part that says whose an address is. Mend that record, and release it
    /// again.
    Partly(Vec<IpAddr>, DecodeError),
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
        self.kept.clear();

        let cooldown = config::of(view).cooldown_seconds;
        let mut changed: BTreeMap<BlockCidr, Changed> = BTreeMap::new();
        let mut releases: Vec<Release> = Vec::new();
        for (id, draft) in &drafts {
            for (cidr, count) in draft.counts() {
                if let Some(unreadable) = view.unreadable(&Key::Block(*cidr)) {
                    self.kept.insert((id.clone(), *cidr), unreadable.error.clone());
                    continue;
                }
                let Some(change) = Changed::of(view, &mut changed, *cidr) else { continue };
                let doubtful = block::doubtful_holder(&change.block);
                let addresses = block::release_by_handle(&mut change.block, id.as_str(), now, cooldown);
                if let Some(addr) = doubtful.filter(|_| addresses.len() < *count as usize) {
                    let reason = format!(
                        "the handle of {addr} cannot be read, and {id} holds {count} addresses of the block, of which {} are found",
                        addresses.len()
                    );
                    let error = DecodeError::new(Key::Block(*cidr), "attributes", reason);
                    self.kept.insert((id.clone(), *cidr), error);
                }
                releases.push(Release { index: 0, block: *cidr, handle: id.clone(), addresses });
            }
        }
        let nodes: Vec<Key> = changed.values().filter_map(|change| owner_node(view, &change.block)).collect();
        if !nodes.is_empty() {
            return Ok(Plan::Fetch(ReadSet::new().keys(nodes)));
        }
        let answer = self.handles.iter().map(|id| self.answer(id, drafts.get(id), &releases)).collect();
        if releases.iter().all(|release| release.addresses.is_empty()) && !self.kept.is_empty() {
            // What is kept is not written again with each attempt.
            let is_kept = |cidr: &BlockCidr| self.kept.keys().any(|(_, kept)| kept == cidr);
            changed.retain(|cidr, _| !is_kept(cidr));
        }
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
            let gone = drafts.iter_mut().filter(|(id, _)| !self.kept.contains_key(&((*id).clone(), cidr)));
            gone.for_each(|(_, draft)| draft.clear(cidr));
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

    fn answer(&self, id: &HandleId, draft: Option<&handle::Draft>, releases: &[Release]) -> HandleRelease {
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
        match self.kept.iter().find(|((kept, _), _)| kept == id) {
            Some((_, error)) => HandleRelease::Partly(addresses, error.clone()),
            None => HandleRelease::Released(addresses),
        }
    }
}
