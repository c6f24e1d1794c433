//! What `cargo xtask` does with nothing but a Rust toolchain and a C compiler: the rack guide on the embedded
//! store, performed and proved.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

pub mod cargo;
pub mod guide;
pub mod sweep;
