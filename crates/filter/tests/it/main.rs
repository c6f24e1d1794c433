//! The table, as a text and in network namespaces that the tests make. The machine's own network is not
//! changed. The tests in namespaces need root and `nft`, and print so when they are skipped.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test is to stop there, and says when it is skipped"
)]

mod connections;
mod harness;
mod kernel;
mod lab;
mod others;
mod protection;
mod settings;
mod text;
mod translation;
mod tunnels;
mod world;
