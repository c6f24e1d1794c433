//! The setup crate.
