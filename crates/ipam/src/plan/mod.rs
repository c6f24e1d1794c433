//! Planners: one file, or folder, an operation. A planner is a deterministic function of what was read, what was asked, the time and a seed. It
//! reads nothing, writes nothing and knows no clock; [`run`](crate::run()) does that for it.

use api::{Key, Timestamp};
use store::{Batch, ReadSet, Report, View};

pub mod assign_ip;
pub(crate) mod attempts;
pub mod auto_assign;
pub mod progress;
pub(crate) mod release;
pub mod release_affinities;
pub mod release_by_handle;
pub mod release_ips;
pub mod release_unowned;
pub mod set_owner;

pub use assign_ip::{AssignIp, AssignIpError};
pub use auto_assign::{Address, Assigned, AutoAssign, AutoAssignError, AutoAssigned};
pub use release_affinities::{
    ReleaseAffinities, ReleaseAffinitiesError, ReleaseAffinitiesPlanner, ReleasedAffinities, Which,
};
pub use release_by_handle::{HandleRelease, ReleaseByHandle, ReleaseByHandlePlanner, Whose};
pub use release_ips::{ReleaseIps, ReleaseIpsError, ReleaseIpsPlanner, ReleasedIps};
pub use release_unowned::{ReleaseUnowned, ReleaseUnownedPlanner};
pub use set_owner::{Change, PodName, SetOwnerAttributes, SetOwnerAttributesPlanner, SetOwnerError};

/// What a planner wants next.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan<A> {
    /// These are needed too; read them and ask again with the wider view.
    Fetch(ReadSet),
    /// Write this; if all of it is applied, that is the answer.
    Commit {
        /// What to write.
        batch: Batch,
        /// The answer, should it hold.
        answer: A,
    },
    /// The answer, without a write. The view it rests on was read after the request arrived.
    Done(A),
}

/// An operation.
pub trait Planner {
    /// What the operation gives.
    type Answer;
    /// Why it cannot.
    type Error;

    /// What to read at the start of each attempt.
    fn reads(&self) -> ReadSet;

    /// Plans. `now` and `seed` are the same for all calls of an attempt.
    ///
    /// # Errors
    /// When the operation cannot succeed on what was read. It is then not tried again; what earlier attempts left is taken back
    /// (see [`Planner::give_up`]).
    fn plan(&mut self, view: &View, now: Timestamp, seed: u64) -> Result<Plan<Self::Answer>, Self::Error>;

    /// Whether it can do without a record that it asked for by its key, where that cannot be read. Where it cannot, the operation ends with an error that names
    /// the record; and where it asks for it again.
    fn can_do_without(&self, key: &Key) -> bool {
        *key == Key::IpamConfig
    }

    /// Whether the operation may begin on a view that was kept, not read after the request arrived ([`run_warm`](crate::run_warm)). No release may: that there is
    /// nothing to release rests on what was read. Nor may what gives as its own what it found.
    fn may_begin_warm(&self) -> bool {
        false
    }

    /// Whether an answer may stand whose batch was planned on a kept view: it must be what the batch writes and nothing else, not that something is lacking.
    fn may_stand_warm(&self, answer: &Self::Answer) -> bool {
        let _ = answer;
        false
    }

    /// Learns what came of the last batch that it planned, when not all of it was applied, and of every batch of [`Planner::give_up`].
    fn observe(&mut self, report: &Report) {
        let _ = report;
    }

    /// Whether earlier attempts left something that is to be taken back if the operation ends without success.
    fn owes(&self) -> bool {
        false
    }

    /// Plans to take back what earlier attempts left. Called until it gives [`Plan::Done`], or owes nothing more.
    fn give_up(&mut self, view: &View, now: Timestamp) -> Plan<()> {
        let _ = (view, now);
        Plan::Done(())
    }
}
