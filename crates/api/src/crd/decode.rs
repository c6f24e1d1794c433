//! Reads records from objects of the Kubernetes API server.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value as Json;

use super::{Collection, Group, meta, object_name};
use crate::affinity::{Affinity, AffinityState};
use crate::block::{Attribute, Block, BlockHeader, in_use, nullable, seconds};
use crate::cidr::BlockCidr;
use crate::handle::{self, Handle};
use crate::ipam_config::{IpamConfig, Persistence};
use crate::key::{HandleId, Key, Owner};
use crate::kinds::Kind;
use crate::odd_block;
use crate::record::{DecodeError, Revision, Value, at_fault};
use crate::residue::OBJECT_CLAIM_TIME;
use crate::resource::Resource;

/// What an object holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The key of the record. It comes from the object's `spec`, since the object's name does not determine
    /// it.
    pub key: Key,
    /// The record's value, with its flag of deletion.
    pub value: Value,
    /// The object's revision.
    pub revision: Revision,
    /// The API server's UID of the object.
    pub uid: String,
    /// Whether the object's deletion has begun. If so, the record does not exist any more.
    pub is_deleted: bool,
}

/// The part of a block's object that a search needs.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderObject {
    /// The block.
    pub block: BlockCidr,
    /// Its header.
    pub header: BlockHeader,
    /// The object's revision.
    pub revision: Revision,
    /// Whether the object's deletion has begun.
    pub is_deleted: bool,
}

#[derive(Deserialize)]
struct Outer<S> {
    metadata: Meta,
    spec: S,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: String,
    uid: String,
    resource_version: String,
}

/// Reads an object of a collection.
///
/// # Errors
/// When the object is not one of that collection.
pub fn decode(group: Group, collection: Collection, text: &str) -> Result<Object, DecodeError> {
    match collection {
        Collection::Blocks => {
            let (meta, block) = block(group, text)?;
            let (key, deleted) = (Key::Block(block.cidr), block.deleted);
            check_name(group, &meta, &key, "spec.cidr")?;
            Ok(object(meta, key, Value::Block(block), deleted))
        }
        Collection::Affinities => {
            let (meta, spec) = outer::<AffinitySpec>(collection, group, text)?;
            let wrong = |reason| wrong(collection, group, &meta.name, reason);
            let block = spec.cidr.parse().map_err(|_| wrong(format!("{:?} is no block", spec.cidr)))?;
            let owner = match spec.affinity_type.as_str() {
                "" | "host" => Owner::Host(spec.node),
                "virtual" => Owner::Virtual(spec.node),
                other => return Err(wrong(format!("no affinity is of type {other:?}"))),
            };
            let deleted = spec.deleted.is_true();
            let value = Affinity { state: spec.state, deleted };
            let key = Key::Affinity { owner, block };
            check_name(group, &meta, &key, "spec")?;
            Ok(object(meta, key, Value::Affinity(value), deleted))
        }
        Collection::Handles => {
            let (meta, spec) = outer::<HandleSpec>(collection, group, text)?;
            let wrong = |reason| wrong(collection, group, &meta.name, reason);
            let id = HandleId::new(&spec.handle_id)
                .ok_or_else(|| wrong(format!("{:?} is no handle", spec.handle_id)))?;
            let mut blocks = BTreeMap::new();
            for (text, count) in spec.block {
                let block: BlockCidr = text.parse().map_err(|_| wrong(format!("{text:?} is no block")))?;
                handle::add(&mut blocks, block, count).map_err(wrong)?;
            }
            let value = Handle { blocks, deleted: spec.deleted };
            let key = Key::Handle(id);
            check_name(group, &meta, &key, "spec.handleID")?;
            Ok(object(meta, key, Value::Handle(value), spec.deleted))
        }
        Collection::IpamConfig => {
            let (meta, spec) = outer::<ConfigSpec>(collection, group, text)?;
            let value = IpamConfig {
                strict_affinity: spec.strict_affinity,
                auto_allocate_blocks: spec.auto_allocate_blocks,
                max_blocks_per_host: spec.max_blocks_per_host,
                persistence: spec.persistence,
                cooldown_seconds: spec.cooldown_seconds,
            };
            Ok(object(meta, Key::IpamConfig, Value::IpamConfig(value), false))
        }
        Collection::Resources(kind) => resource(group, kind, text),
    }
}

/// Reads the part of a block's object that a search needs.
///
/// # Errors
/// When the object is no block.
pub fn decode_header(group: Group, text: &str) -> Result<HeaderObject, DecodeError> {
    let Ok(Outer { metadata: meta, spec }) = serde_json::from_str::<Outer<HeaderSpec>>(text) else {
        // The header may be readable even if another part of the block is not.
        let (meta, block) = block(group, text)?;
        check_name(group, &meta, &Key::Block(block.cidr), "spec.cidr")?;
        let revision = Revision::new(meta.resource_version);
        return Ok(HeaderObject {
            block: block.cidr,
            header: block.header(),
            revision,
            is_deleted: block.deleted,
        });
    };
    let block = spec
        .cidr
        .parse()
        .map_err(|_| wrong(Collection::Blocks, group, &meta.name, format!("{:?} is no block", spec.cidr)))?;
    check_name(group, &meta, &Key::Block(block), "spec.cidr")?;
    let attributes = |index: u32| {
        let attribute = spec.attributes.get(index as usize)?;
        Some((attribute.handle_id.as_deref(), attribute.released_at))
    };
    let (held, cooling) = in_use(&spec.allocations, attributes);
    let header = BlockHeader {
        affinity: spec.affinity.filter(|affinity| !affinity.is_empty()),
        affinity_claim_time: spec.affinity_claim_time,
        free: spec.unallocated.len() as u32,
        held,
        cooling,
        sequence_number: spec.sequence_number,
    };
    let revision = Revision::new(meta.resource_version);
    Ok(HeaderObject { block, header, revision, is_deleted: spec.deleted })
}

/// Reads a block's object. If a part of it cannot be read, the other parts are still given.
fn block(group: Group, text: &str) -> Result<(Meta, Block), DecodeError> {
    let collection = Collection::Blocks;
    let (meta, block) = match serde_json::from_str::<Outer<BlockSpec>>(text) {
        Ok(outer) => {
            let block = outer.spec.block(&outer.metadata, collection, group)?;
            (outer.metadata, block)
        }
        Err(_) => {
            let (meta, spec) = outer::<Json>(collection, group, text)?;
            let block = odd_block::read(&spec, OBJECT_CLAIM_TIME)
                .map_err(|fault| spec_error(collection, group, &meta.name, fault))?;
            let affinity = block.affinity.clone().filter(|affinity| !affinity.is_empty());
            (meta, Block { affinity, ..block })
        }
    };
    // A block that is being deleted holds no addresses any more, so faults in its allocations do not matter.
    match odd_block::check(&block) {
        Err(fault) if !block.deleted => Err(spec_error(collection, group, &meta.name, fault).about(block)),
        _ => Ok((meta, block)),
    }
}

/// Refuses an object whose name is not the one for its record. Writes find an object by its name, and so
/// would change another object.
fn check_name(group: Group, meta: &Meta, key: &Key, field: &str) -> Result<(), DecodeError> {
    if object_name(key) == meta.name {
        return Ok(());
    }
    let collection = Collection::of(key).expect("only custom resources are checked");
    let reason = format!("{key} does not belong under the name {:?}", meta.name);
    Err(DecodeError::new(title(collection, group, &meta.name), field, reason))
}

fn title(collection: Collection, group: Group, name: &str) -> String {
    format!("{}({name})", collection.kind_name(group))
}

fn spec_error(
    collection: Collection,
    group: Group,
    name: &str,
    (field, reason): (String, String),
) -> DecodeError {
    let field = if field.is_empty() { "spec".to_string() } else { format!("spec.{field}") };
    DecodeError::new(title(collection, group, name), field, reason)
}

fn wrong(collection: Collection, group: Group, name: &str, reason: String) -> DecodeError {
    DecodeError::new(title(collection, group, name), "", reason)
}

fn outer<S: DeserializeOwned>(
    collection: Collection,
    group: Group,
    text: &str,
) -> Result<(Meta, S), DecodeError> {
    match serde_json::from_str::<Outer<S>>(text) {
        Ok(outer) => Ok((outer.metadata, outer.spec)),
        Err(error) => {
            let object = serde_json::from_str::<Json>(text).ok();
            let (field, reason) = object
                .and_then(|object| at_fault::<S>(&object["spec"].to_string()))
                .map_or_else(|| (String::new(), error.to_string()), |(f, r)| (format!("spec.{f}"), r));
            Err(DecodeError::new(title(collection, group, &name_in(text)), field, reason))
        }
    }
}

/// The name in the text of an object that cannot be read as a whole.
fn name_in(text: &str) -> String {
    let outer = serde_json::from_str::<Outer<IgnoredAny>>(text);
    outer.map(|outer| outer.metadata.name).unwrap_or_else(|_| "?".to_string())
}

fn object(meta: Meta, key: Key, value: Value, is_deleted: bool) -> Object {
    Object { key, value, revision: Revision::new(meta.resource_version), uid: meta.uid, is_deleted }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockSpec {
    cidr: String,
    affinity: Option<Arc<str>>,
    #[serde(default, deserialize_with = "seconds::deserialize")]
    affinity_claim_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "nullable")]
    allocations: Vec<Option<u32>>,
    #[serde(default, deserialize_with = "nullable")]
    unallocated: Vec<u32>,
    #[serde(default, deserialize_with = "nullable")]
    attributes: Vec<Arc<Attribute>>,
    #[serde(default)]
    sequence_number: u64,
    #[serde(default, deserialize_with = "nullable")]
    sequence_number_for_allocation: BTreeMap<u32, u64>,
    #[serde(default)]
    deleted: bool,
}

impl BlockSpec {
    fn block(self, meta: &Meta, collection: Collection, group: Group) -> Result<Block, DecodeError> {
        let cidr = self
            .cidr
            .parse()
            .map_err(|_| wrong(collection, group, &meta.name, format!("{:?} is no block", self.cidr)))?;
        Ok(Block {
            cidr,
            affinity: self.affinity.filter(|affinity| !affinity.is_empty()),
            affinity_claim_time: self.affinity_claim_time,
            allocations: self.allocations,
            unallocated: self.unallocated,
            attributes: self.attributes,
            sequence_number: self.sequence_number,
            sequence_numbers: self.sequence_number_for_allocation.into_iter().collect(),
            deleted: self.deleted,
            legacy_host_affinity: None,
            residue: None,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeaderSpec {
    cidr: String,
    affinity: Option<Arc<str>>,
    #[serde(default, deserialize_with = "seconds::deserialize")]
    affinity_claim_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "nullable")]
    allocations: Vec<Option<u32>>,
    /// An entry that is no ordinal stands for no address: the block is then read as a whole.
    #[serde(default, deserialize_with = "nullable")]
    unallocated: Vec<u32>,
    #[serde(default, deserialize_with = "nullable")]
    attributes: Vec<HeaderAttribute>,
    #[serde(default)]
    sequence_number: u64,
    #[serde(default)]
    deleted: bool,
}

/// The fields of an [`Attribute`] that a block's header needs.
#[derive(Deserialize)]
struct HeaderAttribute {
    #[serde(default)]
    handle_id: Option<String>,
    #[serde(rename = "releasedAt", default, deserialize_with = "seconds::deserialize")]
    released_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct AffinitySpec {
    cidr: String,
    node: String,
    #[serde(default, rename = "type")]
    affinity_type: String,
    #[serde(default)]
    state: AffinityState,
    #[serde(default)]
    deleted: Truth,
}

/// A boolean, or the text of one.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Truth {
    #[default]
    Absent,
    Plain(bool),
    Text(String),
}

impl Truth {
    fn is_true(&self) -> bool {
        match self {
            Truth::Absent => false,
            Truth::Plain(truth) => *truth,
            Truth::Text(text) => text == "true",
        }
    }
}

#[derive(Deserialize)]
struct HandleSpec {
    #[serde(rename = "handleID")]
    handle_id: String,
    #[serde(default, deserialize_with = "nullable")]
    block: BTreeMap<String, i64>,
    #[serde(default)]
    deleted: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigSpec {
    #[serde(default)]
    strict_affinity: bool,
    #[serde(default)]
    auto_allocate_blocks: bool,
    #[serde(default)]
    max_blocks_per_host: i64,
    #[serde(default, rename = "kubeVirtVMAddressPersistence")]
    persistence: Option<Persistence>,
    #[serde(default, rename = "ipCooldownSeconds")]
    cooldown_seconds: i64,
}

fn resource(group: Group, kind: Kind, text: &str) -> Result<Object, DecodeError> {
    let collection = Collection::Resources(kind);
    let wrong = |reason| wrong(collection, group, &name_in(text), reason);
    let json: Json = serde_json::from_str(text).map_err(|e| wrong(e.to_string()))?;
    let stored = Resource::from_json(kind, json).map_err(|e| wrong(e.to_string()))?;
    let mut metadata = stored.metadata().clone();
    let revision = Revision::new(metadata.resource_version.take().unwrap_or_default());
    let uid = metadata.uid.clone().unwrap_or_default();
    if group == Group::V1 {
        metadata = meta::seen_in_v1(metadata).map_err(wrong)?;
    }
    let resource = stored.with(|seen, _| *seen = metadata);
    Ok(Object { key: resource.key(), value: Value::Resource(resource), revision, uid, is_deleted: false })
}
