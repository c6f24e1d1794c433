//! A store that leaves one read without an answer.

use std::future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::batch::{Batch, Report};
use crate::error::StoreError;
use crate::port::Store;
use crate::read::{ReadSet, Scope};
use crate::view::View;

/// A store that never answers its first read, not even after the deadline, and passes every later call on. A
/// dead connection that nobody has noticed behaves like this.
#[derive(Debug)]
pub struct SilentStore<S> {
    inner: S,
    was_asked: AtomicBool,
}

impl<S> SilentStore<S> {
    /// Wraps the store to which calls are passed on.
    pub fn new(inner: S) -> SilentStore<S> {
        SilentStore { inner, was_asked: AtomicBool::new(false) }
    }

    /// The store underneath, which answers every call.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Whether the first read, which gets no answer, has begun.
    pub fn was_asked(&self) -> bool {
        self.was_asked.load(Ordering::SeqCst)
    }
}

impl<S: Store> Store for SilentStore<S> {
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
