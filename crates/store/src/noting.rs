//! Remembers which records could not be read, so that a program can report them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::Fault;

use crate::batch::{Batch, Report};
use crate::error::StoreError;
use crate::port::Store;
use crate::read::{ReadSet, Scope};
use crate::view::View;

/// Faults of records that were read, each once. Every program collects them here, and reports them to its
/// user.
#[derive(Debug, Default)]
pub struct Noted {
    /// Each fault, and whether it was already reported.
    faults: Mutex<BTreeMap<Fault, bool>>,
}

impl Noted {
    /// Adds the faults of a view.
    pub fn note(&self, view: &View) {
        let found = view.faults();
        if !found.is_empty() {
            let mut faults = self.lock();
            found.into_iter().for_each(|fault| {
                faults.entry(fault).or_default();
            });
        }
    }

    /// The faults that were not reported yet, in the order of the records' names. They count as reported from
    /// now on.
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
        // A panic while the lock is held cannot leave the map half changed.
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes calls on to another store, and remembers the faults of what is read.
#[derive(Debug)]
pub struct Noting<S> {
    inner: S,
    /// Ends the error of a store that cannot be reached.
    chosen_by: Option<String>,
    noted: Arc<Noted>,
}

impl<S> Noting<S> {
    /// Passes calls on to `inner`, and remembers in `noted` the faults of what is read.
    pub fn new(inner: S, noted: Arc<Noted>) -> Noting<S> {
        Noting { inner, chosen_by: None, noted }
    }

    /// Adds what has chosen the store to the error of a store that cannot be reached.
    pub fn chosen_by(self, chosen_by: &str) -> Noting<S> {
        Noting { chosen_by: Some(chosen_by.to_string()), ..self }
    }

    /// An error of the store, as callers of this one get it.
    pub fn explained(&self, error: StoreError) -> StoreError {
        match (error, &self.chosen_by) {
            (StoreError::Unavailable(text), Some(by)) => {
                StoreError::Unavailable(format!("{text}. The store was chosen by {by}"))
            }
            (error, _) => error,
        }
    }

    /// The store underneath. Faults of what is read from it directly are not remembered.
    pub fn inner(&self) -> &S {
        &self.inner
    }
}

impl<S: Store> Store for Noting<S> {
    type Watch = S::Watch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        let view = self.inner.read(set, within).await.map_err(|error| self.explained(error))?;
        self.noted.note(&view);
        Ok(view)
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        self.inner.commit(batch, within).await.map_err(|error| self.explained(error))
    }

    async fn watch(&self, scope: Scope) -> Result<S::Watch, StoreError> {
        self.inner.watch(scope).await
    }
}
