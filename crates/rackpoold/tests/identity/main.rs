//! The node makes itself known: its name, its address, its record, its tunnels' addresses.

#![allow(clippy::unwrap_used, reason = "tests")]

mod detect;
mod home;
mod name;
