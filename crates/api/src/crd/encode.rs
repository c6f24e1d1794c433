//! Writes records as objects of the Kubernetes API server.

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use super::{Collection, Group, meta, name};
use crate::affinity::Affinity;
use crate::block::Block;
use crate::handle::Handle;
use crate::ipam_config::IpamConfig;
use crate::key::{Key, Owner};
use crate::kinds::Role;
use crate::record::{Revision, Value};
use crate::residue::OBJECT_CLAIM_TIME;
use crate::resource::Resource;
use crate::time;

/// The object that holds a record. It is to be created where `revision` is `None`; else it replaces the
/// object at that revision.
///
/// `None` where the value is not of the key's type, and for Nodes and WorkloadEndpoints, which are no custom
/// resources.
pub fn encode(group: Group, key: &Key, value: &Value, revision: Option<&Revision>) -> Option<Json> {
    object(group, key, value, revision, false)
}

/// The object that begins the deletion of a block, affinity or handle: it replaces the stored object at that
/// revision.
pub fn encode_deleted(group: Group, key: &Key, value: &Value, revision: &Revision) -> Option<Json> {
    object(group, key, value, Some(revision), true)
}

fn object(
    group: Group,
    key: &Key,
    value: &Value,
    revision: Option<&Revision>,
    is_deleted: bool,
) -> Option<Json> {
    let collection = Collection::of(key)?;
    let own = |labels: &[(&str, String)]| meta::of_allocator(group, name::object_name(key), labels);
    let (mut metadata, body) = match (key, value) {
        (Key::Block(_), Value::Block(value)) => (own(&[]), spec(block(value, value.deleted || is_deleted))),
        (Key::Affinity { owner, block }, Value::Affinity(value)) => {
            let text = block.to_string();
            (
                own(&name::affinity_labels(owner, *block)),
                spec(affinity(group, owner, text, value, value.deleted || is_deleted)),
            )
        }
        (Key::Handle(id), Value::Handle(value)) => {
            (own(&[]), spec(handle(id.as_str(), value, value.deleted || is_deleted)))
        }
        (Key::IpamConfig, Value::IpamConfig(value)) => (own(&[]), spec(config(group, value))),
        (Key::Resource { .. }, Value::Resource(value)) => resource(group, value),
        _ => return None,
    };
    if let Some(revision) = revision {
        metadata.insert("resourceVersion".into(), revision.as_str().into());
    }
    let mut out = Map::new();
    out.insert("apiVersion".into(), group.api_version().into());
    out.insert("kind".into(), collection.kind_name(group).into());
    out.insert("metadata".into(), metadata.into());
    out.extend(body);
    Some(out.into())
}

fn spec(spec: Json) -> Map<String, Json> {
    Map::from_iter([("spec".to_string(), spec)])
}

/// Arrays and maps are never `null` here: the schemas want them (`ipam_block.go`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BlockSpec<'a> {
    cidr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    affinity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    affinity_claim_time: Option<String>,
    allocations: &'a [Option<u32>],
    unallocated: &'a [u32],
    attributes: Vec<&'a crate::block::Attribute>,
    sequence_number: u64,
    sequence_number_for_allocation: Map<String, Json>,
    deleted: bool,
    /// Always false. The schema of old releases demands the field.
    strict_affinity: bool,
}

fn block(block: &Block, deleted: bool) -> Json {
    let spec = BlockSpec {
        cidr: block.cidr.to_string(),
        affinity: block.affinity.as_deref(),
        affinity_claim_time: block.affinity_claim_time.map(time::rfc3339),
        allocations: &block.allocations,
        unallocated: &block.unallocated,
        attributes: block.attributes.iter().map(|attribute| &**attribute).collect(),
        sequence_number: block.sequence_number,
        sequence_number_for_allocation: block
            .sequence_numbers
            .iter()
            .map(|(ordinal, number)| (ordinal.to_string(), (*number).into()))
            .collect(),
        deleted,
        strict_affinity: false,
    };
    let mut json = serde_json::to_value(spec).expect("texts, numbers and lists of them always serialize");
    if let Some(residue) = &block.residue {
        residue.put_back(block.affinity_claim_time, &mut json, OBJECT_CLAIM_TIME);
    }
    json
}

fn affinity(group: Group, owner: &Owner, cidr: String, affinity: &Affinity, deleted: bool) -> Json {
    let deleted = match group {
        Group::V1 => Json::from(deleted.to_string()),
        Group::V3 => deleted.into(),
    };
    let state = affinity.state;
    json!({"state": state, "node": owner.name(), "type": owner.affinity_type(), "cidr": cidr, "deleted": deleted})
}

fn handle(id: &str, handle: &Handle, deleted: bool) -> Json {
    let blocks: Map<String, Json> =
        handle.blocks.iter().map(|(block, count)| (block.to_string(), (*count).into())).collect();
    json!({"handleID": id, "block": blocks, "deleted": deleted})
}

fn config(group: Group, config: &IpamConfig) -> Json {
    let mut spec = json!({
        "strictAffinity": config.strict_affinity,
        "autoAllocateBlocks": config.auto_allocate_blocks,
    });
    if config.max_blocks_per_host != 0 || group == Group::V3 {
        spec["maxBlocksPerHost"] = config.max_blocks_per_host.into();
    }
    if let Some(persistence) = &config.persistence {
        spec["kubeVirtVMAddressPersistence"] = json!(persistence);
    }
    if config.cooldown_seconds != 0 {
        spec["ipCooldownSeconds"] = config.cooldown_seconds.into();
    }
    spec
}

fn resource(group: Group, resource: &Resource) -> (Map<String, Json>, Map<String, Json>) {
    let mut body = resource.body().clone();
    if resource.kind().definition().role == Role::Configuration {
        // The schema of the group `crd.projectcalico.org` demands both fields.
        if let Some(spec) = body.get_mut("spec").and_then(Json::as_object_mut) {
            for (field, value) in [("strictAffinity", false), ("autoAllocateBlocks", true)] {
                spec.entry(field).or_insert(value.into());
            }
        }
        if group == Group::V1 {
            // Calico stores no creation time of its own for this kind; readers see the object's.
            let seen = resource.with(|metadata, _| metadata.creation_timestamp = None);
            return (meta::of_resource(group, &seen), body);
        }
    }
    (meta::of_resource(group, resource), body)
}
