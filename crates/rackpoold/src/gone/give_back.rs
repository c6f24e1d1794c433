//! Gives back what a container that is gone has left: its addresses and its endpoint.

use std::net::IpAddr;
use std::time::Duration;

use api::Resource;
use ipam::usage::{Allocation, allocation_of, reads_of};
use ipam::{ReleaseIp, ReleaseIps, Whose};
use resources::version::{cluster_information, is_ready};
use store::{Batch, Effects, Expect, Outcome, ReadSet, Refusal, Store, StoreError};

use super::Endpoint;

/// What was given back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenBack {
    /// The addresses that were released.
    pub released: Vec<IpAddr>,
    /// Addresses of the endpoint that the store does not record as the container's: another IPAM plugin has
    /// given them, or they were released and perhaps assigned again.
    pub others: Vec<IpAddr>,
    /// Whether the endpoint was deleted. It stays where another container has it by now, or where it changed
    /// just then.
    pub is_deleted: bool,
}

/// Why nothing, or not everything, was given back. The next look finds the endpoint again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GiveBackError {
    /// The datastore is locked for a migration.
    #[error("the datastore is locked, as for a migration: calicoctl datastore migrate unlock")]
    Locked,
    /// The store gives no answer, or refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store refuses to delete the endpoint.
    #[error("the endpoint {name} cannot be deleted: {refusal}")]
    Refused {
        /// The endpoint's name.
        name: String,
        /// The store's words.
        refusal: Refusal,
    },
    /// An address cannot be released.
    #[error("the addresses of the endpoint {name} cannot be released: {reason}")]
    Release {
        /// The endpoint's name.
        name: String,
        /// The reason.
        reason: String,
    },
}

/// Releases the addresses of an endpoint and deletes it. `node` is the agent's own.
///
/// The addresses go first: an endpoint that is left is found again, an address without an endpoint is not.
/// Only an assignment that names the container's handle and this node is released, and only as it was read
/// (its sequence number), so that an address that has found another owner stays with that owner.
///
/// # Errors
/// See [`GiveBackError`].
pub async fn give_back<S: Store, E: Effects>(
    store: &S,
    effects: &E,
    node: &str,
    gone: &Endpoint,
    within: Duration,
) -> Result<GivenBack, GiveBackError> {
    let information = cluster_information();
    let set = ReadSet::new().key(gone.key.clone()).key(information.clone());
    let view = store.read(&set, within).await?.insist(&set)?;
    if !view.resource(&information).flatten().is_some_and(|(information, _)| is_ready(information)) {
        return Err(GiveBackError::Locked);
    }
    let found = view.resource(&gone.key).flatten();
    let is_same =
        |endpoint: &Resource| endpoint.text(&["spec", "containerID"]) == Some(gone.container.as_str());
    let Some((endpoint, revision)) = found.filter(|(endpoint, _)| is_same(endpoint)) else {
        return Ok(GivenBack::default());
    };
    let name = || endpoint.name().to_string();
    let mut given =
        release(store, effects, node, gone, &api::endpoint::addresses(endpoint).addresses, within)
            .await
            .map_err(|reason| GiveBackError::Release { name: name(), reason })?;
    let mut batch = Batch::new();
    batch.delete(gone.key.clone(), Expect::Revision(revision.clone()));
    let report = store.commit(&batch, within).await?;
    match report.outcomes.into_iter().next() {
        Some(Outcome::Applied(_)) => given.is_deleted = true,
        Some(Outcome::Refused(Refusal::Conflict(_))) => {}
        Some(Outcome::Refused(refusal)) => return Err(GiveBackError::Refused { name: name(), refusal }),
        Some(Outcome::Unknown(reason)) => return Err(StoreError::Unavailable(reason).into()),
        _ => {}
    }
    Ok(given)
}

async fn release<S: Store, E: Effects>(
    store: &S,
    effects: &E,
    node: &str,
    gone: &Endpoint,
    addresses: &[IpAddr],
    within: Duration,
) -> Result<GivenBack, String> {
    let mut given = GivenBack::default();
    let mut set = ReadSet::new();
    set.keys.extend(addresses.iter().flat_map(|addr| reads_of(*addr).keys));
    if set.is_empty() {
        return Ok(given);
    }
    let view = store.read(&set, within).await.and_then(|view| view.insist(&set));
    let view = view.map_err(|error| error.to_string())?;
    let mut ips = Vec::new();
    for addr in addresses {
        let Allocation::Assigned { attribute, sequence, .. } = allocation_of(&view, *addr) else {
            given.others.push(*addr);
            continue;
        };
        // Records of old releases name no node.
        let is_here = attribute.owner.get("node").is_none_or(|theirs| theirs == node);
        let is_containers = |handle: &&str| {
            handle.strip_suffix(&gone.container).is_some_and(|front| front.ends_with('.'))
                && Whose::NoPods.has(&attribute)
        };
        match attribute.handle().filter(is_containers).filter(|_| is_here) {
            Some(handle) => {
                ips.push(ReleaseIp {
                    addr: *addr,
                    handle: Some(handle.to_string()),
                    sequence: Some(sequence),
                });
            }
            None => given.others.push(*addr),
        }
    }
    if ips.is_empty() {
        return Ok(given);
    }
    let planner = ReleaseIps::new(ips).each_alone().planner();
    let released = ipam::run(store, effects, planner, within).await.map_err(|error| error.to_string())?;
    if let Some(error) = released.error {
        return Err(error.to_string());
    }
    given.released = released.released;
    given
        .others
        .extend(released.unallocated.into_iter().chain(released.refused.into_iter().map(|(addr, _)| addr)));
    Ok(given)
}
