//! Releases the addresses of a handle, unless another pod owns one of them by now. A virtual machine's last
//! pod needs this.

use std::collections::BTreeSet;
use std::convert::Infallible;

use api::{HandleId, Key, Timestamp};
use store::{Batch, Expect, ReadSet, Report, View};

use crate::block;
use crate::plan::attempts;
use crate::plan::release_by_handle::{HandleRelease, ReleaseByHandle, ReleaseByHandlePlanner};
use crate::plan::set_owner::PodName;
use crate::plan::{Plan, Planner};

/// A request to release a handle, unless one of its addresses has an active or alternate owner other than the
/// pod. Calico reads the owners first and releases later. This request does both in one write of the block,
/// so that no pod loses an address that it was given in between.
#[derive(Clone, Debug)]
pub struct ReleaseUnowned {
    /// The handle to release.
    pub handle: HandleId,
    /// The pod that may own the addresses.
    pub pod: PodName,
}

/// The planner for [`ReleaseUnowned`].
#[derive(Clone, Debug)]
pub struct ReleaseUnownedPlanner {
    request: ReleaseUnowned,
    release: ReleaseByHandlePlanner,
}

impl ReleaseUnowned {
    /// The planner for this request.
    pub fn planner(self) -> ReleaseUnownedPlanner {
        let release = ReleaseByHandle::new(vec![self.handle.clone()], None).planner();
        ReleaseUnownedPlanner { request: self, release }
    }
}

impl ReleaseUnownedPlanner {
    /// Whether another pod owns an address of the handle; the error is what must be read before.
    fn is_anothers(&self, view: &View) -> Result<bool, ReadSet> {
        let Some(Some((handle, _))) = view.handle(&self.request.handle) else { return Ok(false) };
        let missing = view.missing(handle.blocks.keys().copied().map(Key::Block));
        let missing = missing.and(view.missing(self.release.in_doubt().map(Key::Block)));
        if !missing.is_empty() {
            return Err(missing);
        }
        let mut blocks = handle.blocks.keys().filter_map(|cidr| view.block(*cidr)?);
        Ok(blocks.any(|(block, _)| {
            let mine = block::ordinals_of(block, self.request.handle.as_str()).into_iter();
            let attributes = mine.filter_map(|ordinal| block.attribute(ordinal));
            let mut owners = attributes.flat_map(|a| [&a.owner, &a.alternate_owner]);
            owners.any(|owner| !owner.is_empty() && !self.request.pod.is(owner))
        }))
    }

    /// Rewrites blocks with writes in doubt unchanged, so that these writes can no longer be applied.
    fn fence(&self, view: &View) -> Batch {
        let mut batch = Batch::new();
        for cidr in self.release.in_doubt().collect::<BTreeSet<_>>() {
            if let Some(Some((stored, revision))) = view.block(cidr) {
                attempts::fence(&mut batch, stored, Expect::at(revision));
            }
        }
        batch
    }
}

impl Planner for ReleaseUnownedPlanner {
    /// The result of the release; `None` when another pod owns an address of the handle.
    type Answer = Option<HandleRelease>;
    type Error = Infallible;

    fn reads(&self) -> ReadSet {
        self.release.reads()
    }

    fn plan(&mut self, view: &View, now: Timestamp, seed: u64) -> Result<Plan<Self::Answer>, Infallible> {
        match self.is_anothers(view) {
            Err(more) => return Ok(Plan::Fetch(more)),
            Ok(true) => return Ok(Plan::Commit { batch: self.fence(view), answer: None }),
            Ok(false) => {}
        }
        let first = |mut answer: Vec<HandleRelease>| answer.pop();
        Ok(match self.release.plan(view, now, seed)? {
            Plan::Fetch(set) => Plan::Fetch(set),
            Plan::Commit { batch, answer } => Plan::Commit { batch, answer: first(answer) },
            Plan::Done(answer) => Plan::Done(first(answer)),
        })
    }

    fn can_do_without(&self, key: &Key) -> bool {
        // A block tells who owns its addresses, so it must be readable.
        !matches!(key, Key::Block(_)) && self.release.can_do_without(key)
    }

    fn observe(&mut self, report: &Report) {
        self.release.observe(report);
    }
}
