//! Removes a host from the allocator's data (`libcalico-go/lib/ipam/ipam.go`, `RemoveIPAMHost`).

use api::{Key, Owner, Timestamp};
use store::{Batch, Depth, Expect, ReadSet, Report, View};

use crate::plan::release_affinities::{
    ReleaseAffinities, ReleaseAffinitiesError, ReleaseAffinitiesPlanner, ReleasedAffinities, Which,
};
use crate::plan::{Plan, Planner};

/// A request to release all affinities of a host, whatever their blocks hold, and then to delete the host's
/// own record, which only old clusters have. Addresses stay assigned. For a host that is gone already there
/// is nothing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoveHost {
    /// The host.
    pub host: String,
}

impl RemoveHost {
    /// The planner for this request.
    pub fn planner(self) -> RemoveHostPlanner {
        let which = Which::Owner(Owner::Host(self.host.clone()));
        let release = ReleaseAffinities { which, must_be_empty: false }.planner();
        RemoveHostPlanner { record: Key::IpamHost(self.host), release }
    }
}

/// The planner for [`RemoveHost`].
#[derive(Clone, Debug)]
pub struct RemoveHostPlanner {
    /// The host's own record.
    record: Key,
    release: ReleaseAffinitiesPlanner,
}

impl Planner for RemoveHostPlanner {
    /// The affinities that were released. If there are more, the host's own record is still there; then
    /// repeat the request.
    type Answer = ReleasedAffinities;
    type Error = ReleaseAffinitiesError;

    fn reads(&self) -> ReadSet {
        // What the record says does not matter, so it need not be readable.
        let record = ReadSet { keys: vec![(self.record.clone(), Depth::Key)], ..ReadSet::new() };
        self.release.reads().and(record)
    }

    fn plan(&mut self, view: &View, now: Timestamp, seed: u64) -> Result<Plan<Self::Answer>, Self::Error> {
        let (mut batch, answer) = match self.release.plan(view, now, seed)? {
            Plan::Fetch(set) => return Ok(Plan::Fetch(set)),
            Plan::Commit { batch, answer } => (batch, answer),
            Plan::Done(answer) => (Batch::new(), answer),
        };
        let found = view.get(&self.record).and_then(|slot| slot.revision().cloned());
        if let (Some(revision), false) = (found, answer.more) {
            batch.delete(self.record.clone(), Expect::Revision(revision));
        }
        Ok(if batch.is_empty() { Plan::Done(answer) } else { Plan::Commit { batch, answer } })
    }

    fn can_do_without(&self, key: &Key) -> bool {
        self.release.can_do_without(key)
    }

    fn observe(&mut self, report: &Report) {
        self.release.observe(report);
    }
}
