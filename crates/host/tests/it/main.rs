//! Reads and changes hosts that are network namespaces which the tests make. The machine's own network is not
//! changed. The tests need root, iproute2 and ping, and print so when they are skipped.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test is to stop there, and says when it is skipped"
)]

mod bulk;
mod cluster;
mod delivery;
mod foreign_changes;
mod interfaces;
mod namespace;
mod ownership;
mod steps;
mod sysctls;
mod traffic;
mod tunnels;
#[allow(dead_code, reason = "these tests make other clusters than those of the plan")]
#[path = "../../../routes/tests/it/world.rs"]
mod world;
