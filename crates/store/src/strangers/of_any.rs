//! The objects of every backend that is built in.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{StrangerKind, Strangers};
use crate::any::AnyStore;
use crate::error::StoreError;

/// The group of Calico's kinds, as users see it.
const CALICO: &str = "projectcalico.org";
/// Where Felix says in a key-value store that it runs on a host. The keys end by themselves soon after Felix.
const FELIX: &str = "/calico/felix/v2/";

impl Strangers for AnyStore {
    async fn strangers(&self, kind: StrangerKind, within: Duration) -> Result<Vec<Json>, StoreError> {
        match self {
            #[cfg(feature = "kubernetes")]
            AnyStore::Kubernetes(store) => store.strangers(kind, within).await,
            _ if kind.group != CALICO => Ok(Vec::new()),
            _ => {
                let prefix = format!("/calico/resources/v3/{CALICO}/{}/", kind.plural);
                let found = self.texts_below(&prefix, within).await?;
                Ok(found.into_iter().map(|(key, text)| object(&key[prefix.len()..], &text)).collect())
            }
        }
    }

    async fn calico_nodes(&self, within: Duration) -> Result<Vec<String>, StoreError> {
        match self {
            #[cfg(feature = "kubernetes")]
            AnyStore::Kubernetes(store) => store.calico_nodes(within).await,
            _ => {
                let found = self.texts_below(FELIX, within).await?;
                let host = |key: &str| {
                    let host = key.strip_suffix("/status")?.rsplit_once("/host/")?.1;
                    Some(format!("host {host}"))
                };
                Ok(found.iter().filter_map(|(key, _)| host(key)).collect())
            }
        }
    }

    async fn api_version(&self, within: Duration) -> Result<Option<String>, StoreError> {
        // Where Kubernetes is not built in, nothing reads this.
        let _ = within;
        match self {
            #[cfg(feature = "kubernetes")]
            AnyStore::Kubernetes(store) => Ok(Some(store.group(within).await?.api_version().to_string())),
            #[allow(unreachable_patterns, reason = "depends on which backends are built in")]
            _ => Ok(None),
        }
    }

    async fn workloads(&self, plural: &str, name: &str, within: Duration) -> Result<Vec<Json>, StoreError> {
        // Where Kubernetes is not built in, nothing reads these.
        let _ = (plural, name, within);
        match self {
            #[cfg(feature = "kubernetes")]
            AnyStore::Kubernetes(store) => store.workloads(plural, name, within).await,
            #[allow(unreachable_patterns, reason = "depends on which backends are built in")]
            _ => Ok(Vec::new()),
        }
    }
}

impl AnyStore {
    async fn texts_below(&self, prefix: &str, within: Duration) -> Result<Vec<(String, String)>, StoreError> {
        // Where no backend is built in, nothing reads these.
        let _ = (prefix, within);
        match self {
            #[cfg(feature = "sqlite")]
            AnyStore::Sqlite(store) => store.texts_below(prefix, within).await,
            #[cfg(feature = "etcd")]
            AnyStore::Etcd(store) => store.texts_below(prefix, within).await,
            #[allow(unreachable_patterns, reason = "depends on which backends are built in")]
            _ => Ok(Vec::new()),
        }
    }
}

/// The object of a key's end, `name` or `namespace/name`. Where the value cannot be read, it is an object
/// with a name alone: it is there.
fn object(path: &str, text: &str) -> Json {
    if let Ok(object @ Json::Object(_)) = serde_json::from_str(text) {
        return object;
    }
    match path.split_once('/') {
        Some((namespace, name)) => json!({"metadata": {"namespace": namespace, "name": name}}),
        None => json!({"metadata": {"name": path}}),
    }
}
