//! WorkloadEndpoints: Pods that have a node and a network of their own
//! (`libcalico-go/lib/backend/k8s/conversion`).

use serde_json::{Map, Value as Json, json};

use crate::cidr::{Cidr, Family, parse_addr};

use crate::key::Key;
use crate::kinds::Kind;
use crate::record::{DecodeError, Revision, Value};
use crate::resource::Resource;
use crate::wep_name::{Identifiers, LABEL_NAMESPACE, LABEL_ORCHESTRATOR, interface_name};

use super::Object;

const POD_IP: &str = "cni.projectcalico.org/podIP";
const POD_IPS: &str = "cni.projectcalico.org/podIPs";
const CONTAINER: &str = "cni.projectcalico.org/containerID";
const AWS_POD_IPS: &str = "vpc.amazonaws.com/pod-ips";
const FLOATING_IPS: &str = "cni.projectcalico.org/floatingIPs";
const SOURCE_PREFIXES: &str = "cni.projectcalico.org/allowedSourcePrefixes";
const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
const LABEL_SERVICE_ACCOUNT: &str = "projectcalico.org/serviceaccount";

/// The length that a label's value must stay below.
const LABEL_LIMIT: usize = 63;

/// The namespace and the name of the pod behind a WorkloadEndpoint's key; `None` where the name is not that
/// of a pod's endpoint.
pub fn pod_of(key: &Key) -> Option<(String, String)> {
    let Key::Resource { kind: Kind::WorkloadEndpoint, namespace: Some(namespace), name } = key else {
        return None;
    };
    let ids = Identifiers::parse(name).ok()?;
    (ids.orchestrator == "k8s" && !ids.pod.is_empty()).then(|| (namespace.clone(), ids.pod))
}

/// Reads a Pod; `None` for one that is no WorkloadEndpoint: on its host's network, or not scheduled. `prefix`
/// is that of the interfaces on hosts: `cali`.
///
/// # Errors
/// When the object is no Pod.
pub fn decode(prefix: &str, text: &str) -> Result<Option<Object>, DecodeError> {
    let named = || {
        let outer = serde_json::from_str::<Json>(text).unwrap_or_default();
        let part = |field: &str| outer["metadata"][field].as_str().unwrap_or("?").to_string();
        format!("Pod({}/{})", part("namespace"), part("name"))
    };
    let wrong = |reason: String| DecodeError::new(named(), "", reason);
    let pod: Json = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
    let field = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    let (namespace, name) = (field("namespace"), field("name"));
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if node.is_empty() || pod["spec"]["hostNetwork"] == json!(true) {
        return Ok(None);
    }
    let ids = Identifiers {
        node: node.to_string(),
        orchestrator: "k8s".to_string(),
        pod: name.to_string(),
        endpoint: "eth0".to_string(),
        ..Identifiers::default()
    };
    let endpoint = ids.name().map_err(|e| wrong(e.to_string()))?;
    let seen = json!({
        "metadata": metadata(&pod, &endpoint),
        "spec": spec(&pod, &ids, &interface_name(prefix, namespace, name)),
    });
    let resource =
        Resource::from_json(Kind::WorkloadEndpoint, seen).map_err(|e| wrong(e.to_string()))?.canonical();
    Ok(Some(Object {
        key: resource.key(),
        value: Value::Resource(resource),
        revision: Revision::new(field("resourceVersion")),
        uid: field("uid").to_string(),
        is_deleted: false,
    }))
}

fn service_account(pod: &Json) -> &str {
    pod["spec"]["serviceAccountName"].as_str().unwrap_or_default()
}

fn annotation<'a>(pod: &'a Json, name: &str) -> Option<&'a str> {
    pod["metadata"]["annotations"][name].as_str()
}

fn metadata(pod: &Json, endpoint: &str) -> Json {
    let from = &pod["metadata"];
    let mut out = json!({"name": endpoint});
    for field in ["namespace", "uid", "creationTimestamp", "generateName"] {
        if let Some(value) = from.get(field) {
            out[field] = value.clone();
        }
    }
    let mut labels = from["labels"].as_object().cloned().unwrap_or_default();
    labels.insert(LABEL_NAMESPACE.into(), from["namespace"].clone());
    labels.insert(LABEL_ORCHESTRATOR.into(), "k8s".into());
    let account = service_account(pod);
    if !account.is_empty() && account.len() < LABEL_LIMIT {
        labels.insert(LABEL_SERVICE_ACCOUNT.into(), account.into());
    }
    out["labels"] = labels.into();
    if let Some(status) = annotation(pod, NETWORK_STATUS) {
        out["annotations"] = Map::from_iter([(NETWORK_STATUS.to_string(), status.into())]).into();
    }
    out
}

fn spec(pod: &Json, ids: &Identifiers, interface: &str) -> Json {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let account = service_account(pod);
    let mut profiles = vec![format!("kns.{namespace}")];
    if !account.is_empty() {
        profiles.push(format!("ksa.{namespace}.{account}"));
    }
    let nets = if is_finished(pod) { Vec::new() } else { networks(pod) };
    json!({
        "orchestrator": ids.orchestrator,
        "node": ids.node,
        "pod": ids.pod,
        "endpoint": ids.endpoint,
        "containerID": annotation(pod, CONTAINER),
        "serviceAccountName": account,
        "ipNATs": floating(pod, &nets),
        "ipNetworks": nets.iter().map(Cidr::to_string).collect::<Vec<_>>(),
        "profiles": profiles,
        "interfaceName": interface,
        "ports": ports(pod),
        "allowSpoofedSourcePrefixes": source_prefixes(pod),
    })
}

/// Whether the pod has ended, so that its addresses may be another pod's by now.
fn is_finished(pod: &Json) -> bool {
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    let was_released = || [POD_IP, AWS_POD_IPS].iter().any(|name| annotation(pod, name) == Some(""));
    ["Failed", "Succeeded", "Completed"].contains(&phase)
        || (pod["metadata"]["deletionTimestamp"].is_string() && was_released())
}

/// The pod's addresses, from the first of several places that has any. The annotations have them earlier than
/// the pod's status.
fn networks(pod: &Json) -> Vec<Cidr> {
    let status = &pod["status"];
    let of_list = |list: &Json| -> Vec<String> {
        let ips = list.as_array().into_iter().flatten();
        ips.filter_map(|ip| ip["ip"].as_str().map(str::to_string)).filter(|ip| !ip.is_empty()).collect()
    };
    let of_text = |text: Option<&str>| -> Vec<String> {
        text.into_iter()
            .flat_map(|text| text.split(','))
            .map(str::to_string)
            .filter(|t| !t.is_empty())
            .collect()
    };
    let places = [
        of_list(&status["podIPs"]),
        of_text(status["podIP"].as_str()),
        of_text(annotation(pod, POD_IPS)),
        of_text(annotation(pod, POD_IP)),
        of_text(annotation(pod, AWS_POD_IPS)),
    ];
    let first = places.into_iter().find(|place| !place.is_empty()).unwrap_or_default();
    first.iter().filter_map(|text| network(text)).collect()
}

/// The network in a text, which may be an address alone.
fn network(text: &str) -> Option<Cidr> {
    text.parse().ok().or_else(|| parse_addr(text).map(Cidr::single))
}

/// The texts in a JSON list that an annotation holds.
fn listed(pod: &Json, name: &str) -> Vec<String> {
    annotation(pod, name).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn floating(pod: &Json, nets: &[Cidr]) -> Vec<Json> {
    let inner = |family: Family| nets.iter().find(|net| net.family() == family).map(|net| net.first());
    let outer = listed(pod, FLOATING_IPS).into_iter().filter_map(|text| parse_addr(&text));
    outer
        .filter_map(|external| {
            let internal = inner(Family::of(external))?;
            Some(json!({"internalIP": internal.to_string(), "externalIP": external.to_string()}))
        })
        .collect()
}

fn source_prefixes(pod: &Json) -> Vec<String> {
    listed(pod, SOURCE_PREFIXES).iter().filter_map(|text| network(text)).map(|net| net.to_string()).collect()
}

/// The pod's ports that have a name, or a port on the host.
fn ports(pod: &Json) -> Vec<Json> {
    let containers =
        ["containers", "initContainers"].into_iter().filter_map(|list| pod["spec"][list].as_array());
    let all = containers.flatten().filter_map(|container| container["ports"].as_array()).flatten();
    all.filter_map(|port| {
        let number = |field: &str| port[field].as_u64().unwrap_or(0);
        let name = port["name"].as_str().unwrap_or_default();
        if number("containerPort") == 0 || (number("hostPort") == 0 && name.is_empty()) {
            return None;
        }
        let protocol = match port["protocol"].as_str().unwrap_or_default().to_uppercase().as_str() {
            "" | "TCP" => "TCP",
            "UDP" => "UDP",
            "SCTP" => "SCTP",
            _ => return None,
        };
        Some(json!({
            "name": name,
            "protocol": protocol,
            "port": number("containerPort"),
            "hostPort": number("hostPort"),
            "hostIP": port["hostIP"].as_str().unwrap_or_default(),
        }))
    })
    .collect()
}

/// The strategic merge patch of a Pod's `status` that stores what is known of its endpoint. With the Pod's
/// `uid` in it, the API server refuses it for another Pod of the same name.
pub fn patch(endpoint: &Resource, uid: &str) -> Json {
    let nets = endpoint.field(&["spec", "ipNetworks"]).and_then(Json::as_array);
    let nets: Vec<&str> = nets.into_iter().flatten().filter_map(Json::as_str).collect();
    let mut annotations = Map::new();
    if let Some(first) = nets.first() {
        annotations.insert(POD_IP.into(), (*first).into());
        annotations.insert(POD_IPS.into(), nets.join(",").into());
        if let Some(container) = endpoint.text(&["spec", "containerID"]) {
            annotations.insert(CONTAINER.into(), container.into());
        }
    }
    json!({"metadata": {"annotations": annotations, "uid": uid}})
}

/// The patch that says that a Pod's addresses were given back. The API server refuses it where the Pod has
/// changed since `revision`, as it may have a new container then. The container's ID stays.
pub fn patch_released(uid: &str, revision: &Revision) -> Json {
    let revision = revision.as_str();
    json!({"metadata": {"annotations": {POD_IP: "", POD_IPS: ""}, "uid": uid, "resourceVersion": revision}})
}
