//! The `calicoctl` command line: one module per concern, driven by the binary.

pub mod input;
pub mod output;
