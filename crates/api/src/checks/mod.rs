//! The building blocks for the rules of all kinds: faults, and rules for metadata and for single values.

mod error;
pub(crate) mod metadata;
pub(crate) mod tags;

pub(crate) use error::result;
pub use error::{FieldError, ValidationError};
