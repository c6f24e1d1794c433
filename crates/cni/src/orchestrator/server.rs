//! In builds that know Kubernetes: its API server.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;
use setup::reach::PATIENCE;
use setup::{Clock, Environment, Reached, Settings, SetupError};
use store::kubernetes::{KubeStore, ObjectName};
use store::{AnyStore, ReadSet, StoreError, View};

pub(super) type Server = KubeStore;

/// The server that the store is.
pub(super) fn of(store: &AnyStore) -> Option<Server> {
    match store {
        AnyStore::Kubernetes(server) => Some(server.clone()),
        _ => None,
    }
}

/// The server that the settings lead to.
pub(super) fn connect(settings: &Settings, environment: &Environment) -> Result<Option<Server>, SetupError> {
    setup::connect_kubernetes(settings, environment).map(Some)
}

/// Kubernetes, as one request asks it. Each question is put again until there is an answer, no hope of one,
/// or no time left.
pub struct Kubernetes<'a> {
    server: Reached<'a, KubeStore>,
}

impl<'a> Kubernetes<'a> {
    pub(super) fn new(server: &'a Server, clock: Clock) -> Kubernetes<'a> {
        Kubernetes { server: Reached::new(server, clock, PATIENCE) }
    }

    /// A pod; `None` where there is none of that name.
    ///
    /// # Errors
    /// When Kubernetes does not say.
    pub async fn pod(
        &self,
        namespace: &str,
        name: &str,
        within: Duration,
    ) -> Result<Option<Json>, StoreError> {
        self.object(ObjectName::pod(namespace, name), within).await
    }

    /// A namespace.
    ///
    /// # Errors
    /// As [`Kubernetes::pod`].
    pub async fn namespace(&self, name: &str, within: Duration) -> Result<Option<Json>, StoreError> {
        self.object(ObjectName::namespace(name), within).await
    }

    /// The labels of a namespace.
    ///
    /// # Errors
    /// As [`Kubernetes::pod`].
    pub async fn namespace_labels(
        &self,
        name: &str,
        within: Duration,
    ) -> Result<Option<BTreeMap<String, String>>, StoreError> {
        let server = self.server.server();
        self.server.insist(within, |within| server.namespace_labels(name, within)).await
    }

    /// An object of KubeVirt's, by the plural of its kind.
    ///
    /// # Errors
    /// As [`Kubernetes::pod`].
    pub async fn of_kubevirt(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
        within: Duration,
    ) -> Result<Option<Json>, StoreError> {
        let api = "/apis/kubevirt.io/v1";
        self.object(ObjectName { api, plural, namespace: Some(namespace), name }, within).await
    }

    async fn object(&self, name: ObjectName<'_>, within: Duration) -> Result<Option<Json>, StoreError> {
        let server = self.server.server();
        self.server.insist(within, |within| server.object(name, within)).await
    }

    /// Reads records as of a store: nodes.
    ///
    /// # Errors
    /// The store's.
    pub async fn look(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        self.server.look(set, within).await
    }

    /// Gives a host's affinities that old releases of Calico wrote the labels by which they are found; tells
    /// how many there were.
    ///
    /// # Errors
    /// The store's.
    pub async fn label_affinities(&self, host: &str, within: Duration) -> Result<usize, StoreError> {
        let server = self.server.server();
        self.server.insist(within, |within| server.label_affinities(host, within)).await
    }
}
