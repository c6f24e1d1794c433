//! What the rules of all kinds are made of: how a fault is told, rules for metadata and for single values.

mod error;
pub(crate) mod metadata;
pub(crate) mod tags;

pub(crate) use error::result;
pub use error::{FieldError, ValidationError};
