//! Runs the real program on a real API server, with the rights of `deploy/rbac/calico-ipam.yaml`.
//! `RACKPOOL_SKIP_KUBERNETES=1` leaves these tests out.

#![allow(clippy::unwrap_used, reason = "a test is to stop there")]

mod admission;
mod damage;
mod fixture;
#[allow(dead_code, clippy::print_stdout, reason = "the embedded store's tests need more of it")]
#[path = "../it/harness.rs"]
mod harness;
mod kubevirt;
mod machines;
mod names;
mod namespaces;
mod reach;
mod requests;
mod rights;
mod slow;
mod stories;
mod unlabelled;
