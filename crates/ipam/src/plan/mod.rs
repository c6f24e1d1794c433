//! Planners: each operation has a file or a folder. A planner is a deterministic function of what was read,
//! the request, the time and a seed. It reads nothing, writes nothing and knows no clock;
//! [`run`](crate::run()) does that for it.

use api::{Key, Timestamp};
use store::{Batch, ReadSet, Report, View};

pub mod assign_ip;
pub(crate) mod attempts;
pub mod auto_assign;
pub mod claim_affinity;
pub mod collect_cooldowns;
pub mod ensure_active;
mod further_blocks;
pub mod ips_by_handle;
pub mod progress;
pub(crate) mod release;
pub mod release_affinities;
pub mod release_by_handle;
pub mod release_idle_blocks;
pub mod release_ips;
pub mod release_unowned;
pub mod remove_host;
pub mod set_owner;
pub mod tunnel;

pub use assign_ip::{AssignIp, AssignIpError};
pub use auto_assign::{Address, Assigned, AutoAssign, AutoAssignError, AutoAssigned};
pub use auto_assign::{EnsureBlock, EnsureBlockError, EnsureBlockPlanner, EnsuredBlocks};
pub use claim_affinity::{ClaimAffinity, ClaimAffinityError, ClaimAffinityPlanner, ClaimedAffinities};
pub use collect_cooldowns::{CollectCooldowns, CollectCooldownsPlanner, Collected};
pub use ensure_active::{EnsureActiveOwner, EnsureActiveOwnerError, EnsureActiveOwnerPlanner};
pub use ips_by_handle::{HeldIps, IpsByHandle, IpsByHandlePlanner};
pub use release_affinities::{
    ReleaseAffinities, ReleaseAffinitiesError, ReleaseAffinitiesPlanner, ReleasedAffinities, Which,
};
pub use release_by_handle::{HandleRelease, ReleaseByHandle, ReleaseByHandlePlanner, Whose};
pub use release_idle_blocks::{
    IdleBlock, Kept, ReleaseIdleBlocks, ReleaseIdleBlocksPlanner, ReleasedIdleBlocks,
};
pub use release_ips::{ReleaseIps, ReleaseIpsError, ReleaseIpsPlanner, ReleasedIps};
pub use release_unowned::{ReleaseUnowned, ReleaseUnownedPlanner};
pub use remove_host::{RemoveHost, RemoveHostPlanner};
pub use set_owner::{
    Change, OwnerAttributes, PodName, SetOwnerAttributes, SetOwnerAttributesPlanner, SetOwnerError,
};

/// The next step that a planner wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan<A> {
    /// The planner needs these records, too. Read them, and call the planner again with the wider view.
    Fetch(ReadSet),
    /// Write this batch. If all of it is applied, or all but what only tidies up
    /// ([`Planner::is_answered_by`]), the operation ends with the answer.
    Commit {
        /// The batch to write.
        batch: Batch,
        /// The answer, valid if the batch is applied.
        answer: A,
    },
    /// The answer, for which nothing has to be written. It rests on a view that was read after the request
    /// arrived.
    Done(A),
}

/// The planner of one operation, with its memory over the attempts.
pub trait Planner {
    /// What the operation gives on success.
    type Answer;
    /// Why the operation fails.
    type Error;

    /// The records to read at the start of each attempt.
    fn reads(&self) -> ReadSet;

    /// Makes a plan from a view. `now` and `seed` are the same for all calls within one attempt.
    ///
    /// # Errors
    /// When the operation cannot succeed with what was read. It is not tried again, unless the error may pass
    /// ([`Planner::may_pass`]), and what earlier attempts left is taken back (see [`Planner::give_up`]).
    fn plan(&mut self, view: &View, now: Timestamp, seed: u64) -> Result<Plan<Self::Answer>, Self::Error>;

    /// Whether the error may pass by itself, as when it comes from what another request has begun. Then the
    /// request is tried again, as after a conflict, and ends with the error only when its attempts or its
    /// time are over.
    fn may_pass(&self, error: &Self::Error) -> bool {
        let _ = error;
        false
    }

    /// Whether the planner can go on when a record that it asked for by its key cannot be parsed. If not, the
    /// operation ends with an error that names the record. The same holds when the planner asks for such a
    /// record again.
    fn can_do_without(&self, key: &Key) -> bool {
        *key == Key::IpamConfig
    }

    /// Whether the operation may begin on a view that was kept, not read after the request arrived
    /// ([`run_warm`](crate::run_warm)). No release may: that there is nothing to release rests on what was
    /// read. Nor may what gives as its own what it found.
    fn may_begin_warm(&self) -> bool {
        false
    }

    /// Whether an answer may stand whose batch was planned on a kept view: it must be what the batch writes
    /// and nothing else, not that something is lacking.
    fn may_stand_warm(&self, answer: &Self::Answer) -> bool {
        let _ = answer;
        false
    }

    /// Whether the answer of the last batch that it planned stands. It may stand though the last writes were
    /// refused, where these only tidy up.
    fn is_answered_by(&self, report: &Report) -> bool {
        report.is_applied()
    }

    /// Learns what came of the last batch that it planned, when not all of it was applied, and of every batch
    /// of [`Planner::give_up`].
    fn observe(&mut self, report: &Report) {
        let _ = report;
    }

    /// Whether earlier attempts left something that must be taken back if the operation ends without success.
    fn owes(&self) -> bool {
        false
    }

    /// Plans to take back what earlier attempts left. It is called until it gives [`Plan::Done`] or nothing
    /// is left to take back.
    fn give_up(&mut self, view: &View, now: Timestamp) -> Plan<()> {
        let _ = (view, now);
        Plan::Done(())
    }
}
