//! A record: a key, its typed value and the revision at which it was read.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use crate::affinity::Affinity;
use crate::block::Block;
use crate::excerpt::{excerpt, printable, short};
use crate::handle::Handle;
use crate::ipam_config::IpamConfig;
use crate::key::Key;
use crate::odd_block;
use crate::residue::STORED_CLAIM_TIME;
use crate::resource::Resource;
use golang::json;

/// A backend's name for one state of a record. Revisions are equal only if their texts are;
/// [`Revision::compare`] tells which of two is the later one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revision(Arc<str>);

impl Revision {
    /// The revision of that text.
    pub fn new(text: impl Into<Arc<str>>) -> Revision {
        Revision(text.into())
    }

    /// The text, as in `resourceVersion`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which of two revisions of one store is the later one, by the order in which the store gave them;
    /// `None` where that is not known.
    ///
    /// The embedded store and etcd count all changes, and so does the store in memory. Kubernetes gives whole
    /// numbers of any length that have an order among the objects of one resource type (documented since
    /// 1.35, and so before), so there only records of one type, and the lists of it, are to be compared.
    pub fn compare(&self, other: &Revision) -> Option<Ordering> {
        let (own, other) = (self.digits()?, other.digits()?);
        Some(own.len().cmp(&other.len()).then_with(|| own.cmp(other)))
    }

    /// The text, if it is a whole number without leading zeros.
    fn digits(&self) -> Option<&str> {
        let is_number = self.0.bytes().all(|byte| byte.is_ascii_digit());
        let is_short = !self.0.starts_with('0') || self.0.len() == 1;
        (is_number && is_short && !self.0.is_empty()).then_some(&*self.0)
    }
}

impl From<i64> for Revision {
    fn from(number: i64) -> Self {
        Revision(number.to_string().into())
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of a record. The type of the record's key determines the variant.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "values live in records and batches, which share them behind a pointer"
)]
pub enum Value {
    /// The value under a [`Key::Resource`].
    Resource(Resource),
    /// The value under [`Key::IpamConfig`].
    IpamConfig(IpamConfig),
    /// The value under a [`Key::Affinity`].
    Affinity(Affinity),
    /// The value under a [`Key::Block`].
    Block(Block),
    /// The value under a [`Key::Handle`].
    Handle(Handle),
    /// The value under a [`Key::IpamHost`]. What it says is not kept.
    IpamHost,
}

/// Why a stored text is not a value for its key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: cannot read the stored value: {}{reason}", before(.field))]
pub struct DecodeError {
    /// The key.
    pub key: String,
    /// The field that is at fault; empty where the fault is not one field's.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
    /// The block that was read, where only the allocations make it unreadable (see [`crate::odd_block`]). It
    /// is there to be told of: nothing may be assigned or released by it.
    pub doubtful: Option<Arc<Block>>,
}

impl DecodeError {
    /// The error that the record with that key cannot be read, for that reason.
    pub fn new(key: impl fmt::Display, field: impl Into<String>, reason: impl Into<String>) -> DecodeError {
        let (key, field, reason) = (key.to_string(), field.into(), reason.into());
        // A record can be large, and its text may be part of these. A message must not quote all of it.
        let (key, field, reason) = (short(&key, 400), short(&field, 200), short(&reason, 800));
        DecodeError { key, field, reason, doubtful: None }
    }

    /// The same error about a block whose text can be read.
    pub(crate) fn about(self, block: Block) -> DecodeError {
        DecodeError { doubtful: Some(Arc::new(block)), ..self }
    }
}

fn before(field: &str) -> String {
    if field.is_empty() { String::new() } else { format!("{field}: ") }
}

impl Value {
    /// Reads the text that etcd and the embedded store have under `key`. An empty text is no record.
    pub fn from_stored_text(key: &Key, text: &str) -> Result<Value, DecodeError> {
        let wrong = |field: &str, reason: String| DecodeError::new(key, field, reason);
        let syntax = |e: serde_json::Error| wrong("", e.to_string());
        // Without this check, structs could also be read from arrays, which Go refuses.
        if text.is_empty() {
            return Err(wrong("", "it is empty".to_string()));
        }
        if !text.trim_start().starts_with('{') {
            return Err(wrong("", "not an object".to_string()));
        }
        match key {
            Key::Resource { kind, .. } => {
                let json = serde_json::from_str(text).map_err(syntax)?;
                let resource = Resource::from_json(*kind, json).map_err(|e| wrong("", e.to_string()))?;
                if resource.key() != *key {
                    let (field, found) = differing_name(key, &resource);
                    return Err(wrong(field, format!("{:?} is not what its key says", printable(found))));
                }
                Ok(Value::Resource(resource))
            }
            Key::IpamConfig => parse(key, text).map(Value::IpamConfig),
            Key::Affinity { .. } => parse(key, text).map(Value::Affinity),
            Key::Block(cidr) => {
                let block = match serde_json::from_str::<Block>(text) {
                    Ok(block) => block,
                    Err(_) => {
                        odd_block::read(&serde_json::from_str(text).map_err(syntax)?, STORED_CLAIM_TIME)
                            .map_err(|(field, reason)| wrong(&field, reason))?
                    }
                };
                if block.cidr != *cidr {
                    return Err(wrong("cidr", format!("{} is not what its key says", block.cidr)));
                }
                match odd_block::check(&block) {
                    Ok(()) => Ok(Value::Block(block)),
                    Err((field, reason)) => Err(wrong(&field, reason).about(block)),
                }
            }
            Key::Handle(_) => parse(key, text).map(Value::Handle),
            Key::IpamHost(_) => Ok(Value::IpamHost),
        }
    }

    /// The text that etcd and the embedded store keep.
    pub fn to_stored_text(&self) -> String {
        let text = match self {
            Value::Resource(resource) => return resource.to_stored_text(),
            Value::IpamConfig(config) => serde_json::to_string(config),
            Value::Affinity(affinity) => serde_json::to_string(affinity),
            Value::Block(block) => serde_json::to_string(block),
            Value::Handle(handle) => serde_json::to_string(handle),
            Value::IpamHost => return "{}".to_string(),
        };
        json::escape(
            &text.expect("these types have text keys and no failing parts, so they always serialize"),
        )
    }
}

fn parse<T: DeserializeOwned>(key: &Key, text: &str) -> Result<T, DecodeError> {
    serde_json::from_str(text).map_err(|error| {
        let (field, reason) = at_fault::<T>(text).unwrap_or_else(|| (String::new(), error.to_string()));
        DecodeError::new(key, field, reason)
    })
}

/// The field whose value makes a text unreadable as a `T`, and the reason; `None` where no single field does.
pub(crate) fn at_fault<T: DeserializeOwned>(text: &str) -> Option<(String, String)> {
    let fields: Map<String, Json> = serde_json::from_str(text).ok()?;
    fields.into_iter().find_map(|(field, value)| {
        let alone = Json::Object(Map::from_iter([(field.clone(), value.clone())]));
        let error = serde_json::from_value::<T>(alone).err()?.to_string();
        // The other fields are missing here, which is not this field's fault.
        (!error.starts_with("missing field")).then(|| (field, format!("{}: {error}", excerpt(&value))))
    })
}

/// The part of the name (namespace or name) in which a resource differs from its key, and what the resource
/// says there.
fn differing_name<'r>(key: &Key, resource: &'r Resource) -> (&'static str, &'r str) {
    match key {
        Key::Resource { name, .. } if name == resource.name() => {
            ("metadata.namespace", resource.metadata().namespace.as_deref().unwrap_or_default())
        }
        _ => ("metadata.name", resource.name()),
    }
}

/// A record as read or as left by a write.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The record's identity.
    pub key: Key,
    /// The record's value. A resource in it has no `resourceVersion`; see `revision`.
    pub value: Value,
    /// The revision at which the record has this value.
    pub revision: Revision,
}

impl Record {
    /// The block; `None` for a record of another type.
    pub fn block(&self) -> Option<&Block> {
        if let Value::Block(block) = &self.value { Some(block) } else { None }
    }

    /// The affinity; `None` for a record of another type.
    pub fn affinity(&self) -> Option<&Affinity> {
        if let Value::Affinity(affinity) = &self.value { Some(affinity) } else { None }
    }

    /// The handle; `None` for a record of another type.
    pub fn handle(&self) -> Option<&Handle> {
        if let Value::Handle(handle) = &self.value { Some(handle) } else { None }
    }

    /// The allocator's configuration; `None` for a record of another type.
    pub fn ipam_config(&self) -> Option<&IpamConfig> {
        if let Value::IpamConfig(config) = &self.value { Some(config) } else { None }
    }

    /// The resource; `None` for a record of another type.
    pub fn resource(&self) -> Option<&Resource> {
        if let Value::Resource(resource) = &self.value { Some(resource) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_have_an_order_where_they_are_whole_numbers() {
        let long = "123456789012345678901234567890";
        for (one, other, order) in [
            ("1", "2", Some(Ordering::Less)),
            ("10", "9", Some(Ordering::Greater)),
            ("7", "7", Some(Ordering::Equal)),
            ("0", "1", Some(Ordering::Less)),
            (long, "99999999999999999999", Some(Ordering::Greater)),
            ("", "1", None),
            ("01", "1", None),
            ("-1", "1", None),
            ("1", "x", None),
            ("none: 5", "5", None),
        ] {
            let (one, other) = (Revision::new(one), Revision::new(other));
            assert_eq!(one.compare(&other), order, "{one} and {other}");
            assert_eq!(other.compare(&one), order.map(Ordering::reverse), "{other} and {one}");
        }
    }
}
