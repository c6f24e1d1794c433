//! In place of [`crate::kubernetes`], in builds that know no Kubernetes.

use std::collections::BTreeMap;
use std::time::Duration;

use setup::{Clock, Environment, Settings};
use store::{AnyStore, StoreError};

use cni::error::CniError;
use cni::reach::Reached;

/// Whether the datastore is Kubernetes: never.
pub fn is(_store: &AnyStore) -> bool {
    false
}

/// A namespace that somebody can be asked for: there is none.
pub enum Namespace {}

impl Namespace {
    /// None: selectors see no labels then.
    ///
    /// # Errors
    /// None.
    pub fn new(
        _name: &str,
        _store: &AnyStore,
        _settings: &Settings,
        _environment: &Environment,
        _clock: Clock,
    ) -> Result<Option<Namespace>, CniError> {
        Ok(None)
    }

    /// Its labels.
    ///
    /// # Errors
    /// None.
    pub async fn labels(&self, _within: Duration) -> Result<BTreeMap<String, String>, CniError> {
        match *self {}
    }
}

/// Affinities without labels are of Kubernetes alone.
///
/// # Errors
/// None.
pub async fn label_affinities(_store: &Reached, _host: &str, _within: Duration) -> Result<usize, StoreError> {
    Ok(0)
}
