//! The command line as a whole: as a function with an environment of its own, and as a program.

#![allow(clippy::unwrap_used, reason = "a test that fails says where")]

mod errors;
mod help;
mod process;
mod replay;
mod stored;
mod stores;
mod world;
