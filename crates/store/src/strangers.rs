//! Objects of kinds that are no records here: policies, Felix's settings and the like. They are only listed,
//! for saying what a cluster uses.

#[cfg(any(feature = "etcd", feature = "kubernetes", feature = "memory", feature = "sqlite"))]
mod of_any;

use std::future::Future;
use std::time::Duration;

use serde_json::Value as Json;

use crate::error::StoreError;

/// A kind, by its group and its plural.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrangerKind {
    /// The group as users see it, such as `projectcalico.org` or `networking.k8s.io`.
    pub group: &'static str,
    /// The plural, such as `networkpolicies`.
    pub plural: &'static str,
}

impl std::fmt::Display for StrangerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.plural, self.group)
    }
}

/// A store that also tells what it holds besides records.
pub trait Strangers: Send + Sync {
    /// All objects of a kind, as JSON. There are none where the store does not have the kind.
    ///
    /// # Errors
    /// As for reads; [`StoreError::Denied`] where this client may not list the kind.
    fn strangers(
        &self,
        kind: StrangerKind,
        within: Duration,
    ) -> impl Future<Output = Result<Vec<Json>, StoreError>> + Send;

    /// Where Calico's own node agent runs: on Kubernetes the DaemonSets named `calico-node`, on etcd the
    /// hosts on which Felix runs now.
    ///
    /// # Errors
    /// As for [`Strangers::strangers`].
    fn calico_nodes(&self, within: Duration) -> impl Future<Output = Result<Vec<String>, StoreError>> + Send;

    /// The group and version of Calico's custom resources, such as `crd.projectcalico.org/v1`; none where the
    /// store is not Kubernetes.
    ///
    /// # Errors
    /// As for [`Strangers::strangers`].
    fn api_version(
        &self,
        within: Duration,
    ) -> impl Future<Output = Result<Option<String>, StoreError>> + Send;

    /// Kubernetes' workloads of that plural (`daemonsets`, `deployments`) and name, in whatever namespace, as
    /// JSON; none where the store is not Kubernetes.
    ///
    /// # Errors
    /// As for [`Strangers::strangers`].
    fn workloads(
        &self,
        plural: &str,
        name: &str,
        within: Duration,
    ) -> impl Future<Output = Result<Vec<Json>, StoreError>> + Send;
}
