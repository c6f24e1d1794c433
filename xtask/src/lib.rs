//! The part of `cargo xtask` that needs nothing but a Rust toolchain and a C compiler: performs the rack
//! guide on the embedded store, and checks the result.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

pub mod cargo;
pub mod guide;
pub mod sweep;
