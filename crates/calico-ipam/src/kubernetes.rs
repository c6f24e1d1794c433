//! What only Kubernetes knows, or only its objects need.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value as Json;
use setup::{Clock, Environment, Settings, SetupError};
use store::kubernetes::{KubeStore, ObjectName};
use store::{AnyStore, StoreError};

use crate::request::REACHED_WITHIN;
use cni::args::go_quoted;
use cni::error::CniError;
use cni::reach::Reached;

/// Whether the datastore is Kubernetes.
pub fn is(store: &AnyStore) -> bool {
    matches!(store, AnyStore::Kubernetes(_))
}

/// The namespace that the pools' namespace selectors are about. Kubernetes is asked for its labels wherever the configuration names one, whatever the
/// datastore is; and the answer counts even if no pool has such a selector: a pod of a namespace that is gone gets no address.
pub struct Namespace {
    name: String,
    server: Reached<KubeStore>,
}

impl Namespace {
    /// The namespace of that name; `None` where nobody can be asked for it. On Kubernetes the store's connection serves for that too.
    ///
    /// # Errors
    /// Code 999: the settings do not lead to a server.
    pub fn new(
        name: &str,
        store: &AnyStore,
        settings: &Settings,
        environment: &Environment,
        clock: Clock,
    ) -> Result<Option<Namespace>, CniError> {
        let server = server(store, settings, environment, clock).map_err(|error| missed(name, error))?;
        Ok(Some(Namespace { name: name.to_string(), server }))
    }

    /// Its labels.
    ///
    /// # Errors
    /// Code 999: there is no such namespace, or Kubernetes does not say.
    pub async fn labels(&self, within: Duration) -> Result<BTreeMap<String, String>, CniError> {
        let server = self.server.server();
        let found = self.server.insist(within, |within| server.namespace_labels(&self.name, within)).await;
        let found = found.map_err(|error| missed(&self.name, error))?;
        found
            .ok_or_else(|| missed(&self.name, format_args!("namespaces {} not found", go_quoted(&self.name))))
    }
}

/// The server: that of the store where it is Kubernetes, else the one that the settings lead to.
fn server(
    store: &AnyStore,
    settings: &Settings,
    environment: &Environment,
    clock: Clock,
) -> Result<Reached<KubeStore>, SetupError> {
    let server = match store {
        AnyStore::Kubernetes(store) => store.clone(),
        _ => setup::connect_kubernetes(settings, environment)?,
    };
    Ok(Reached::new(server, clock, REACHED_WITHIN))
}

fn missed(name: &str, reason: impl std::fmt::Display) -> CniError {
    CniError::internal(format!("failed to get namespace {name}: {reason}"))
}

/// The objects that tell of virtual machines.
pub struct Objects {
    server: Reached<KubeStore>,
}

impl Objects {
    /// Whom to ask for them; `None` where nobody can be asked.
    ///
    /// # Errors
    /// Code 999: the settings do not lead to a server.
    pub fn new(
        store: &AnyStore,
        settings: &Settings,
        environment: &Environment,
        clock: Clock,
    ) -> Result<Option<Objects>, CniError> {
        let server = server(store, settings, environment, clock)
            .map_err(|error| CniError::internal(format!("failed to get VMI info: {error}")))?;
        Ok(Some(Objects { server }))
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

    /// An instance of a virtual machine.
    ///
    /// # Errors
    /// As [`Objects::pod`].
    pub async fn instance(
        &self,
        namespace: &str,
        name: &str,
        within: Duration,
    ) -> Result<Option<Json>, StoreError> {
        self.object(of_kubevirt("virtualmachineinstances", namespace, name), within).await
    }

    /// A virtual machine.
    ///
    /// # Errors
    /// As [`Objects::pod`].
    pub async fn machine(
        &self,
        namespace: &str,
        name: &str,
        within: Duration,
    ) -> Result<Option<Json>, StoreError> {
        self.object(of_kubevirt("virtualmachines", namespace, name), within).await
    }

    async fn object(&self, name: ObjectName<'_>, within: Duration) -> Result<Option<Json>, StoreError> {
        let server = self.server.server();
        self.server.insist(within, |within| server.object(name, within)).await
    }
}

fn of_kubevirt<'a>(plural: &'a str, namespace: &'a str, name: &'a str) -> ObjectName<'a> {
    ObjectName { api: "/apis/kubevirt.io/v1", plural, namespace: Some(namespace), name }
}

/// Gives those affinities of a host that lack them their labels; tells how many there were. Other stores than Kubernetes have none.
///
/// # Errors
/// Those of the store.
pub async fn label_affinities(store: &Reached, host: &str, within: Duration) -> Result<usize, StoreError> {
    match store.server() {
        AnyStore::Kubernetes(server) => {
            store.insist(within, |within| server.label_affinities(host, within)).await
        }
        _ => Ok(0),
    }
}
