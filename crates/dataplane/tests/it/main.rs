//! Attaches, checks and detaches containers in network namespaces that the tests make: one stands for the
//! host, the others are containers. The machine's own network is not changed. The tests need root, and print
//! so when they are skipped.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test is to stop there, and says when it is skipped"
)]

mod attaching;
mod beside;
mod checking;
mod detaching;
mod harness;
mod host_ends;
mod refusals;
mod traffic;
