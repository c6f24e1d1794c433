//! Releases everything that handles hold (`libcalico-go/lib/ipam/ipam.go`, `ReleaseByHandle`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{BlockCidr, HandleId, Key, Kind, Timestamp};
use store::{Batch, Depth, ReadSet, Scope, View};

use crate::block;
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
}

/// What became of a handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandleRelease {
    /// There is no such handle.
    NotFound,
    /// It held these, and is gone.
    Released(Vec<IpAddr>),
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
            .keys(node)
            .scope(Scope::kind(Kind::IPPool), Depth::Full)
    }

    fn plan(&mut self, view: &View, now: Timestamp, _seed: u64) -> Result<Plan<Self::Answer>, Self::Error> {
        let mut drafts: Vec<handle::Draft> =
            self.handles.iter().filter_map(|id| handle::Draft::of(view, id)).collect();
        let blocks: Vec<BlockCidr> = drafts.iter().flat_map(|draft| draft.counts().keys().copied()).collect();
        let missing: Vec<Key> =
            blocks.iter().map(|b| Key::Block(*b)).filter(|key| view.full(key).is_none()).collect();
        if !missing.is_empty() {
            return Ok(Plan::Fetch(ReadSet::new().keys(missing)));
        }
        let mut changed: BTreeMap<BlockCidr, Changed> = BTreeMap::new();
        let mut answer = Vec::new();
        for (id, draft) in self.handles.iter().zip(&drafts) {
            if !draft.exists() {
                answer.push(HandleRelease::NotFound);
                continue;
            }
            let mut released = Vec::new();
            for cidr in draft.counts().keys() {
                let Some(change) = Changed::of(view, &mut changed, *cidr) else { continue };
                let cooldown = view.ipam_config().unwrap_or_default().cooldown_seconds;
                released.extend(block::release_by_handle(&mut change.block, id.as_str(), now, cooldown));
            }
            answer.push(HandleRelease::Released(released));
        }
        let nodes: Vec<Key> = changed.values().filter_map(|change| owner_node(view, &change.block)).collect();
        if !nodes.is_empty() {
            return Ok(Plan::Fetch(ReadSet::new().keys(nodes)));
        }
        let mut batch = Batch::new();
        let mut cleared: Vec<BlockCidr> = Vec::new();
        for (cidr, change) in changed {
            // Written even if the handle turns out to hold nothing of it: nothing may be added to the block unseen while its count goes.
            let deselected = is_deselected(view, &change.block);
            if let Some(more) = write_back(&mut batch, view, change, deselected) {
                return Ok(Plan::Fetch(more));
            }
            for draft in drafts.iter_mut().filter(|draft| draft.counts().contains_key(&cidr)) {
                draft.clear(&mut batch, cidr);
            }
            cleared.push(cidr);
        }
        // Blocks that are gone, read after the handle.
        for cidr in blocks.into_iter().filter(|cidr| !cleared.contains(cidr)) {
            for draft in &mut drafts {
                draft.clear(&mut batch, cidr);
            }
        }
        // A handle that names no block at all.
        for draft in drafts.iter_mut().filter(|draft| draft.exists() && draft.counts().is_empty()) {
            draft.end(&mut batch);
        }
        Ok(if batch.is_empty() { Plan::Done(answer) } else { Plan::Commit { batch, answer } })
    }
}
