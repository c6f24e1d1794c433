//! The access to what only Kubernetes knows, whatever the store is: services, virtual machines, the UIDs of
//! objects.

use std::path::Path;
use std::time::Duration;

use api::Key;
use serde_json::Value as Json;
use setup::{Environment, Field, Origin, Settings, SetupError};
use store::kubernetes::{KubeStore, ObjectName};
use store::{AnyStore, StoreError};

use crate::session::Session;

/// A Kubernetes API server.
pub struct Kubernetes {
    server: KubeStore,
    /// How long an answer may bring nothing.
    within: Duration,
}

impl Kubernetes {
    /// The API server that is the store; `None` for another store.
    pub fn of(session: &Session) -> Option<Kubernetes> {
        match session.store.inner() {
            AnyStore::Kubernetes(server) => {
                Some(Kubernetes { server: server.clone(), within: session.within })
            }
            _ => None,
        }
    }

    /// The API server that a kubeconfig names.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub fn named(kubeconfig: &Path, within: Duration) -> Result<Kubernetes, SetupError> {
        let nothing = Environment::default();
        let mut settings = Settings::from_environment(&nothing)?;
        let origin = Origin::Variable("--kubeconfig".to_string());
        settings.set(Field::Kubeconfig, &kubeconfig.to_string_lossy(), origin);
        setup::connect_kubernetes(&settings, &nothing).map(|server| Kubernetes { server, within })
    }

    /// All services.
    ///
    /// # Errors
    /// When the server gives no answer.
    pub async fn services(&self) -> Result<Vec<Json>, StoreError> {
        self.server.services(self.within).await
    }

    /// Whether KubeVirt has a virtual machine of that name, running or not.
    ///
    /// # Errors
    /// When the server gives no answer.
    pub async fn has_machine(&self, namespace: &str, name: &str) -> Result<bool, StoreError> {
        for plural in ["virtualmachines", "virtualmachineinstances"] {
            let api = "/apis/kubevirt.io/v1";
            let object = ObjectName { api, plural, namespace: Some(namespace), name };
            if self.server.object(object, self.within).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The UIDs of the objects that hold these records, as Calico shows them.
    ///
    /// # Errors
    /// When the server gives no answer.
    pub async fn uids(&self, keys: &[Key]) -> Result<Vec<Option<String>>, StoreError> {
        let mut uids = Vec::with_capacity(keys.len());
        // Each part may take as long as any other call.
        for part in keys.chunks(500) {
            uids.extend(self.server.uids(part, self.within).await?);
        }
        Ok(uids)
    }
}
