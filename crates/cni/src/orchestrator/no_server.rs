//! The orchestrator in builds without Kubernetes. Its types have no values, so the compiler knows that no
//! request can be made.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::marker::PhantomData;
use std::time::Duration;

use serde_json::Value as Json;
use setup::{Clock, Environment, Settings, SetupError};
use store::{AnyStore, ReadSet, StoreError, View};

pub(super) type Server = Infallible;

pub(super) fn of(_store: &AnyStore) -> Option<Server> {
    None
}

pub(super) fn connect(
    _settings: &Settings,
    _environment: &Environment,
) -> Result<Option<Server>, SetupError> {
    Ok(None)
}

/// Kubernetes, of which no value can exist in this build.
pub struct Kubernetes<'a> {
    never: Server,
    of_a_site: PhantomData<&'a ()>,
}

#[allow(clippy::missing_errors_doc, reason = "none of them can be called")]
#[allow(missing_docs, reason = "as in builds that know Kubernetes")]
impl<'a> Kubernetes<'a> {
    pub(super) fn new(server: &'a Server, _clock: Clock) -> Kubernetes<'a> {
        Kubernetes { never: *server, of_a_site: PhantomData }
    }

    pub async fn pod(&self, _: &str, _: &str, _: Duration) -> Result<Option<Json>, StoreError> {
        match self.never {}
    }

    pub async fn namespace(&self, _: &str, _: Duration) -> Result<Option<Json>, StoreError> {
        match self.never {}
    }

    pub async fn namespace_labels(
        &self,
        _: &str,
        _: Duration,
    ) -> Result<Option<BTreeMap<String, String>>, StoreError> {
        match self.never {}
    }

    pub async fn of_kubevirt(
        &self,
        _: &str,
        _: &str,
        _: &str,
        _: Duration,
    ) -> Result<Option<Json>, StoreError> {
        match self.never {}
    }

    pub async fn look(&self, _: &ReadSet, _: Duration) -> Result<View, StoreError> {
        match self.never {}
    }

    pub async fn label_affinities(&self, _: &str, _: Duration) -> Result<usize, StoreError> {
        match self.never {}
    }
}
