//! A record: a key, its typed value and the revision at which it was read.

use std::fmt;
use std::sync::Arc;

use crate::affinity::Affinity;
use crate::block::Block;
use crate::handle::Handle;
use crate::ipam_config::IpamConfig;
use crate::json;
use crate::key::Key;
use crate::resource::Resource;

/// A backend's word for a state of a record. Opaque; equal only to itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// The value of a record. Which variant stands under a key follows from the key's.
#[derive(Clone, Debug, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "values live in records and batches, which share them behind a pointer"
)]
pub enum Value {
    /// Under [`Key::Resource`].
    Resource(Resource),
    /// Under [`Key::IpamConfig`].
    IpamConfig(IpamConfig),
    /// Under [`Key::Affinity`].
    Affinity(Affinity),
    /// Under [`Key::Block`].
    Block(Block),
    /// Under [`Key::Handle`].
    Handle(Handle),
}

/// Why a stored text is not the value that its key promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: cannot read the stored value: {reason}")]
pub struct DecodeError {
    /// The key.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Value {
    /// Reads the text that etcd and the embedded store keep under `key`. A zero-length text reads as `{}`.
    pub fn from_stored_text(key: &Key, text: &str) -> Result<Value, DecodeError> {
        let text = if text.is_empty() { "{}" } else { text };
        let wrong = |reason: String| DecodeError { key: key.to_string(), reason };
        let syntax = |e: serde_json::Error| wrong(e.to_string());
        // Structs would also be read from arrays, which Go refuses.
        if !text.trim_start().starts_with('{') {
            return Err(wrong("not an object".to_string()));
        }
        match key {
            Key::Resource { kind, .. } => {
                let json = serde_json::from_str(text).map_err(syntax)?;
                Resource::from_json(*kind, json).map(Value::Resource).map_err(|e| wrong(e.to_string()))
            }
            Key::IpamConfig => serde_json::from_str(text).map(Value::IpamConfig).map_err(syntax),
            Key::Affinity { .. } => serde_json::from_str(text).map(Value::Affinity).map_err(syntax),
            Key::Block(_) => serde_json::from_str(text).map(Value::Block).map_err(syntax),
            Key::Handle(_) => serde_json::from_str(text).map(Value::Handle).map_err(syntax),
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
        };
        json::escape(
            &text.expect("these types have text keys and no failing parts, so they always serialize"),
        )
    }
}

/// A record as read or as left by a write.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What it is.
    pub key: Key,
    /// What it says. A resource carries no `resourceVersion` in here; see `revision`.
    pub value: Value,
    /// The state that `value` is of.
    pub revision: Revision,
}

impl Record {
    /// The block, if it is one.
    pub fn block(&self) -> Option<&Block> {
        if let Value::Block(block) = &self.value { Some(block) } else { None }
    }

    /// The affinity, if it is one.
    pub fn affinity(&self) -> Option<&Affinity> {
        if let Value::Affinity(affinity) = &self.value { Some(affinity) } else { None }
    }

    /// The handle, if it is one.
    pub fn handle(&self) -> Option<&Handle> {
        if let Value::Handle(handle) = &self.value { Some(handle) } else { None }
    }

    /// The allocator's configuration, if it is that.
    pub fn ipam_config(&self) -> Option<&IpamConfig> {
        if let Value::IpamConfig(config) = &self.value { Some(config) } else { None }
    }

    /// The resource, if it is one.
    pub fn resource(&self) -> Option<&Resource> {
        if let Value::Resource(resource) = &self.value { Some(resource) } else { None }
    }
}
