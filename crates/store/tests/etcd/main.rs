//! The etcd backend against real servers.

// Everything here is test code.
#![allow(clippy::unwrap_used)]

mod conformance;
mod discovery;
mod errors;
mod figures;
mod fixture;
mod goaway;
mod members;
mod security;
mod silence;
mod watches;
