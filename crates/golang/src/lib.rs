//! Go's ways with text, for programs that must read and write exactly what a program written in Go would.
//! Each module stands for one package of Go's standard library; `yaml` stands for goyaml under
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
pub mod unicode;
#[cfg(feature = "yaml")]
pub mod yaml;
