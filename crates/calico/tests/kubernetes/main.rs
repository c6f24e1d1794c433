//! The plugin on a real API server, with the rights of `deploy/rbac/calico.yaml` and the real calico-ipam.
//! `RACKPOOL_SKIP_KUBERNETES=1` leaves these tests out.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails says where, and one that is skipped says why"
)]

mod annotations;
mod fixture;
#[allow(dead_code, reason = "the embedded store's tests need more of it")]
#[path = "../it/harness.rs"]
mod harness;
mod lost;
mod stories;
mod tenants;
