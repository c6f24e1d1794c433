//! Runs every operation on a real API server, with every possible fault at each of its writes.

#![allow(clippy::unwrap_used, reason = "tests may panic")]
#![allow(clippy::disallowed_methods, reason = "tests race threads, and read the clock for figures")]

#[allow(dead_code, reason = "the other tests need more of it")]
#[path = "../it/operations.rs"]
mod operations;
#[path = "../it/real.rs"]
mod real;
#[allow(dead_code, reason = "the other tests need more of it")]
#[path = "../it/world.rs"]
mod world;

mod cluster;
mod faults;
mod review;
