//! Runs the real program on an embedded store of its own.

mod commands;
mod crowd;
mod harness;
mod recordings;
mod refusals;
mod stories;
