//! Runs operations to their end, on stores in memory with and without faults.

#![allow(clippy::unwrap_used, reason = "tests may panic")]
#![allow(clippy::disallowed_methods, reason = "tests race threads, and read the clock for figures")]

mod affinities;
mod allocate;
mod between;
mod block_sizes;
mod by_handle;
mod claims;
mod damage;
mod exhaustive;
mod explain;
mod explorer;
mod faults;
mod late;
mod lost;
mod many_blocks;
mod model;
mod operations;
mod owners;
mod pools;
mod races;
mod reads;
mod release;
mod review;
mod scale;
mod stream;
mod tunnels;
mod upkeep;
mod verdicts;
mod warm;
mod weaknesses;
mod witness;
mod world;
