//! What cannot be read, for whoever tells it to somebody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::{Fault, Key};

use crate::batch::{Batch, Report};
use crate::error::StoreError;
use crate::port::Store;
use crate::read::{ReadSet, Scope};
use crate::view::View;

/// What was wrong with records that came by, each fault once. Every program notes what it reads, and tells its user.
#[derive(Debug, Default)]
pub struct Noted {
    /// Whether it was told.
    faults: Mutex<BTreeMap<Fault, bool>>,
}

impl Noted {
    /// Notes what is wrong with what was read.
    pub fn note(&self, view: &View) {
        let found = view.faults();
        if !found.is_empty() {
            let mut faults = self.lock();
            found.into_iter().for_each(|fault| {
                faults.entry(fault).or_default();
            });
        }
    }

    /// What was noted and not told yet, in the order of the records' names.
    pub fn tell(&self) -> Vec<Fault> {
        let mut faults = self.lock();
        let untold = faults.iter_mut().filter(|(_, told)| !**told);
        untold
            .map(|(fault, told)| {
                *told = true;
                fault.clone()
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Fault, bool>> {
        // A panic while the lock is held can only come between whole changes.
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store that notes what is read of another.
#[derive(Debug)]
pub struct Noting<S> {
    inner: S,
    noted: Arc<Noted>,
}

impl<S> Noting<S> {
    /// Notes what is read of that store.
    pub fn new(inner: S, noted: Arc<Noted>) -> Noting<S> {
        Noting { inner, noted }
    }

    /// The store underneath; what is read of it directly is not noted.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S: Store> Store for Noting<S> {
    type Watch = S::Watch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        let view = self.inner.read(set, within).await?;
        self.noted.note(&view);
        Ok(view)
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        self.inner.commit(batch, within).await
    }

    async fn watch(&self, scope: Scope) -> Result<S::Watch, StoreError> {
        self.inner.watch(scope).await
    }

    fn title(&self, key: &Key) -> Option<String> {
        self.inner.title(key)
    }
}
