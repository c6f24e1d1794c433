//! The error object of the CNI protocol.

use serde_json::{Map, Value as Json};

/// An error as the runtime gets it: a code, a message, and possibly details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CniError {
    /// The error's code: one of the constants below.
    pub code: u32,
    /// The message that users see.
    pub msg: String,
    /// Further information; empty if there is none.
    pub details: String,
}

impl CniError {
    /// The code for: the configuration's version does not allow the command.
    pub const VERSION: u32 = 1;
    /// The code for: the name of the container or of the interface is invalid.
    pub const CONTAINER: u32 = 3;
    /// The code for: an environment variable is missing or wrong.
    pub const ENVIRONMENT: u32 = 4;
    /// The code for: standard input or output failed.
    pub const IO: u32 = 5;
    /// The code for: the configuration is no JSON.
    pub const DECODING: u32 = 6;
    /// The code for: the network's name is missing or invalid.
    pub const NETWORK: u32 = 7;
    /// The code for: the network namespace is the plugin's own.
    pub const NETNS: u32 = 8;
    /// The code for: the same call will succeed later.
    pub const TRY_AGAIN: u32 = 11;
    /// The code for: the datastore cannot be used.
    pub const TEST: u32 = 100;
    /// The code for every error that the plugin itself finds, and not the protocol.
    pub const INTERNAL: u32 = 999;

    /// An error without details.
    pub fn new(code: u32, msg: impl Into<String>) -> CniError {
        CniError { code, msg: msg.into(), details: String::new() }
    }

    /// An error with the code [`CniError::INTERNAL`], and without details.
    pub fn internal(msg: impl ToString) -> CniError {
        CniError::new(CniError::INTERNAL, msg.to_string())
    }

    /// Adds details to the error.
    pub fn with(mut self, details: impl Into<String>) -> CniError {
        self.details = details.into();
        self
    }

    /// The JSON object that the runtime reads.
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
