//! In place of [`crate::kubernetes`], in builds that know no Kubernetes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;
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

/// The objects that tell of virtual machines: there are none.
pub enum Objects {}

impl Objects {
    /// Nobody: machines' pods are pods as any other.
    ///
    /// # Errors
    /// None.
    pub fn new(
        _store: &AnyStore,
        _settings: &Settings,
        _environment: &Environment,
        _clock: Clock,
    ) -> Result<Option<Objects>, CniError> {
        Ok(None)
    }

    /// A pod.
    ///
    /// # Errors
    /// None.
    pub async fn pod(&self, _: &str, _: &str, _: Duration) -> Result<Option<Json>, StoreError> {
        match *self {}
    }

    /// An instance of a virtual machine.
    ///
    /// # Errors
    /// None.
    pub async fn instance(&self, _: &str, _: &str, _: Duration) -> Result<Option<Json>, StoreError> {
        match *self {}
    }

    /// A virtual machine.
    ///
    /// # Errors
    /// None.
    pub async fn machine(&self, _: &str, _: &str, _: Duration) -> Result<Option<Json>, StoreError> {
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
