//! The ipam crate.
