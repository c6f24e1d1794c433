//! The error object of the CNI protocol.

use serde_json::{Map, Value as Json};

/// What the runtime is told: a code, a message, and details where there are any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniError {
    /// One of the constants.
    pub code: u32,
    /// What users see.
    pub msg: String,
    /// More of it; empty for none.
    pub details: String,
}

impl CniError {
    /// The configuration's version does not allow it.
    pub const VERSION: u32 = 1;
    /// No container's name.
    pub const CONTAINER: u32 = 3;
    /// The environment is wrong.
    pub const ENVIRONMENT: u32 = 4;
    /// Standard input or output failed.
    pub const IO: u32 = 5;
    /// The configuration is no JSON.
    pub const DECODING: u32 = 6;
    /// The network has no good name.
    pub const NETWORK: u32 = 7;
    /// The network namespace is the plugin's own.
    pub const NETNS: u32 = 8;
    /// The datastore cannot be used.
    pub const TEST: u32 = 100;
    /// Everything that the plugin itself has to say.
    pub const INTERNAL: u32 = 999;

    /// An error without details.
    pub fn new(code: u32, msg: impl Into<String>) -> CniError {
        CniError { code, msg: msg.into(), details: String::new() }
    }

    /// One of the plugin's own.
    pub fn internal(msg: impl ToString) -> CniError {
        CniError::new(CniError::INTERNAL, msg.to_string())
    }

    /// With details.
    pub fn with(mut self, details: impl Into<String>) -> CniError {
        self.details = details.into();
        self
    }

    /// The object.
    pub fn to_json(&self) -> Json {
        let mut object = Map::new();
        object.insert("code".to_string(), self.code.into());
        object.insert("msg".to_string(), self.msg.as_str().into());
        if !self.details.is_empty() {
            object.insert("details".to_string(), self.details.as_str().into());
        }
        Json::Object(object)
    }
}
