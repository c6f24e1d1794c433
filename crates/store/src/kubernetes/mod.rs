//! The Kubernetes API server: the cluster's store, shared with Calico's own processes in Kubernetes mode.
//!
//! Objects, names, labels and compare-and-swap are Calico's (`libcalico-go/lib/backend/k8s`): see [`api::crd`].
//!
//! * **A read set is read side by side**, over one connection: a GET for a key, pages of 500 for a scope, those of affinities chosen by label. All reads
//!   are consistent ones; the records of a view are of different moments.
//! * **A batch is written in order**, a request a write, and ends at the first refusal. Guards are not honoured: there is nothing to honour them with.
//! * **Blocks, affinities and handles are deleted in two phases**: a PUT that flags the object, which is the compare-and-swap, then a DELETE of that
//!   very object. What a crash leaves flagged reads as absent, and whoever creates the record anew removes it first. [`Deletion::Atomic`] does it in one.
//!   Only a scope of blocks that is read for its keys alone may still show one: such a list is of the server's short form, a tenth of the whole where blocks are
//!   full, and does not tell. Whoever is about to conclude from it that no block is left looks at headers before.
//! * **Nodes and WorkloadEndpoints are views of Kubernetes Nodes and Pods.** They are not created or deleted here: a put changes a Node's annotations, or
//!   those of the Pod behind an endpoint, and deleting an endpoint empties them.
//! * **Names have rules**: a handle whose name no object can bear is refused as [`Refusal::Name`](crate::Refusal::Name), as is one that
//!   differs from another in case alone.
//! * **A connection that goes away** under a read, or under a write that the server says it did not process (GOAWAY, REFUSED_STREAM), is made again and the request
//!   sent again, a few times. Any other write that was sent and not answered is sent once.
//! * **Nothing outlives its deadline**: a write that was sent and not answered is reported as unknown. Where the server asks to wait (429), calls
//!   wait as long as theirs allows.

mod bounded;
mod connection;
mod credentials;
mod definitions;
mod exec;
mod fault;
mod kubeconfig;
mod namespace;
mod objects;
mod options;
mod pace;
mod place;
mod reading;
mod recent;
mod unlabelled;
mod watching;
mod writing;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use api::Key;
use api::crd::Group;
use serde_json::Value as Json;
use tokio::time::Instant;

use crate::batch::{Batch, Report};
use crate::error::StoreError;
pub use crate::pem::Pem;
use crate::port::Store;
use crate::read::{ReadSet, Scope};
use crate::view::View;
use connection::Server;
pub use definitions::{Defined, Definition};
use fault::Fault;
pub use objects::ObjectName;
pub use options::{Deletion, InCluster, Kubeconfig, Options};
pub use watching::KubeWatch;

/// A store in a Kubernetes API server. Clones share the connection.
///
/// Its calls need a tokio runtime with time and I/O enabled; all of them the same one.
#[derive(Clone)]
pub struct KubeStore {
    server: Arc<Server>,
}

impl fmt::Debug for KubeStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeStore").field("server", &self.server).finish()
    }
}

impl KubeStore {
    /// Reads kubeconfig, certificates and token. Nothing is sent before the first call, and no credential plugin is run.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] or [`StoreError::Denied`] for what cannot be read or makes no sense, and where no server is named.
    pub fn open(options: Options) -> Result<KubeStore, StoreError> {
        Ok(KubeStore { server: Arc::new(Server::new(options)?) })
    }

    /// The group that holds the custom resources: as set, or as the server says.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn group(&self, within: Duration) -> Result<Group, StoreError> {
        self.server.group(Instant::now() + within).await.map_err(Fault::into_error)
    }

    /// Creates those CustomResourceDefinitions that are not there, and waits until all of them are served. What is there already is left as it is.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] for a definition that the server refuses, or whose names others have; else as for reads.
    pub async fn define(
        &self,
        definitions: &[Definition<'_>],
        within: Duration,
    ) -> Result<Vec<Defined>, StoreError> {
        definitions::define(&self.server, definitions, Instant::now() + within).await
    }

    /// The labels of a namespace; `None` where there is none of that name.
    ///
    /// # Errors
    /// As for reads.
    pub async fn namespace_labels(
        &self,
        name: &str,
        within: Duration,
    ) -> Result<Option<BTreeMap<String, String>>, StoreError> {
        namespace::labels(&self.server, name, Instant::now() + within).await
    }

    /// An object of Kubernetes' own; `None` where there is none of that name, or no such kind.
    ///
    /// # Errors
    /// As for reads.
    pub async fn object(&self, name: ObjectName<'_>, within: Duration) -> Result<Option<Json>, StoreError> {
        objects::object(&self.server, name, Instant::now() + within).await
    }

    /// Gives a host's affinities that old releases wrote the labels by which they are found; tells how many there were.
    ///
    /// # Errors
    /// As for reads; those that were labelled before stay so.
    pub async fn label_affinities(&self, host: &str, within: Duration) -> Result<usize, StoreError> {
        unlabelled::label(&self.server, host, Instant::now() + within).await
    }

    /// How many requests were sent so far, watches included.
    pub fn requests(&self) -> u64 {
        self.server.requests()
    }
}

impl Store for KubeStore {
    type Watch = KubeWatch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        reading::read(&self.server, set, Instant::now() + within).await
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        writing::commit(&self.server, batch, Instant::now() + within).await
    }

    async fn watch(&self, scope: Scope) -> Result<KubeWatch, StoreError> {
        Ok(KubeWatch::new(self.server.clone(), scope))
    }

    fn title(&self, key: &Key) -> Option<String> {
        let place = place::of_key(self.server.known_group()?, key).ok()?;
        Some(format!("{} {:?}", place.plural(), place.name))
    }
}
