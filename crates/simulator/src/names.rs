//! Short ways to name things.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{Cidr, HandleId, Key, Kind, Owner, Resource, Use, Value};
use ipam::{AssignIp, AutoAssign};
use serde_json::{Value as Json, json};

/// A host as an owner of blocks.
pub(crate) fn host(name: &str) -> Owner {
    Owner::Host(name.to_string())
}

/// The handle of that name. All names here can be handles.
pub(crate) fn handle(id: &str) -> HandleId {
    HandleId::new(id).unwrap_or_else(|| unreachable!("{id:?} can be a handle"))
}

/// The network of that text. All texts here are networks.
pub(crate) fn cidr(text: &str) -> Cidr {
    text.parse().unwrap_or_else(|_| unreachable!("{text:?} is a network"))
}

/// The virtual machine's handle.
pub(crate) const MACHINE: &str = "n.vmi.default.vm";

/// The name of a handle's pod.
pub(crate) fn pod_of(id: &str) -> &str {
    id.rsplit_once('.').map_or(id, |(_, pod)| pod)
}

/// The attributes of a pod's addresses.
pub(crate) fn attributes(host: &str, id: &str) -> BTreeMap<String, String> {
    let attributes = [("node", host), ("pod", pod_of(id)), ("namespace", "default")];
    attributes.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

/// A request of a pod on a host, for so many addresses.
pub(crate) fn request(host: &str, id: &str, v4: u32, v6: u32) -> AutoAssign {
    AutoAssign {
        v4,
        v6,
        handle: HandleId::new(id),
        attributes: attributes(host, id),
        ..AutoAssign::new(host, Use::Workload)
    }
}

/// A request for one address by name.
pub(crate) fn request_ip(host: &str, id: &str, addr: IpAddr) -> AssignIp {
    AssignIp {
        addr,
        host: host.to_string(),
        intended_use: Some(Use::Workload),
        handle: HandleId::new(id),
        attributes: attributes(host, id),
        max_per_handle: None,
    }
}

/// A resource.
pub(crate) fn resource(kind: Kind, name: &str, spec: Json, labels: &[(&str, &str)]) -> (Key, Value) {
    let labels: BTreeMap<_, _> = labels.iter().copied().collect();
    stored(kind, name, json!({"metadata": {"name": name, "labels": labels}, "spec": spec}))
}

/// The record of a resource's document.
pub(crate) fn stored(kind: Kind, name: &str, document: Json) -> (Key, Value) {
    let resource = Resource::from_json(kind, document);
    let resource = resource.unwrap_or_else(|error| unreachable!("{kind:?} {name}: {error}"));
    (Key::global(kind, name), Value::Resource(resource))
}
