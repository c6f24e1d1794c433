//! Real servers, started on this machine: [`etcd_server`], [`kube_server`] (a Kubernetes control plane), and a [`proxy`] to stand before them.
//!
//! Tests, `cargo xtask` and `benches` start them from here, and no program that users run depends on this crate. A server ends with the value that started
//! it, also when a test panics; and with the process, also when that is killed.

mod error;
pub mod etcd_server;
mod folder;
pub mod kube_server;
mod process;
pub mod proxy;

pub use error::ServerError;
