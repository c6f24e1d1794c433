//! The node makes itself known: its name, its address, its record, its tunnels' addresses.

#![allow(clippy::unwrap_used, reason = "tests")]

mod detect;
#[cfg(feature = "etcd")]
mod etcd;
mod home;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod name;
mod record;
mod tunnels;
