//! The client on stores in memory, some of which fail on purpose.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod common;
mod configuration;
mod copy;
mod export;
mod faults;
mod nodes;
mod pools;
mod purge;
mod writes;
