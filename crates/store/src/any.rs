//! The backends that are built in, as one type.

use std::time::Duration;

use crate::batch::{Batch, Report};
use crate::error::{StoreError, WatchError};
#[cfg(feature = "etcd")]
use crate::etcd::{EtcdStore, EtcdWatch};
#[cfg(feature = "kubernetes")]
use crate::kubernetes::{KubeStore, KubeWatch};
#[cfg(feature = "memory")]
use crate::memory::{MemoryStore, MemoryWatch};
use crate::port::{Store, Watch};
use crate::read::{ReadSet, Scope};
#[cfg(feature = "sqlite")]
use crate::sqlite::{SqliteStore, SqliteWatch};
use crate::titles::Titles;
use crate::view::View;
use crate::watch::Event;

/// A store of one of the backends that are built in.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyStore {
    /// A store in memory.
    #[cfg(feature = "memory")]
    Memory(MemoryStore),
    /// The embedded store.
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteStore),
    /// A store in etcd.
    #[cfg(feature = "etcd")]
    Etcd(EtcdStore),
    /// A store in a Kubernetes API server.
    #[cfg(feature = "kubernetes")]
    Kubernetes(KubeStore),
}

/// A watch of one of the backends.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyWatch {
    /// A watch of a store in memory.
    #[cfg(feature = "memory")]
    Memory(MemoryWatch),
    /// A watch of the embedded store.
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteWatch),
    /// A watch of etcd.
    #[cfg(feature = "etcd")]
    Etcd(EtcdWatch),
    /// A watch of a Kubernetes API server.
    #[cfg(feature = "kubernetes")]
    Kubernetes(KubeWatch),
}

impl AnyStore {
    /// How the backend's own messages call records.
    pub fn titles(&self) -> Titles {
        match self {
            #[cfg(feature = "kubernetes")]
            AnyStore::Kubernetes(store) => store.titles(),
            _ => Titles::default(),
        }
    }
}

impl Store for AnyStore {
    type Watch = AnyWatch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        match self {
            #[cfg(feature = "memory")]
            AnyStore::Memory(store) => store.read(set, within).await,
            #[cfg(feature = "sqlite")]
            AnyStore::Sqlite(store) => store.read(set, within).await,
            #[cfg(feature = "etcd")]
            AnyStore::Etcd(store) => store.read(set, within).await,
            #[cfg(feature = "kubernetes")]
            AnyStore::Kubernetes(store) => store.read(set, within).await,
        }
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        match self {
            #[cfg(feature = "memory")]
            AnyStore::Memory(store) => store.commit(batch, within).await,
            #[cfg(feature = "sqlite")]
            AnyStore::Sqlite(store) => store.commit(batch, within).await,
            #[cfg(feature = "etcd")]
            AnyStore::Etcd(store) => store.commit(batch, within).await,
            #[cfg(feature = "kubernetes")]
            AnyStore::Kubernetes(store) => store.commit(batch, within).await,
        }
    }

    async fn watch(&self, scope: Scope) -> Result<AnyWatch, StoreError> {
        Ok(match self {
            #[cfg(feature = "memory")]
            AnyStore::Memory(store) => AnyWatch::Memory(store.watch(scope).await?),
            #[cfg(feature = "sqlite")]
            AnyStore::Sqlite(store) => AnyWatch::Sqlite(store.watch(scope).await?),
            #[cfg(feature = "etcd")]
            AnyStore::Etcd(store) => AnyWatch::Etcd(store.watch(scope).await?),
            #[cfg(feature = "kubernetes")]
            AnyStore::Kubernetes(store) => AnyWatch::Kubernetes(store.watch(scope).await?),
        })
    }

    async fn watch_short(&self, scope: Scope) -> Result<AnyWatch, StoreError> {
        match self {
            #[cfg(feature = "kubernetes")]
            AnyStore::Kubernetes(store) => Ok(AnyWatch::Kubernetes(store.watch_short(scope).await?)),
            #[allow(unreachable_patterns, reason = "another backend may be the only one that is built in")]
            _ => self.watch(scope).await,
        }
    }
}

impl Watch for AnyWatch {
    async fn next(&mut self) -> Result<Event, WatchError> {
        match self {
            #[cfg(feature = "memory")]
            AnyWatch::Memory(watch) => watch.next().await,
            #[cfg(feature = "sqlite")]
            AnyWatch::Sqlite(watch) => watch.next().await,
            #[cfg(feature = "etcd")]
            AnyWatch::Etcd(watch) => watch.next().await,
            #[cfg(feature = "kubernetes")]
            AnyWatch::Kubernetes(watch) => watch.next().await,
        }
    }
}
