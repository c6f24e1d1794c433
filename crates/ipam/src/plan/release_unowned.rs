//! Releases the addresses of a handle unless they are somebody else's by now: those of a virtual machine, with its last pod.

use std::collections::BTreeSet;
use std::convert::Infallible;

use api::{HandleId, Key, Timestamp};
use store::{Batch, Expect, ReadSet, Report, View};

use crate::block;
use crate::plan::attempts;
use crate::plan::release_by_handle::{HandleRelease, ReleaseByHandle, ReleaseByHandlePlanner};
use crate::plan::set_owner::{PodName, unread};
use crate::plan::{Plan, Planner};

/// A handle to release, unless an address of it has an owner, active or alternate, other than that pod. Calico looks first and releases later; here both are
/// one write of the block, so that no pod loses an address that it has been given meanwhile.
#[derive(Clone, Debug)]
pub struct ReleaseUnowned {
    /// The handle.
    pub handle: HandleId,
    /// The pod.
    pub pod: PodName,
}

/// The planner of [`ReleaseUnowned`].
#[derive(Clone, Debug)]
pub struct ReleaseUnownedPlanner {
    request: ReleaseUnowned,
    release: ReleaseByHandlePlanner,
}

impl ReleaseUnowned {
    /// The planner of this request.
    pub fn planner(self) -> ReleaseUnownedPlanner {
        let release = ReleaseByHandle::new(vec![self.handle.clone()], None).planner();
        ReleaseUnownedPlanner { request: self, release }
    }
}

impl ReleaseUnownedPlanner {
    /// Whether an address of the handle is somebody else's; what must be read to know.
    fn is_anothers(&self, view: &View) -> Result<bool, ReadSet> {
        let Some(Some((handle, _))) = view.handle(&self.request.handle) else { return Ok(false) };
        let missing = unread(view, handle.blocks.keys());
        let missing = missing
            .keys(view.missing(self.release.in_doubt().map(Key::Block)).keys.into_iter().map(|(key, _)| key));
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

    /// Rewrites the blocks of which a write is in doubt as they are, so that it can no longer be applied.
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
    /// What became of the handle; `None` when an address of it is somebody else's.
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
        // Whose an address is has to be known.
        !matches!(key, Key::Block(_)) && self.release.can_do_without(key)
    }

    fn observe(&mut self, report: &Report) {
        self.release.observe(report);
    }
}
