//! Finds out to whom addresses belong, from their blocks alone: what a pod, an endpoint or an annotation says
//! about an address proves nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api::{Attribute, BlockCidr, HandleId, Key};
use cni::CniError;
use cni::log::Level;
use ipam::block::ordinals_of;
use ipam::usage::{Allocation, allocation_of, reads_of};
use ipam::{OwnerAttributes, PodName, Whose};
use store::{ReadSet, Store, View};

use crate::endpoint::read;
use crate::names::Names;
use crate::request::{Request, WITHIN};

/// The handle of the request's container. `None` where another IPAM plugin records the addresses, and where
/// the names make no valid handle.
fn handle(request: &Request<'_, impl Store>) -> Option<HandleId> {
    let is_ours = request.ipam_type() == "calico-ipam";
    let id = format!("{}.{}", request.ask.conf.name(), request.names.container);
    is_ours.then(|| HandleId::new(&id)).flatten()
}

/// The handles whose addresses DEL gives back, each with a condition: under the container's own handle all
/// but those that belong to another pod; under the handle that Calico's version 2 would have used, only those
/// of this pod. (calico-ipam follows the same rules.)
fn handles(request: &Request<'_, impl Store>) -> Vec<(HandleId, Whose)> {
    let Some(own) = handle(request) else { return Vec::new() };
    let (pod, container) = (pod(request), &request.names.container);
    let legacy = match &pod {
        Some(pod) => {
            let id = HandleId::new(&format!("{}.{}", pod.namespace, pod.name));
            id.map(|id| (id, Whose::Pods(pod.clone())))
        }
        None if container.contains('.') => None,
        None => HandleId::new(container).map(|id| (id, Whose::NoPods)),
    };
    let legacy = legacy.filter(|(id, _)| *id != own);
    let whose = Whose::of_container(request.ask.conf.name(), container, pod);
    [(own, whose)].into_iter().chain(legacy).collect()
}

fn pod(request: &Request<'_, impl Store>) -> Option<PodName> {
    let names = &request.names;
    let of_pod = || PodName { namespace: names.namespace.clone(), name: names.ids.pod.clone() };
    names.is_pod().then(of_pod)
}

/// The addresses that the request's container holds on the request's network, which its DEL gives back. None
/// where another IPAM plugin records the addresses. Addresses in a block that cannot be read are left out,
/// and stay.
///
/// # Errors
/// Code 999 where the store gives no answer.
pub async fn of_container(request: &Request<'_, impl Store>) -> Result<Vec<IpAddr>, CniError> {
    let handles = handles(request);
    if handles.is_empty() {
        return Ok(Vec::new());
    }
    let set = ReadSet::new().keys(handles.iter().map(|(id, _)| Key::Handle(id.clone())));
    let view = request.store.look(&set, WITHIN).await.map_err(CniError::internal)?;
    let held = |id| view.handle(id).flatten().map(|(held, _)| held.blocks.keys().copied());
    let blocks: BTreeSet<BlockCidr> = handles.iter().filter_map(|(id, _)| held(id)).flatten().collect();
    if blocks.is_empty() {
        return Ok(Vec::new());
    }
    let set = ReadSet::new().keys(blocks.iter().copied().map(Key::Block));
    let view = request.store.look(&set, WITHIN).await.map_err(CniError::internal)?;
    let mut addresses = Vec::new();
    for block in blocks.iter().filter_map(|cidr| Some(view.block(*cidr)??.0)) {
        for (id, whose) in &handles {
            let is_meant = |ordinal: &u32| block.attribute(*ordinal).is_some_and(|it| whose.has(it));
            let ordinals = ordinals_of(block, id.as_str()).into_iter().filter(is_meant);
            addresses.extend(ordinals.filter_map(|ordinal| block.cidr.addr(ordinal)));
        }
    }
    Ok(addresses)
}

/// Whether one of the addresses is held by the request's container on the request's network.
///
/// # Errors
/// Code 999 where the store gives no answer.
pub async fn hold(request: &Request<'_, impl Store>, addresses: &[IpAddr]) -> Result<bool, CniError> {
    if addresses.is_empty() {
        return Ok(false);
    }
    let held = of_container(request).await?;
    Ok(addresses.iter().any(|addr| held.contains(addr)))
}

/// Whether all of the addresses are held by the request's container, on whatever network.
///
/// # Errors
/// Code 999 where the store gives no answer.
pub async fn are_containers(
    request: &Request<'_, impl Store>,
    addresses: &[IpAddr],
) -> Result<bool, CniError> {
    let view = allocations(request, addresses).await?;
    let own = format!(".{}", request.names.container);
    Ok(addresses.iter().all(|addr| match allocation_of(&view, *addr) {
        Allocation::Assigned { attribute, .. } => {
            attribute.handle().is_some_and(|handle| handle.ends_with(&own))
                && pod(request).is_none_or(|pod| Whose::NotAnothers(pod).has(&attribute))
        }
        Allocation::None | Allocation::Cooling { .. } => false,
    }))
}

/// The holder of an address that this request must not take, in words. `None` for a free address, and for one
/// of the same pod or container.
fn holder(request: &Request<'_, impl Store>, attribute: &Attribute) -> Option<String> {
    holder_but_for(&request.names, handle(request).as_ref(), attribute)
}

fn holder_but_for(names: &Names, own_handle: Option<&HandleId>, attribute: &Attribute) -> Option<String> {
    let handle = attribute.handle().unwrap_or_default();
    let note = |owner: &OwnerAttributes, key: &str| owner.get(key).cloned();
    let pod = |owner| Some((note(owner, "namespace")?, note(owner, "pod")?));
    let own = (names.namespace.clone(), names.ids.pod.clone());
    let owners = [&attribute.owner, &attribute.alternate_owner].map(pod);
    let is_own = match names.is_pod() {
        true => {
            // Records of old releases name no node and no pod, so the handle alone decides there.
            let is_containers =
                attribute.owner.is_empty() && own_handle.is_some_and(|own| own.as_str() == handle);
            // A virtual machine's address may move from pod to pod within its namespace.
            let is_machines = attribute.owner.contains_key("vmi-name");
            let mut namespaces = owners.iter().flatten().map(|(namespace, _)| namespace);
            let is_near = is_machines && namespaces.any(|namespace| *namespace == own.0);
            is_containers || is_near || owners.iter().flatten().any(|theirs| *theirs == own)
        }
        false => handle.strip_suffix(&names.container).is_some_and(|front| front.ends_with('.')),
    };
    if is_own {
        return None;
    }
    Some(match owners.into_iter().flatten().next() {
        Some((namespace, pod)) => format!("pod {namespace}/{pod} (handle {handle})"),
        None => format!("handle {handle}"),
    })
}

/// The allocations of the addresses, from their blocks.
///
/// # Errors
/// Code 999 where the store gives no answer.
pub async fn allocations(request: &Request<'_, impl Store>, addresses: &[IpAddr]) -> Result<View, CniError> {
    let keys = addresses.iter().flat_map(|addr| reads_of(*addr).keys);
    let mut set = ReadSet::new();
    set.keys.extend(keys);
    read(request, &set).await
}

/// The first of the addresses that belongs to another workload, and who holds it.
///
/// # Errors
/// Code 999 where the store gives no answer.
pub async fn of_others(
    request: &Request<'_, impl Store>,
    addresses: &[IpAddr],
) -> Result<Option<(IpAddr, String)>, CniError> {
    if addresses.is_empty() {
        return Ok(None);
    }
    let view = allocations(request, addresses).await?;
    let others = addresses.iter().find_map(|addr| match allocation_of(&view, *addr) {
        Allocation::Assigned { attribute, .. } => Some((*addr, holder(request, &attribute)?)),
        Allocation::None | Allocation::Cooling { .. } => None,
    });
    Ok(others)
}

/// Refuses addresses that an annotation names and that belong to another workload. Nobody will record these
/// addresses, so nothing else would notice.
///
/// # Errors
/// Code 999, with annotation, address and holder; or code 999 where the store gives no answer.
pub async fn refuse_others(
    request: &Request<'_, impl Store>,
    annotation: &str,
    addresses: &[IpAddr],
) -> Result<(), CniError> {
    let Some((addr, holder)) = of_others(request, addresses).await? else { return Ok(()) };
    // The error appears in the pod's events, where a tenant reads it. The tenant must not learn of other
    // pods, so their names go only to the log.
    request
        .log
        .say(Level::Error, format!("{addr}, which annotation {annotation} names, is assigned to {holder}"));
    Err(CniError::internal(format!(
        "annotation cni.projectcalico.org/{annotation} names {addr}, which is assigned to somebody else: choose another address, or look at calicoctl ipam show --ip={addr}"
    )))
}

#[cfg(test)]
mod tests {
    use cni::Call;
    use cni::args::Args;

    use super::*;

    /// A record of an old release names no owner. Its address belongs to one workload, not to all.
    #[test]
    fn whose_an_address_is() {
        let call = Call {
            command: "ADD".to_string(),
            container: "c1".to_string(),
            netns: "/ns".to_string(),
            interface: "eth0".to_string(),
            args: String::new(),
            netns_override: false,
        };
        let args = Args { pod: "p".to_string(), namespace: "ns".to_string(), ..Args::default() };
        let names = Names::new("n1", &call, &args, "cali").unwrap();
        let own = HandleId::new("net.c1");
        let holder = |handle: Option<&str>, owner: &[(&str, &str)]| {
            let owner = owner.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
            let handle_id = handle.map(str::to_string);
            let attribute = Attribute { handle_id, owner, ..Attribute::default() };
            holder_but_for(&names, own.as_ref(), &attribute)
        };
        let (ours, theirs) = ([("namespace", "ns"), ("pod", "p")], [("namespace", "ns"), ("pod", "q")]);
        assert_eq!(holder(Some("net.c0"), &ours), None);
        assert_eq!(holder(Some("net.c1"), &[]), None);
        assert_eq!(holder(Some("net.c0"), &[]), Some("handle net.c0".to_string()));
        assert_eq!(holder(None, &[]), Some("handle ".to_string()));
        assert_eq!(holder(Some("net.c1"), &theirs), Some("pod ns/q (handle net.c1)".to_string()));
    }
}
