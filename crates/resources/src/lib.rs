//! What Calico's v3 client does around the data (`libcalico-go/lib/clientv3`, `calicoctl/resourcemgr`): metadata rules, defaults on write, checks across
//! objects, what goes along when a pool or a node is deleted, initialisation, lock and version check.
//!
//! Rules are pure functions ([`metadata`], [`patch`], [`label`], [`pools`], [`config`], [`version`]); [`Client`] reads, applies them and commits by
//! compare-and-swap. Where the records are ([`Backend`](api::capability::Backend)) is said by whoever makes the client, since users may do other things with some kinds in a Kubernetes
//! API server. Nothing here reads a clock or writes to a terminal.

mod addresses;
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
pub mod metadata;
pub mod patch;
pub mod pools;
mod read;
pub mod split;
pub mod version;
mod write;

pub use client::Client;
pub use error::{BackendError, Error, Identifier};
pub use label::Labelled;
pub use read::Listed;
