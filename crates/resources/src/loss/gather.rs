//! Looks for what the cluster uses.

use std::time::Duration;

use serde_json::Value as Json;
use store::StoreError;
use store::strangers::{StrangerKind, Strangers};

use super::judge::{BGP_SETTINGS, KINDS, POOLS, has_mesh, name_of, needs_bgp, use_by};
use super::{Feature, Loss, Losses, Unknown};

/// What the cluster uses and rackpool does not carry out. A kind that the store does not have is not used; a
/// kind that this client may not list is told as unknown.
///
/// # Errors
/// When the store gives no answer.
pub async fn losses(store: &impl Strangers, within: Duration) -> Result<Losses, StoreError> {
    let mut losses = Losses::default();
    let mut found: Vec<(Feature, String)> = Vec::new();
    let mut last: Option<(StrangerKind, Result<Vec<Json>, String>)> = None;
    for (feature, kind) in KINDS {
        // Two features are in Felix's settings, one after the other.
        let listed = match last.take() {
            Some((former, listed)) if former == kind => listed,
            _ => told(store.strangers(kind, within).await)?,
        };
        match &listed {
            Ok(objects) => {
                let used = objects.iter().filter_map(|object| use_by(feature, kind, object));
                found.extend(used.map(|object| (feature, object)));
            }
            Err(reason) => {
                losses.unknown.push(Unknown { feature, what: kind.to_string(), reason: reason.clone() });
            }
        }
        last = Some((kind, listed));
    }
    match mesh(store, within).await? {
        Ok(None) => {}
        Ok(Some(mesh)) => found.push((Feature::Bgp, mesh)),
        Err((what, reason)) => losses.unknown.push(Unknown { feature: Feature::Bgp, what, reason }),
    }
    losses.found.extend(Feature::ALL.into_iter().filter_map(|feature| {
        let of_feature = found.iter().filter(|(theirs, _)| *theirs == feature);
        let mut objects: Vec<String> = of_feature.map(|(_, object)| object.clone()).collect();
        objects.sort();
        (!objects.is_empty()).then_some(Loss { feature, objects })
    }));
    Ok(losses)
}

/// The mesh of BGP between Calico's nodes, in words, where it is in use: it is not switched off, a pool needs
/// it, and Calico's nodes are there. (It is switched on where nothing is said, so the setting alone proves
/// nothing: a cluster of rackpool's has it, too.)
async fn mesh(
    store: &impl Strangers,
    within: Duration,
) -> Result<Result<Option<String>, (String, String)>, StoreError> {
    let mut listed = Vec::new();
    for kind in [BGP_SETTINGS, POOLS] {
        match told(store.strangers(kind, within).await)? {
            Ok(objects) => listed.push(objects),
            Err(reason) => return Ok(Err((kind.to_string(), reason))),
        }
    }
    let mut pools: Vec<&str> = listed[1].iter().filter(|pool| needs_bgp(pool)).map(name_of).collect();
    if !has_mesh(&listed[0]) || pools.is_empty() {
        return Ok(Ok(None));
    }
    let nodes = match told(store.calico_nodes(within).await)? {
        Ok(nodes) => nodes,
        Err(reason) => return Ok(Err(("Calico's nodes".to_string(), reason))),
    };
    let Some(node) = nodes.iter().min() else { return Ok(Ok(None)) };
    pools.sort_unstable();
    let count = pools.len();
    Ok(Ok(Some(match pools.as_slice() {
        [pool] => format!("the mesh between Calico's nodes ({node}) for pool {pool}"),
        _ => format!("the mesh between Calico's nodes ({node}) for {count} pools, one of them {}", pools[0]),
    })))
}

/// What was listed, or why this client may not list it.
fn told<T>(listed: Result<T, StoreError>) -> Result<Result<T, String>, StoreError> {
    match listed {
        Ok(listed) => Ok(Ok(listed)),
        Err(StoreError::Denied(reason)) => Ok(Err(reason)),
        Err(other) => Err(other),
    }
}
