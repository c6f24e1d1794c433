//! Reads and changes hosts that are network namespaces which the tests make. The machine's own network is not
//! changed. The tests need root, iproute2 and ping, and print so when they are skipped.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test is to stop there, and says when it is skipped"
)]

mod interfaces;
mod namespace;
