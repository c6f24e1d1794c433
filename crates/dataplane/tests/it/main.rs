//! Attaches, checks and detaches containers in network namespaces that the tests make: one that plays the
//! host, and containers. The machine's own is never touched. They need root, and say so when they are
//! skipped.

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
