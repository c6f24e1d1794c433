//! The orchestrator in builds with Kubernetes: the API server.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;
use setup::reach::PATIENCE;
use setup::{Clock, Environment, Reached, Settings, SetupError};
use store::kubernetes::{KubeStore, ObjectName};
use store::{AnyStore, ReadSet, StoreError, View};

pub(super) type Server = KubeStore;

/// The API server that is the store; `None` for another store.
pub(super) fn of(store: &AnyStore) -> Option<Server> {
    match store {
        AnyStore::Kubernetes(server) => Some(server.clone()),
        _ => None,
    }
}

/// The API server that the settings lead to; `None` where they name none.
pub(super) fn connect(settings: &Settings, environment: &Environment) -> Result<Option<Server>, SetupError> {
    setup::connect_kubernetes(settings, environment).map(Some)
}

/// Kubernetes, as one request uses it. Each question is sent again until there is an answer, a permanent
/// error, or no time left.
pub struct Kubernetes<'a> {
    server: Reached<'a, KubeStore>,
}

impl<'a> Kubernetes<'a> {
    pub(super) fn new(server: &'a Server, clock: Clock) -> Kubernetes<'a> {
        Kubernetes { server: Reached::new(server, clock, PATIENCE) }
    }

    /// A pod; `None` where no pod has that name.
    ///
    /// # Errors
    /// When Kubernetes gives no answer.
    pub async fn pod(
        &self,
        namespace: &str,
        name: &str,
        within: Duration,
    ) -> Result<Option<Json>, StoreError> {
        self.object(ObjectName::pod(namespace, name), within).await
    }

    /// A namespace; `None` where no namespace has that name.
    ///
    /// # Errors
    /// As [`Kubernetes::pod`].
    pub async fn namespace(&self, name: &str, within: Duration) -> Result<Option<Json>, StoreError> {
        self.object(ObjectName::namespace(name), within).await
    }

    /// The labels of a namespace; `None` where no namespace has that name.
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

    /// An object of KubeVirt, by the plural of its kind; `None` where there is none.
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

    /// Reads Kubernetes Nodes, as records of a store.
    ///
    /// # Errors
    /// The store's.
    pub async fn look(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        self.server.look(set, within).await
    }

    /// Adds the labels by which affinities are found to those affinities of a host that old releases of
    /// Calico wrote without them. Gives how many these were.
    ///
    /// # Errors
    /// The store's.
    pub async fn label_affinities(&self, host: &str, within: Duration) -> Result<usize, StoreError> {
        let server = self.server.server();
        self.server.insist(within, |within| server.label_affinities(host, within)).await
    }
}
