//! The resources crate.
