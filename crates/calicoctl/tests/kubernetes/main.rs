//! The program on a real Kubernetes API server. `RACKPOOL_SKIP_KUBERNETES=1` leaves these tests out.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails says where, and one that is skipped says why"
)]

mod begins;
mod errors;
mod explain;
mod fixture;
mod goaway;
mod kinds;
mod large;
mod nodes;
mod purge;
mod requests;
mod rights;
mod takeover;
