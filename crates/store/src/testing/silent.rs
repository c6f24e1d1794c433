//! A store that leaves somebody without an answer.

use std::future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::batch::{Batch, Report};
use crate::error::StoreError;
use crate::port::Store;
use crate::read::{ReadSet, Scope};
use crate::view::View;

/// A store that never answers the first read, not even when its time is over, and passes on every later one:
/// a connection of which nobody notices that it is dead.
#[derive(Debug)]
pub struct Silent<S> {
    inner: S,
    was_asked: AtomicBool,
}

impl<S> Silent<S> {
    /// Passes on to that store.
    pub fn new(inner: S) -> Silent<S> {
        Silent { inner, was_asked: AtomicBool::new(false) }
    }

    /// The store underneath, which always answers.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Whether somebody waits for the first answer.
    pub fn was_asked(&self) -> bool {
        self.was_asked.load(Ordering::SeqCst)
    }
}

impl<S: Store> Store for Silent<S> {
    type Watch = S::Watch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        if !self.was_asked.swap(true, Ordering::SeqCst) {
            future::pending::<()>().await;
        }
        self.inner.read(set, within).await
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        self.inner.commit(batch, within).await
    }

    async fn watch(&self, scope: Scope) -> Result<S::Watch, StoreError> {
        self.inner.watch(scope).await
    }
}
