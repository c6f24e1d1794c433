//! Runs the real program on an embedded store of its own.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test is to stop there, and says what it did")]

mod at_once;
mod commands;
mod crowd;
mod damage;
mod harness;
mod hostile;
mod no_store;
mod recordings;
mod refusals;
mod stories;
mod strangers;
mod told;
mod unusable;
