//! The Kubernetes backend, on a real API server and on simulated ones.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

mod conformance;
mod errors;
mod figures;
mod fixture;
mod goaway;
mod options;
mod proxied;
mod races;
mod scripted;
mod secrets;
mod silence;
mod through_proxy;
mod tls;
mod tombstones;
mod unbounded;
mod views;
mod watches;
