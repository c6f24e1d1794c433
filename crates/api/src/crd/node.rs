//! Nodes, stored as Kubernetes Nodes with Calico's additions in annotations
//! (`libcalico-go/lib/backend/k8s/resources/node.go`).

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::cidr::{Cidr, parse_addr};
use crate::key::Key;
use crate::kinds::Kind;
use crate::record::{DecodeError, Revision, Value};
use crate::resource::Resource;
use golang::json;

use super::Object;

/// Calico's labels, as JSON; a label of the Kubernetes Node wins over one of the same name.
const LABELS: &str = "projectcalico.org/labels";
/// Calico's annotations, as JSON.
const ANNOTATIONS: &str = "projectcalico.org/annotations";
/// The annotation in which readers see the labels of the Kubernetes Node, as JSON. It is not stored.
const KUBE_LABELS: &str = "projectcalico.org/kube-labels";

const ADDRESS_4: &str = "projectcalico.org/IPv4Address";
const ADDRESS_6: &str = "projectcalico.org/IPv6Address";
const AS_NUMBER: &str = "projectcalico.org/ASNumber";
const INTERFACES: &str = "projectcalico.org/Interfaces";

/// Annotations that hold a text, and the field of the Node that shows it.
const TEXTS: [(&str, &[&str]); 10] = [
    ("projectcalico.org/RouteReflectorClusterID", &["spec", "bgp", "routeReflectorClusterID"]),
    ("projectcalico.org/IPv4IPIPTunnelAddr", &["spec", "bgp", "ipv4IPIPTunnelAddr"]),
    ("projectcalico.org/IPv4VXLANTunnelAddr", &["spec", "ipv4VXLANTunnelAddr"]),
    ("projectcalico.org/VXLANTunnelMACAddr", &["spec", "vxlanTunnelMACAddr"]),
    ("projectcalico.org/IPv6VXLANTunnelAddr", &["spec", "ipv6VXLANTunnelAddr"]),
    ("projectcalico.org/VXLANTunnelMACAddrV6", &["spec", "vxlanTunnelMACAddrV6"]),
    ("projectcalico.org/IPv4WireguardInterfaceAddr", &["spec", "wireguard", "interfaceIPv4Address"]),
    ("projectcalico.org/IPv6WireguardInterfaceAddr", &["spec", "wireguard", "interfaceIPv6Address"]),
    ("projectcalico.org/WireguardPublicKey", &["status", "wireguardPublicKey"]),
    ("projectcalico.org/WireguardPublicKeyV6", &["status", "wireguardPublicKeyV6"]),
];

/// Reads a Kubernetes Node.
///
/// # Errors
/// When the object is no Node.
pub fn decode(text: &str) -> Result<Object, DecodeError> {
    let named = || {
        let outer = serde_json::from_str::<Json>(text).unwrap_or_default();
        format!("Node({})", outer["metadata"]["name"].as_str().unwrap_or("?"))
    };
    let wrong = |reason: String| DecodeError::new(named(), "", reason);
    let json: Json = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
    let seen = of_kubernetes(&json).map_err(wrong)?;
    let metadata = &json["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    Ok(Object {
        key: Key::global(Kind::Node, text("name")),
        value: Value::Resource(seen),
        revision: Revision::new(text("resourceVersion")),
        uid: text("uid").to_string(),
        is_deleted: false,
    })
}

/// The texts in a JSON map; empty if the value is no map.
fn texts(json: &Json) -> BTreeMap<String, String> {
    let pairs = json.as_object().into_iter().flatten();
    pairs.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_string()))).collect()
}

/// The map that an annotation holds as JSON.
fn held(annotations: &BTreeMap<String, String>, name: &str) -> BTreeMap<String, String> {
    let json = annotations.get(name).and_then(|text| serde_json::from_str::<Json>(text).ok());
    json.map(|json| texts(&json)).unwrap_or_default()
}

/// A map as Go writes it in JSON; `null` for an empty one.
fn go_map(map: &BTreeMap<String, String>) -> String {
    if map.is_empty() { "null".to_string() } else { json::to_text(&json!(map)) }
}

fn of_kubernetes(node: &Json) -> Result<Resource, String> {
    let name = node["metadata"]["name"].as_str().filter(|name| !name.is_empty()).ok_or("it has no name")?;
    let stored = texts(&node["metadata"]["annotations"]);
    let kube_labels = texts(&node["metadata"]["labels"]);
    // Labels decide which pools a node may use, so unreadable ones must not count as none.
    let mut labels = match stored.get(LABELS).filter(|text| !text.is_empty()) {
        None => BTreeMap::new(),
        Some(text) => serde_json::from_str::<Option<BTreeMap<String, String>>>(text)
            .map_err(|error| format!("metadata.annotations[{LABELS}]: {error}"))?
            .unwrap_or_default(),
    };
    labels.extend(kube_labels.clone());
    let mut annotations = held(&stored, ANNOTATIONS);
    annotations.insert(KUBE_LABELS.to_string(), go_map(&kube_labels));

    let mut seen = json!({
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": {"orchRefs": [{"nodeName": name, "orchestrator": "k8s"}]},
        "status": {},
    });
    for field in ["uid", "creationTimestamp"] {
        if let Some(value) = node["metadata"].get(field) {
            seen["metadata"][field] = value.clone();
        }
    }
    let mut addresses = Vec::new();
    for (annotation, field) in [(ADDRESS_4, "ipv4Address"), (ADDRESS_6, "ipv6Address")] {
        let address = stored.get(annotation).filter(|text| is_address(text));
        if let Some(address) = address {
            seen["spec"]["bgp"][field] = address.as_str().into();
            addresses.push(json!({"address": address, "type": "CalicoNodeIP"}));
        }
    }
    if let Some(number) = stored.get(AS_NUMBER).and_then(|text| as_number(text)) {
        seen["spec"]["bgp"]["asNumber"] = number.into();
    }
    for (annotation, path) in TEXTS {
        if let Some(text) = stored.get(annotation).filter(|text| !text.is_empty()) {
            *at(&mut seen, path) = text.as_str().into();
        }
    }
    for address in node["status"]["addresses"].as_array().into_iter().flatten() {
        if ["InternalIP", "ExternalIP"].contains(&address["type"].as_str().unwrap_or_default()) {
            addresses.push(json!({"address": address["address"], "type": address["type"]}));
        }
    }
    if !addresses.is_empty() {
        seen["spec"]["addresses"] = addresses.into();
    }
    if let Some(interfaces) = stored.get(INTERFACES).and_then(|text| serde_json::from_str::<Json>(text).ok())
    {
        seen["spec"]["interfaces"] = interfaces;
    }
    let nets = match &node["spec"]["podCIDRs"] {
        Json::Array(nets) if !nets.is_empty() => Some(nets.clone().into()),
        _ => node["spec"]["podCIDR"].as_str().filter(|net| !net.is_empty()).map(|net| json!([net])),
    };
    if let Some(nets) = nets {
        seen["status"]["podCIDRs"] = nets;
    }
    Resource::from_json(Kind::Node, seen).map(|node| node.canonical()).map_err(|e| e.to_string())
}

/// An address with or without the length of its network.
fn is_address(text: &str) -> bool {
    parse_addr(text).is_some() || Cidr::parse_unmasked(text).is_ok()
}

/// `64512`, or `1.10` for 65546.
fn as_number(text: &str) -> Option<u32> {
    match text.split_once('.') {
        Some((high, low)) => {
            Some(u32::from(high.parse::<u16>().ok()?) << 16 | u32::from(low.parse::<u16>().ok()?))
        }
        None => text.parse().ok(),
    }
}

/// The value at a path, which is created if it does not exist.
fn at<'a>(json: &'a mut Json, path: &[&str]) -> &'a mut Json {
    path.iter().fold(json, |at, step| &mut at[*step])
}

/// A copy of the Kubernetes Node with what is to be stored for Calico in its annotations. It is to be put to
/// `status`, which takes annotations too.
///
/// Labels that the Kubernetes Node has itself are not stored again.
pub fn merge(kubernetes: &Json, node: &Resource) -> Json {
    let kube_labels = texts(&kubernetes["metadata"]["labels"]);
    let metadata = node.metadata();
    let labels: BTreeMap<_, _> =
        metadata.labels.iter().filter(|(name, _)| !kube_labels.contains_key(*name)).collect();
    let given: BTreeMap<_, _> =
        metadata.annotations.iter().filter(|(name, _)| *name != KUBE_LABELS).collect();

    let mut annotations = kubernetes["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    let mut set = |name: &str, value: Option<String>| match value.filter(|text| !text.is_empty()) {
        Some(text) => {
            annotations.insert(name.to_string(), text.into());
        }
        None => {
            annotations.shift_remove(name);
        }
    };
    set(LABELS, (!labels.is_empty()).then(|| json::to_text(&json!(labels))));
    set(ANNOTATIONS, (!given.is_empty()).then(|| json::to_text(&json!(given))));
    let text = |path: &[&str]| node.text(path).map(str::to_string);
    set(ADDRESS_4, text(&["spec", "bgp", "ipv4Address"]));
    set(ADDRESS_6, text(&["spec", "bgp", "ipv6Address"]));
    set(AS_NUMBER, node.field(&["spec", "bgp", "asNumber"]).map(|n| n.to_string().replace('"', "")));
    for (annotation, path) in TEXTS {
        set(annotation, text(path));
    }
    let interfaces =
        node.field(&["spec", "interfaces"]).filter(|i| i.as_array().is_some_and(|i| !i.is_empty()));
    set(INTERFACES, interfaces.map(json::to_text));

    let mut out = kubernetes.clone();
    out["metadata"]["annotations"] = annotations.into();
    if let Some(metadata) = out["metadata"].as_object_mut() {
        metadata.shift_remove("managedFields");
    }
    out
}
