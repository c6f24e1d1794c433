//! The plugin on an embedded store, with the real calico-ipam, in network namespaces that the tests make.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails says where, and one that is skipped says why"
)]

mod at_once;
mod beside;
mod gates;
mod harness;
mod leading;
mod log;
mod other_ipam;
mod profile;
mod refusals;
mod replaced;
mod second;
mod stories;
mod wait;
mod wire;
