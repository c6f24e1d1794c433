//! Tests of the whole command line, called as a function with an environment of its own, and run as a
//! program.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that fails says where, and one that is skipped says why"
)]

mod beside_calico;
mod check;
mod damage;
mod errors;
mod explain;
mod help;
mod hostile;
mod input;
mod kinds;
mod large;
mod process;
mod purge;
mod replay;
mod routes;
mod show;
mod stored;
mod stores;
mod unusable;
mod which_store;
mod world;
