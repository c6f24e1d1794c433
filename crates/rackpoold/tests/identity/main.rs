//! The node makes itself known: its name, its address, its record, its tunnels' addresses.

#![allow(clippy::unwrap_used, reason = "tests")]

mod detect;
#[cfg(feature = "etcd")]
mod etcd;
mod home;
mod introduce;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod name;
#[path = "../../../host/tests/it/namespace.rs"]
#[allow(dead_code, clippy::print_stderr, reason = "each test program uses a part of it")]
mod namespace;
mod record;
mod tunnels;
