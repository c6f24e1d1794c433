//! The controllers on real servers.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

mod endpoints;
mod leaks;
mod leftovers;
mod town;
