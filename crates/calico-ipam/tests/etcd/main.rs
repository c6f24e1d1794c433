//! Runs the real program on a real etcd. `RACKPOOL_SKIP_ETCD=1` leaves these tests out.

#![allow(clippy::unwrap_used, reason = "a test is to stop there")]

mod damage;
mod fixture;
mod reach;
mod requests;
