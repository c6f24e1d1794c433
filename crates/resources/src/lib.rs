//! What Calico's v3 client does around the data (`libcalico-go/lib/clientv3`, `calicoctl/resourcemgr`): rules
//! for metadata, defaults on write, checks across objects, deletion of what belongs to a pool or a node,
//! initialisation, the datastore's lock, and the check of versions.
//!
//! The rules are pure functions ([`metadata`], [`patch`], [`label`], [`pools`], [`config`], [`version`]).
//! [`Client`] reads, applies the rules, and commits by compare-and-swap. Whoever makes the client says where
//! the records are ([`Backend`](api::capability::Backend)): in a Kubernetes API server users may do other
//! things with some kinds. Nothing here reads a clock or writes to a terminal.

mod addresses;
pub mod check;
mod client;
pub mod config;
pub mod contents;
pub mod copy;
mod delete;
mod delete_node;
mod delete_pool;
mod error;
pub mod export;
pub mod initialise;
pub mod label;
pub mod loss;
pub mod metadata;
pub mod patch;
pub mod pools;
pub mod preflight;
pub mod purge;
mod read;
pub mod split;
pub mod version;
mod write;

pub use client::Client;
pub use error::{BackendError, Error, Identifier};
pub use label::Labelled;
pub use read::Listed;
