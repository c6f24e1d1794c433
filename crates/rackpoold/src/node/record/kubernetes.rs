//! The record of a node whose store is Kubernetes: annotations of the Kubernetes Node.

use std::net::IpAddr;
use std::time::Duration;

use api::crd;
use api::{Resource, Value};
use serde_json::{Map, Value as Json, json};
use store::StoreError;
use store::kubernetes::{KubeStore, ObjectName, ObjectPatch, PatchKind};

use super::says::{Says, differences, told};
use super::{MACHINE_ANNOTATION, RecordError, Stored, Written, holder};

/// The Kubernetes Node, and the Node that readers see in it.
async fn look(store: &KubeStore, name: &str, within: Duration) -> Result<(Json, Resource), RecordError> {
    let object = store.object(ObjectName::node(name), within).await.map_err(failed(name))?;
    let object = object.ok_or_else(|| RecordError::Missing(name.to_string()))?;
    let seen = seen(&object).map_err(|reason| RecordError::Unreadable { name: name.to_string(), reason })?;
    Ok((object, seen))
}

fn seen(object: &Json) -> Result<Resource, String> {
    match crd::node::decode(&object.to_string()).map_err(|error| error.to_string())?.value {
        Value::Resource(node) => Ok(node),
        _ => Err("it is no Node".to_string()),
    }
}

fn failed(name: &str) -> impl Fn(StoreError) -> RecordError + '_ {
    |error| RecordError::Store { name: name.to_string(), error }
}

pub(super) async fn read(store: &KubeStore, name: &str, within: Duration) -> Result<Stored, RecordError> {
    let (object, node) = look(store, name, within).await?;
    let status = &object["status"];
    let kubelet = status["nodeInfo"]["machineID"].as_str().map(str::to_string);
    let mut holder = holder(&node, kubelet);
    holder.noted = object["metadata"]["annotations"][MACHINE_ANNOTATION].as_str().map(str::to_string);
    let all = status["addresses"].as_array().into_iter().flatten();
    let internal = all.filter(|address| address["type"] == "InternalIP");
    let internal_ips: Vec<IpAddr> =
        internal.filter_map(|address| api::cidr::parse_addr(address["address"].as_str()?)).collect();
    let is_new = |addr: &IpAddr| !holder.addresses.contains(addr);
    let new: Vec<IpAddr> = internal_ips.iter().copied().filter(is_new).collect();
    holder.addresses.extend(new);
    Ok(Stored { node: Some(node), holder, internal_ips })
}

pub(super) async fn write(
    store: &KubeStore,
    name: &str,
    says: &Says,
    within: Duration,
) -> Result<Written, RecordError> {
    let (object, node) = look(store, name, within).await?;
    // A Kubernetes Node is itself, and is not stored with a reference.
    let says = &Says { kubernetes_node: None, ..says.clone() };
    let Some(patch) = annotations_patch(&object, &node, says) else { return Ok(Written::Nothing) };
    let change =
        ObjectPatch { name: ObjectName::node(name), status: true, kind: PatchKind::Merge, patch: &patch };
    match store.patch_object(change, within).await.map_err(failed(name))? {
        Some(_) => {
            let mut what = differences(&node, &told(&node, says));
            if patch["metadata"]["annotations"].get(MACHINE_ANNOTATION).is_some() {
                what.push(format!("annotation {MACHINE_ANNOTATION}"));
            }
            Ok(Written::Changed(what))
        }
        None => Err(RecordError::Missing(name.to_string())),
    }
}

/// The merge patch that makes a Kubernetes Node say that; `None` where it does already. It names only the
/// annotations that are to change: of others, the Node may say anything, even what nobody can read.
pub fn annotations_patch(object: &Json, node: &Resource, says: &Says) -> Option<Json> {
    let annotations = |json: &Json| json["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    let stored = annotations(object);
    let before = annotations(&crd::node::merge(object, node));
    let mut after = annotations(&crd::node::merge(object, &told(node, says)));
    if let Some(machine) = &says.machine {
        after.insert(MACHINE_ANNOTATION.to_string(), machine.as_str().into());
    }
    let mut patch = Map::new();
    for name in before.keys().chain(after.keys()) {
        let (from, to) = (before.get(name), after.get(name));
        // An annotation that cannot be read is none in `before`.
        if from != to && stored.get(name) != to {
            patch.insert(name.clone(), to.cloned().unwrap_or(Json::Null));
        }
    }
    (!patch.is_empty()).then(|| json!({"metadata": {"annotations": patch}}))
}
