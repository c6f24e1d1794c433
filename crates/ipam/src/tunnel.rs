//! Gives a node the address of a tunnel device (`node/pkg/allocateip`, `ensureHostTunnelAddress`): keeps the
//! one that the node has, takes another if that no longer fits, or takes it back if no pool gives one.
//!
//! This is a sequence of operations. A crash after any of them leaves what the next call takes up, because
//! the node's handle tells what the node has, and not the Node's field.

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use api::{Family, HandleId, Use};
use store::{Effects, Store};

use crate::plan::tunnel::{FindTunnel, FindTunnelError, FoundTunnel};
use crate::plan::{AutoAssign, AutoAssignError, ReleaseByHandle, ReleaseIps, ReleaseIpsError, Whose};
use crate::run::{RunError, run};

/// Why a node has no address for a tunnel.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelError {
    /// It cannot be told what the node has.
    #[error(transparent)]
    Find(#[from] RunError<FindTunnelError>),
    /// What the node must not keep could not be released. Calling again later can succeed.
    #[error(transparent)]
    Release(#[from] RunError<Infallible>),
    /// A block that holds what the node must not keep cannot be parsed. Mend that record.
    #[error(transparent)]
    Unreadable(ReleaseIpsError),
    /// No address could be assigned.
    #[error(transparent)]
    Assign(#[from] RunError<AutoAssignError>),
    /// The pools have no free address that the node could have. The text says why.
    #[error("{0}")]
    None(String),
}

/// Sees to it that a node has one address for a tunnel, and only that. Gives the address, or `None` where no
/// pool gives the node one. The caller notes it in the Node.
///
/// Where the tunnel is switched off (WireGuard without a key), release
/// [`Tunnel::handle`](crate::plan::tunnel::Tunnel::handle) instead.
///
/// # Errors
/// See [`TunnelError`]. What the node had may be released then; the next call continues.
pub async fn assign_tunnel<S: Store, E: Effects>(
    store: &S,
    effects: &E,
    request: FindTunnel,
    within: Duration,
) -> Result<Option<IpAddr>, TunnelError> {
    let start = effects.elapsed();
    let left = || (start + within).saturating_sub(effects.elapsed());
    let found = run(store, effects, request.clone().planner(), left()).await?;
    let FoundTunnel { fits, others, counts_too_many, pools } = found;
    if !others.is_empty() {
        // An address that was assigned again since it was read is somebody else's, and is not released.
        let answer = run(store, effects, ReleaseIps::new(others).planner(), left()).await?;
        if let Some(error @ ReleaseIpsError::Unreadable(_)) = answer.error {
            return Err(TunnelError::Unreadable(error));
        }
    }
    if fits.is_some() {
        return Ok(fits);
    }
    // It was found just now, so the name can be part of a handle.
    let Some(handle) = request.tunnel.handle(&request.node) else { return Ok(None) };
    if counts_too_many {
        run(store, effects, recount(handle.clone()).planner(), left()).await?;
    }
    if pools.is_empty() {
        return Ok(None);
    }
    let family = request.tunnel.family();
    let wanted = assign(&request, handle, pools);
    let answer = run(store, effects, wanted.planner(), left()).await?;
    let assigned = answer.family(family);
    match (assigned.addresses.first(), &assigned.error) {
        (Some(address), _) => Ok(Some(address.addr)),
        (None, Some(error)) => Err(RunError::Plan(error.clone()).into()),
        (None, None) => Err(TunnelError::None(assigned.shortage(family, None).unwrap_or_default())),
    }
}

/// The request for a new address. Two that run at once for one node get the same one.
fn assign(request: &FindTunnel, handle: HandleId, pools: Vec<api::Cidr>) -> AutoAssign {
    let mut wanted = AutoAssign {
        handle: Some(handle),
        attributes: request.tunnel.attributes(&request.node),
        max_per_handle: Some(1),
        ..AutoAssign::new(request.node.as_str(), Use::Tunnel)
    };
    match request.tunnel.family() {
        Family::V4 => (wanted.v4, wanted.v4_pools) = (1, pools),
        Family::V6 => (wanted.v6, wanted.v6_pools) = (1, pools),
    }
    wanted
}

/// A release that sets the counts of a handle right, and frees no tunnel's address: what another process has
/// assigned to the node meanwhile stays.
fn recount(handle: HandleId) -> ReleaseByHandle {
    ReleaseByHandle::new(Vec::new(), None).and(handle, Whose::NoPods)
}
