//! Objects as records.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value as Json;

use super::{Collection, Group, meta};
use crate::affinity::{Affinity, AffinityState};
use crate::block::{Attribute, Block, BlockHeader, nullable, seconds};
use crate::cidr::BlockCidr;
use crate::handle::Handle;
use crate::ipam_config::{IpamConfig, Persistence};
use crate::key::{HandleId, Key, Owner};
use crate::kind::Kind;
use crate::record::{DecodeError, Revision, Value};
use crate::resource::Resource;

/// What an object holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Which record. Told by what the object says, not by its name.
    pub key: Key,
    /// The record's value, with its flag of deletion.
    pub value: Value,
    /// The object's state.
    pub revision: Revision,
    /// The API server's UID of the object.
    pub uid: String,
    /// Whether its deletion has begun: the record does not exist any more.
    pub is_deleted: bool,
}

/// What a search needs of a block's object.
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderObject {
    /// The block.
    pub block: BlockCidr,
    /// Its header.
    pub header: BlockHeader,
    /// The object's state.
    pub revision: Revision,
    /// Whether its deletion has begun.
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

/// Reads an object.
///
/// # Errors
/// When it is not what its collection promises.
pub fn decode(group: Group, collection: Collection, text: &str) -> Result<Object, DecodeError> {
    match collection {
        Collection::Blocks => {
            let (meta, spec) = outer::<BlockSpec>(collection, group, text)?;
            let block = spec.block(&meta, collection, group)?;
            let (key, deleted) = (Key::Block(block.cidr), block.deleted);
            Ok(made(meta, key, Value::Block(block), deleted))
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
            Ok(made(meta, Key::Affinity { owner, block }, Value::Affinity(value), deleted))
        }
        Collection::Handles => {
            let (meta, spec) = outer::<HandleSpec>(collection, group, text)?;
            let wrong = |reason| wrong(collection, group, &meta.name, reason);
            let id = HandleId::new(&spec.handle_id)
                .ok_or_else(|| wrong(format!("{:?} is no handle", spec.handle_id)))?;
            let mut blocks = BTreeMap::new();
            for (text, count) in spec.block {
                let block: BlockCidr = text.parse().map_err(|_| wrong(format!("{text:?} is no block")))?;
                *blocks.entry(block).or_default() += u32::try_from(count).unwrap_or(0);
            }
            let value = Handle { blocks, deleted: spec.deleted };
            Ok(made(meta, Key::Handle(id), Value::Handle(value), spec.deleted))
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
            Ok(made(meta, Key::IpamConfig, Value::IpamConfig(value), false))
        }
        Collection::Resources(kind) => resource(group, kind, text),
    }
}

/// Reads what a search needs of a block's object.
///
/// # Errors
/// When it is no block.
pub fn decode_header(group: Group, text: &str) -> Result<HeaderObject, DecodeError> {
    let (meta, spec) = outer::<HeaderSpec>(Collection::Blocks, group, text)?;
    let block = spec
        .cidr
        .parse()
        .map_err(|_| wrong(Collection::Blocks, group, &meta.name, format!("{:?} is no block", spec.cidr)))?;
    let header = BlockHeader {
        affinity: spec.affinity.filter(|affinity| !affinity.is_empty()),
        affinity_claim_time: spec.affinity_claim_time,
        free: spec.unallocated.len() as u32,
        sequence_number: spec.sequence_number,
    };
    let revision = Revision::new(meta.resource_version);
    Ok(HeaderObject { block, header, revision, is_deleted: spec.deleted })
}

fn wrong(collection: Collection, group: Group, name: &str, reason: String) -> DecodeError {
    DecodeError { key: format!("{}({name})", collection.kind_name(group)), reason }
}

fn outer<S: DeserializeOwned>(
    collection: Collection,
    group: Group,
    text: &str,
) -> Result<(Meta, S), DecodeError> {
    match serde_json::from_str::<Outer<S>>(text) {
        Ok(outer) => Ok((outer.metadata, outer.spec)),
        Err(error) => Err(wrong(collection, group, &name_in(text), error.to_string())),
    }
}

/// The name of an object that cannot be read otherwise.
fn name_in(text: &str) -> String {
    let outer = serde_json::from_str::<Outer<IgnoredAny>>(text);
    outer.map(|outer| outer.metadata.name).unwrap_or_else(|_| "?".to_string())
}

fn made(meta: Meta, key: Key, value: Value, is_deleted: bool) -> Object {
    Object { key, value, revision: Revision::new(meta.resource_version), uid: meta.uid, is_deleted }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockSpec {
    cidr: String,
    affinity: Option<Arc<str>>,
    #[serde(default, with = "seconds")]
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
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeaderSpec {
    cidr: String,
    affinity: Option<Arc<str>>,
    #[serde(default, with = "seconds")]
    affinity_claim_time: Option<Timestamp>,
    #[serde(default, deserialize_with = "nullable")]
    unallocated: Vec<IgnoredAny>,
    #[serde(default)]
    sequence_number: u64,
    #[serde(default)]
    deleted: bool,
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

/// A truth value, or the text of one.
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
