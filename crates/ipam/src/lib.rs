//! Allocation: blocks, affinities, handles, pools and reservations as values with small pure methods; a
//! planner for each operation; and the loop that reads, plans and commits.
//!
//! Nothing in this crate knows the backend, and only [`run()`] has effects.

pub mod affinity;
pub mod block;
mod config;
pub mod explain;
pub mod handle;
pub mod invariants;
pub mod plan;
pub mod pools;
mod ranges;
pub mod reservations;
pub mod ring;
pub mod run;
pub mod tunnel;
pub mod usage;
pub mod verdict;

pub use block::{HostReserved, ReleaseIp};
pub use plan::RemoveHost;
pub use plan::tunnel::{FindTunnel, FoundTunnel, Tunnel};
pub use plan::{
    Address, AssignIp, AssignIpError, Assigned, AutoAssign, AutoAssignError, AutoAssigned, Change,
    HandleRelease, OwnerAttributes, Plan, Planner, PodName, ReleaseAffinities, ReleaseAffinitiesError,
    ReleaseByHandle, ReleaseIps, ReleaseIpsError, ReleaseUnowned, ReleaseUnownedPlanner, ReleasedAffinities,
    ReleasedIps, SetOwnerAttributes, SetOwnerAttributesPlanner, SetOwnerError, Which, Whose,
};
pub use plan::{ClaimAffinity, ClaimAffinityError, ClaimedAffinities};
pub use plan::{CollectCooldowns, Collected};
pub use plan::{EnsureActiveOwner, EnsureActiveOwnerError};
pub use plan::{EnsureBlock, EnsureBlockError, EnsuredBlocks};
pub use plan::{HeldIps, IpsByHandle};
pub use plan::{IdleBlock, Kept, ReleaseIdleBlocks, ReleasedIdleBlocks};
pub use run::{RunError, run, run_from, run_warm};
pub use tunnel::{TunnelError, assign_tunnel};
pub use verdict::{Sink, Verdict, Verdicts};
