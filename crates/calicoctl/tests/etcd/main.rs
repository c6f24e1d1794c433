//! The program on a real etcd. `RACKPOOL_SKIP_ETCD=1` leaves these tests out.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails says where, and one that is skipped says why"
)]

mod copy;
mod errors;
mod explain;
mod fixture;
mod kinds;
mod large;
mod pools;
mod preflight;
mod purge;
mod requests;
mod values;
