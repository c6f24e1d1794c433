//! A store that counts the calls it gets.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::Key;

use crate::batch::{Batch, Report};
use crate::error::StoreError;
use crate::port::Store;
use crate::read::{ReadSet, Scope};
use crate::view::{Slot, View};

/// A type of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordType {
    /// A resource of any kind.
    Resource,
    /// The allocator's configuration ([`Key::IpamConfig`]).
    IpamConfig,
    /// An affinity.
    Affinity,
    /// A block.
    Block,
    /// A handle.
    Handle,
    /// A host's own record ([`Key::IpamHost`]).
    IpamHost,
}

impl From<&Key> for RecordType {
    fn from(key: &Key) -> Self {
        match key {
            Key::Resource { .. } => RecordType::Resource,
            Key::IpamConfig => RecordType::IpamConfig,
            Key::Affinity { .. } => RecordType::Affinity,
            Key::Block(_) => RecordType::Block,
            Key::Handle(_) => RecordType::Handle,
            Key::IpamHost(_) => RecordType::IpamHost,
        }
    }
}

/// The counts of a [`Counting`] store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of [`Store::read`], failed ones too.
    pub reads: u64,
    /// Calls of [`Store::commit`], failed ones too.
    pub commits: u64,
    /// Calls of [`Store::watch`].
    pub watches: u64,
    /// Single keys that reads asked for.
    pub keys: u64,
    /// Scopes, and pages of scopes, that reads asked for.
    pub scopes: u64,
    /// Records that reads found, by type. A record that one read finds both by its key and in a scope counts
    /// once.
    pub records: BTreeMap<RecordType, u64>,
    /// Writes that commits contained, by type, applied or not.
    pub writes: BTreeMap<RecordType, u64>,
}

impl Counts {
    /// How many records reads found, of all types.
    pub fn records_read(&self) -> u64 {
        self.records.values().sum()
    }

    /// How many writes commits contained, of all types.
    pub fn writes_sent(&self) -> u64 {
        self.writes.values().sum()
    }
}

/// Passes calls on to another store and counts them.
#[derive(Debug, Default)]
pub struct Counting<S> {
    inner: S,
    counts: Mutex<Counts>,
}

impl<S> Counting<S> {
    /// Counts the calls to `inner`.
    pub fn new(inner: S) -> Counting<S> {
        Counting { inner, counts: Mutex::default() }
    }

    /// The store underneath. Calls made to it directly are not counted.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The counts since the start, or since the last [`Counting::reset`].
    pub fn counts(&self) -> Counts {
        self.lock().clone()
    }

    /// Sets all counts to 0. Gives the counts before.
    pub fn reset(&self) -> Counts {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Store> Store for Counting<S> {
    type Watch = S::Watch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        {
            let mut counts = self.lock();
            counts.reads += 1;
            counts.keys += set.keys.len() as u64;
            counts.scopes += set.scopes.len() as u64;
        }
        let view = self.inner.read(set, within).await?;
        let mut counts = self.lock();
        for (key, slot) in view.all() {
            if *slot != Slot::Absent {
                *counts.records.entry(key.into()).or_default() += 1;
            }
        }
        drop(counts);
        Ok(view)
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        {
            let mut counts = self.lock();
            counts.commits += 1;
            for write in &batch.writes {
                *counts.writes.entry((&write.key).into()).or_default() += 1;
            }
        }
        self.inner.commit(batch, within).await
    }

    async fn watch(&self, scope: Scope) -> Result<S::Watch, StoreError> {
        self.lock().watches += 1;
        self.inner.watch(scope).await
    }
}
