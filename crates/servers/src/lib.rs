//! Starts real servers on this machine: [`etcd_server`], [`kube_server`] (a Kubernetes control plane), and a
//! [`proxy`] that stands between a client and a server.
//!
//! Tests, `cargo xtask` and `benches` use this crate; no program that users run depends on it. A server ends
//! when the value that stands for it is dropped, also when a test panics. It also ends with the process that
//! started it, even if that is killed.

mod error;
pub mod etcd_server;
mod folder;
pub mod kube_server;
mod process;
pub mod proxy;

pub use error::ServerError;
