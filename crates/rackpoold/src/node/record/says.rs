//! What the Node of this host is to say, as a pure change of its record.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::resource::Metadata;
use api::{Kind, Resource};
use host::Interface;
use ipnet::IpNet;
use routes::tunnel;
use serde_json::{Map, Value as Json, json};

use crate::node::detect::is_left_out;
use crate::node::name::{MACHINE_ANNOTATION, MachineId};

/// What the Node is to say. Whatever is `None`, or has no entry, stays as the Node has it: only what is known
/// is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Says {
    /// The node's IPv4 address with the length of its network. Without it, nodes that run Felix send no
    /// packets here by VXLAN, and drop those from here.
    pub v4: Option<IpNet>,
    /// The node's IPv6 address with the length of its network.
    pub v6: Option<IpNet>,
    /// The host's interfaces with their addresses: see [`told_interfaces`].
    pub interfaces: Option<Vec<(String, Vec<IpAddr>)>>,
    /// The number of the node's autonomous system, where it has one of its own (`AS`).
    pub as_number: Option<u32>,
    /// The name of the Kubernetes Node that this host is, on a store that is not Kubernetes
    /// (`CALICO_K8S_NODE_REF`).
    pub kubernetes_node: Option<String>,
    /// Which machine this is.
    pub machine: Option<MachineId>,
    /// The addresses of tunnel devices; an entry without an address clears the field.
    pub tunnels: BTreeMap<tunnel::Kind, Option<IpAddr>>,
}

const V4: &[&str] = &["spec", "bgp", "ipv4Address"];
const V6: &[&str] = &["spec", "bgp", "ipv6Address"];
const AS_NUMBER: &[&str] = &["spec", "bgp", "asNumber"];
const INTERFACES: &[&str] = &["spec", "interfaces"];
const REFERENCES: &[&str] = &["spec", "orchRefs"];

/// The interfaces that a Node names: those that may carry a node's address, with the addresses that others
/// can reach.
pub fn told_interfaces(interfaces: &[Interface]) -> Vec<(String, Vec<IpAddr>)> {
    let addresses = |interface: &Interface| -> Vec<IpAddr> {
        interface.addresses.iter().filter(|one| one.is_global).map(|one| one.net.addr()).collect()
    };
    let told = interfaces.iter().filter(|interface| !is_left_out(&interface.name));
    let told = told.map(|interface| (interface.name.clone(), addresses(interface)));
    told.filter(|(_, addresses)| !addresses.is_empty()).collect()
}

/// The address of a tunnel device that a Node names.
pub fn tunnel_address(node: &Resource, kind: tunnel::Kind) -> Option<IpAddr> {
    let path: Vec<&str> = kind.field().split('.').collect();
    api::cidr::parse_addr(node.text(&path)?)
}

/// A Node that does not exist yet, before it says anything.
pub fn fresh(name: &str) -> Resource {
    let metadata = Metadata { name: name.to_string(), ..Metadata::default() };
    let spec = [("spec".to_string(), json!({}))];
    Resource::new(Kind::Node, metadata, spec.into_iter().collect())
}

/// The Node, saying that. Everything else in it stays: labels, annotations, fields of others, references to
/// other orchestrators. The machine is not said here: see [`with_machine`].
pub fn told(node: &Resource, says: &Says) -> Resource {
    let text = |value: &dyn ToString| Some(Json::String(value.to_string()));
    let mut fields: Vec<(Vec<&str>, Option<Json>)> = Vec::new();
    let mut say = |path: &[&'static str], value: Option<Json>| fields.push((path.to_vec(), value));
    if let Some(net) = &says.v4 {
        say(V4, text(net));
    }
    if let Some(net) = &says.v6 {
        say(V6, text(net));
    }
    if let Some(number) = says.as_number {
        say(AS_NUMBER, Some(number.into()));
    }
    if let Some(interfaces) = &says.interfaces {
        let one = |(name, addresses): &(String, Vec<IpAddr>)| {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            json!({"name": name, "addresses": addresses})
        };
        let all: Vec<Json> = interfaces.iter().map(one).collect();
        say(INTERFACES, (!all.is_empty()).then(|| all.into()));
    }
    if let Some(name) = &says.kubernetes_node {
        say(REFERENCES, Some(references(node, name)));
    }
    for (kind, address) in &says.tunnels {
        let path: Vec<&'static str> = kind.field().split('.').collect();
        say(&path, address.as_ref().and_then(|address| text(address)));
    }
    node.with(|_, body| {
        for (path, value) in fields {
            set(body, &path, value);
        }
    })
}

/// The Node, naming the machine that has its name, in an annotation of its own. A Kubernetes Node has that
/// annotation directly.
pub fn with_machine(node: &Resource, machine: Option<&MachineId>) -> Resource {
    node.with(|metadata, _| {
        if let Some(machine) = machine {
            metadata.annotations.insert(MACHINE_ANNOTATION.to_string(), machine.as_str().to_string());
        }
    })
}

/// The references to other orchestrators, with Kubernetes' replaced.
fn references(node: &Resource, name: &str) -> Json {
    let all = node.field(REFERENCES).and_then(Json::as_array).cloned().unwrap_or_default();
    let is_other = |one: &Json| one["orchestrator"] != "k8s";
    let mut all: Vec<Json> = all.into_iter().filter(is_other).collect();
    all.push(json!({"nodeName": name, "orchestrator": "k8s"}));
    all.into()
}

/// Sets the value at a path, or removes it. An object that this empties is removed, too: an empty `spec.bgp`
/// breaks Calico's rules. `spec` itself stays.
fn set(map: &mut Map<String, Json>, path: &[&str], value: Option<Json>) {
    match path {
        [] => {}
        [last] => match value {
            Some(value) => {
                map.insert((*last).to_string(), value);
            }
            None => {
                map.shift_remove(*last);
            }
        },
        [first, rest @ ..] => {
            if value.is_none() && !map.contains_key(*first) {
                return;
            }
            let inner = map.entry(*first).or_insert_with(|| json!({}));
            if !inner.is_object() {
                *inner = json!({});
            }
            let Some(inner) = inner.as_object_mut() else { return };
            set(inner, rest, value);
            if inner.is_empty() && *first != "spec" {
                map.shift_remove(*first);
            }
        }
    }
}

/// What is different in two states of a Node, for the log: `spec.bgp.ipv4Address: 10.0.0.1/24`.
pub fn differences(before: &Resource, after: &Resource) -> Vec<String> {
    let tunnels = tunnel::Kind::ALL.map(|kind| kind.field().split('.').collect::<Vec<_>>());
    let ours = [V4, V6, AS_NUMBER, INTERFACES, REFERENCES].map(<[&str]>::to_vec);
    let differ = ours.into_iter().chain(tunnels).filter(|path| before.field(path) != after.field(path));
    let shown = |path: Vec<&str>| match after.field(&path) {
        Some(Json::String(text)) => format!("{}: {text}", path.join(".")),
        Some(json) => format!("{}: {json}", path.join(".")),
        None => format!("{} is gone", path.join(".")),
    };
    let mut all: Vec<String> = differ.map(shown).collect();
    if before.metadata().annotations != after.metadata().annotations {
        all.push(format!("annotation {MACHINE_ANNOTATION}"));
    }
    all
}
