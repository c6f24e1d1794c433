//! Go's ways with text, for programs whose output, errors and input are to be what a program written in Go
//! gives and takes: one module a package of Go's standard library, and `yaml` for goyaml under
//! `sigs.k8s.io/yaml`. Nothing here does input or output.
//!
//! The tests compare each function with Go itself, where Go is installed (`tests/go.rs`).

pub mod duration;
pub mod flag;
pub mod json;
pub mod netip;
pub mod number;
pub mod rand;
pub mod strconv;
pub mod tabwriter;
#[cfg(feature = "yaml")]
pub mod yaml;
