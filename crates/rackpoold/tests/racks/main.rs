//! The agent on racks of nodes, which are network namespaces: a router with one route a rack, a host outside,
//! one store, and pods that the real plugins attach. The machine's own network is not changed. The tests need
//! root, iproute2, ping and nft, and print so when they are skipped.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops there, and says when it is skipped"
)]

mod agent;
mod economy;
mod ends;
mod moves;
mod namespace;
mod ownership;
mod pings;
mod pod;
mod reach;
mod reboot;
mod restarts;
mod status;
mod translation;
mod world;
