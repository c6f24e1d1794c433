//! The program on a real etcd. `RACKPOOL_SKIP_ETCD=1` leaves these tests out.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod copy;
mod errors;
mod fixture;
mod requests;
mod values;
