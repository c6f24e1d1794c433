//! The controllers on real servers and as a process.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

mod crash;
mod endpoints;
mod frame;
mod lead;
mod leaks;
mod leftovers;
mod load;
mod orphans;
mod pools;
mod process;
mod rules;
mod told;
mod town;

use std::time::Duration;

const WITHIN: Duration = Duration::from_secs(20);
