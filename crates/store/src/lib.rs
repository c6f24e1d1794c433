//! The store: one port, its backends, and the conformance suite that each must pass.
//!
//! Read, plan, commit: a caller reads a [`View`], a planner makes a [`Batch`] of it, and the store applies
//! the batch write by write or, where the backend has transactions, in one. See [`Store`] for what every
//! backend promises.

#[cfg(any(feature = "etcd", feature = "kubernetes", feature = "memory", feature = "sqlite"))]
pub mod any;
pub mod batch;
#[cfg(any(feature = "etcd", feature = "kubernetes"))]
mod cause;
pub mod dry_run;
pub mod effects;
pub mod error;
#[cfg(feature = "etcd")]
pub mod etcd;
#[cfg(any(feature = "etcd", feature = "kubernetes"))]
mod following;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
#[cfg(feature = "memory")]
pub mod memory;
pub mod noting;
#[cfg(any(feature = "etcd", feature = "kubernetes"))]
mod patience;
#[cfg(any(feature = "etcd", feature = "kubernetes"))]
pub mod pem;
pub mod port;
pub mod read;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod strangers;
#[cfg(feature = "testing")]
pub mod testing;
pub mod titles;
#[cfg(any(feature = "etcd", feature = "kubernetes"))]
mod url;
pub mod view;
pub mod watch;

#[cfg(any(feature = "etcd", feature = "kubernetes", feature = "memory", feature = "sqlite"))]
pub use any::AnyStore;
pub use batch::{Batch, Current, Expect, Guard, Look, Op, Operation, Outcome, Report, Transaction, Write};
pub use dry_run::{DryRun, Effect, Foreseen};
pub use effects::{Effects, Met, Observer};
pub use error::{Refusal, StoreError, WatchError};
#[cfg(feature = "memory")]
pub use memory::MemoryStore;
pub use noting::{Noted, Noting};
pub use port::{Store, Watch};
pub use read::{Depth, Page, ReadSet, Scope, ScopeRead};
pub use titles::Titles;
pub use view::{Slot, Unreadable, View};
pub use watch::Event;
