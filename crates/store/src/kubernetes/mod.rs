//! The Kubernetes API server: the cluster's store, shared with Calico's own processes in Kubernetes mode.
//!
//! Objects, names, labels and compare-and-swap are Calico's (`libcalico-go/lib/backend/k8s`): see
//! [`api::crd`].
//!
//! * **The parts of a read set are read at the same time**, over one connection: each key by a GET, each
//!   scope in pages of 500. Lists of affinities carry a label selector. Each read is consistent; the records
//!   of a view may be of different moments.
//! * **A batch is written in order**, one request for each write, and ends at the first refusal. Guards are
//!   not honoured: the API server offers nothing to honour them with.
//! * **Blocks, affinities and handles are deleted in two phases**: a PUT that flags the object, which is the
//!   compare-and-swap, then a DELETE of that very object. An object that a crash left flagged reads as
//!   absent, and a create of its record removes it first. [`Deletion::Atomic`] needs only one request. There
//!   is one exception: a scope of blocks that is read at [`Depth::Key`](crate::Depth::Key) may still show a
//!   flagged block. Such a list uses the server's short form, which is a tenth as large for full blocks and
//!   does not contain the flag. A caller that must know whether any block is left reads headers.
//! * **Nodes and WorkloadEndpoints are views of Kubernetes Nodes and Pods.** The store does not create or
//!   delete them: a put changes the annotations of the Node, or of the Pod behind an endpoint, and deleting
//!   an endpoint empties these annotations.
//! * **A short watch of Nodes** has the server send their metadata alone, which hold the labels and Calico's
//!   annotations: a Node's conditions and images are many times as large, and kubelets write them again and
//!   again. A short watch of affinities leaves out those that are pending, where the definition lets clients
//!   select by that field, as ours does.
//! * **Names have rules**: a handle whose name no object can bear is refused as
//!   [`Refusal::Name`](crate::Refusal::Name), and so is a handle whose name differs from another's in case
//!   alone.
//! * **A connection may go away** under a read, or under a write that the server says it did not process
//!   (GOAWAY, REFUSED_STREAM). Then the store connects and sends the request again, a few times. Any other
//!   write that was sent and not answered is not sent again.
//! * **Nothing outlives its deadline**: a write that was sent and not answered is reported as unknown. Where
//!   the server asks to wait (429), a call waits as long as its deadline allows.

mod bounded;
mod burial;
mod connection;
mod credentials;
mod definitions;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod door;
mod exec;
mod fault;
mod kubeconfig;
mod lines;
mod namespace;
mod objects;
mod options;
mod pace;
mod pages;
mod place;
mod pods;
mod proxy;
mod reading;
mod recent;
mod removing;
mod service_account;
mod strangers;
mod strays;
mod stream;
mod unlabelled;
mod watching;
mod writing;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::crd::{Group, PodState};
use api::{DecodeError, Key};
use serde_json::Value as Json;
use tokio::time::Instant;

use crate::batch::{Batch, Report};
use crate::error::StoreError;
pub use crate::pem::Pem;
use crate::port::Store;
use crate::read::{ReadSet, Scope};
use crate::strangers::StrangerKind;
use crate::titles::Titles;
use crate::view::View;
use connection::Server;
pub use definitions::{Defined, Definition, Undefined};
use fault::RequestFault;
pub use objects::{ObjectName, ObjectPatch, PatchKind, Replaced};
pub use options::{Deletion, InCluster, KubeOptions, Kubeconfig, Proxies};
use place::Form;
pub use pods::{PodEvent, PodWatch};
pub use service_account::{Address, ServiceAccount, ServiceToken};
pub use strays::Stray;
pub use watching::KubeWatch;

/// A store in a Kubernetes API server. Clones share the connection.
///
/// Calls to it need a tokio runtime with time and I/O enabled. All calls must use the same runtime.
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
    /// Reads kubeconfig, certificates and token. Nothing is sent before the first call, and no credential
    /// plugin is run.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] or [`StoreError::Denied`] for a file that cannot be read or makes no sense,
    /// and where no server is named.
    pub fn open(options: KubeOptions) -> Result<KubeStore, StoreError> {
        Ok(KubeStore { server: Arc::new(Server::new(options)?) })
    }

    /// The group that holds the custom resources: the configured one, else the one that the server lists.
    ///
    /// # Errors
    /// When the server gives no answer.
    pub async fn group(&self, within: Duration) -> Result<Group, StoreError> {
        self.server.group(self.end(within)).await.map_err(RequestFault::into_error)
    }

    /// How the server's messages call records. It is known once the group is.
    pub fn titles(&self) -> Titles {
        let server = self.server.clone();
        Titles::new(move |key| {
            let place = place::of_key(server.known_group()?, key).ok()?;
            Some(format!("{} {:?}", place.plural(), place.name))
        })
    }

    /// Creates those CustomResourceDefinitions that do not exist, and waits until the objects of all of them
    /// can be listed. It changes no existing definition.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] for a definition that the server refuses, or whose names another definition
    /// has taken; else as for reads.
    pub async fn define(
        &self,
        definitions: &[Definition<'_>],
        within: Duration,
    ) -> Result<Vec<Defined>, StoreError> {
        definitions::define(&self.server, definitions, Instant::now() + within).await
    }

    /// The labels of a namespace; `None` where no namespace has that name.
    ///
    /// # Errors
    /// As for reads.
    pub async fn namespace_labels(
        &self,
        name: &str,
        within: Duration,
    ) -> Result<Option<BTreeMap<String, String>>, StoreError> {
        namespace::labels(&self.server, name, self.end(within)).await
    }

    /// An object of Kubernetes' own; `None` where no object has that name, or the server does not have the
    /// kind.
    ///
    /// # Errors
    /// As for reads.
    pub async fn object(&self, name: ObjectName<'_>, within: Duration) -> Result<Option<Json>, StoreError> {
        objects::object(&self.server, name, self.end(within)).await
    }

    /// Patches an object of Kubernetes' own. Gives what it is now; `None` where no object has that name. A
    /// patch names only what it changes, so it undoes nobody's change of other fields, and sending it again
    /// does no harm.
    ///
    /// # Errors
    /// As for reads; [`StoreError::Unusable`] where the server's rules refuse the patch. After
    /// [`StoreError::Unavailable`] it may have been carried out.
    pub async fn patch_object(
        &self,
        patch: ObjectPatch<'_>,
        within: Duration,
    ) -> Result<Option<Json>, StoreError> {
        objects::patch(&self.server, patch, self.end(within)).await
    }

    /// Creates an object of Kubernetes' own. Tells whether it did: `false` where an object of that name
    /// exists.
    ///
    /// # Errors
    /// As for [`KubeStore::patch_object`].
    pub async fn create_object(
        &self,
        name: ObjectName<'_>,
        object: &Json,
        within: Duration,
    ) -> Result<bool, StoreError> {
        objects::create(&self.server, name, object, self.end(within)).await
    }

    /// Watches all pods.
    pub fn watch_pods(&self) -> PodWatch {
        PodWatch::new(self.server.clone())
    }

    /// A pod as it is now; `None` where no pod has that name, and an error inside where the pod cannot be
    /// read.
    ///
    /// # Errors
    /// As for reads.
    pub async fn pod(
        &self,
        namespace: &str,
        name: &str,
        within: Duration,
    ) -> Result<Option<Result<PodState, DecodeError>>, StoreError> {
        pods::one(&self.server, namespace, name, self.end(within)).await
    }

    /// Stores an object in the place of the state whose `metadata.resourceVersion` it names. With `status`,
    /// only its status is stored. It is the compare-and-swap of objects that are no records.
    ///
    /// # Errors
    /// As for [`KubeStore::patch_object`].
    pub async fn replace_object(
        &self,
        name: ObjectName<'_>,
        status: bool,
        object: &Json,
        within: Duration,
    ) -> Result<Replaced, StoreError> {
        objects::replace(&self.server, name, status, object, self.end(within)).await
    }

    /// All services of Kubernetes, in all namespaces.
    ///
    /// # Errors
    /// As for reads.
    pub async fn services(&self, within: Duration) -> Result<Vec<Json>, StoreError> {
        objects::services(&self.server, Instant::now() + within).await
    }

    /// All objects of a kind that is no record here; none where the server does not have the kind. See
    /// [`crate::strangers::Strangers`].
    ///
    /// # Errors
    /// As for reads.
    pub async fn strangers(&self, kind: StrangerKind, within: Duration) -> Result<Vec<Json>, StoreError> {
        strangers::list(&self.server, kind, self.end(within)).await
    }

    /// The DaemonSets of Calico's node agent.
    ///
    /// # Errors
    /// As for reads.
    pub async fn calico_nodes(&self, within: Duration) -> Result<Vec<String>, StoreError> {
        strangers::calico_nodes(&self.server, self.end(within)).await
    }

    /// The workloads of that plural and name, in whatever namespace.
    ///
    /// # Errors
    /// As for reads.
    pub async fn workloads(
        &self,
        plural: &str,
        name: &str,
        within: Duration,
    ) -> Result<Vec<Json>, StoreError> {
        strangers::workloads(&self.server, plural, name, self.end(within)).await
    }

    /// The Deployments of Calico's kube-controllers of which a replica is ready.
    ///
    /// # Errors
    /// As for reads.
    pub async fn calico_controllers(&self, within: Duration) -> Result<Vec<String>, StoreError> {
        strangers::calico_controllers(&self.server, self.end(within)).await
    }

    /// The UIDs of the objects that hold these records, as Calico shows them; `None` for a record that is
    /// gone, or cannot be read.
    ///
    /// # Errors
    /// As for reads.
    pub async fn uids(&self, keys: &[Key], within: Duration) -> Result<Vec<Option<String>>, StoreError> {
        reading::uids(&self.server, keys, Instant::now() + within).await
    }

    /// The file of this client's own token, where it is in one. Whoever changes the token writes it again.
    pub fn token_file(&self) -> Option<&Path> {
        self.server.token_file()
    }

    /// Where the server is, for a program that asks it under another account.
    pub fn address(&self) -> Address {
        service_account::address(&self.server)
    }

    /// Asks for a token of a service account that lasts about `seconds`; `None` where no account has that
    /// name.
    ///
    /// # Errors
    /// As for reads.
    pub async fn token(
        &self,
        account: &ServiceAccount,
        seconds: u32,
        within: Duration,
    ) -> Result<Option<ServiceToken>, StoreError> {
        service_account::token(&self.server, account, seconds, self.end(within)).await
    }

    /// Writes the labels by which affinities are found to those affinities of a host that old releases wrote
    /// without them. Gives how many it labelled.
    ///
    /// # Errors
    /// As for reads. The affinities that were labelled before the error stay labelled.
    pub async fn label_affinities(&self, host: &str, within: Duration) -> Result<usize, StoreError> {
        unlabelled::label(&self.server, host, self.end(within)).await
    }

    /// Removes the blocks and affinities whose deletions a crash has interrupted. Gives how many it found. (A
    /// read of all handles removes such handles.)
    ///
    /// # Errors
    /// As for reads. What was removed before the error stays removed.
    pub async fn bury(&self, within: Duration) -> Result<usize, StoreError> {
        burial::bury_all(&self.server, Instant::now() + within).await
    }

    /// When a call has to end at the latest.
    fn end(&self, within: Duration) -> Instant {
        self.server.patience().end_of_call(within)
    }

    /// The API server's host, a name or an address, as the configuration names it.
    pub fn host(&self) -> Option<&str> {
        self.server.host()
    }

    /// How many requests were sent so far, watches' included.
    pub fn requests(&self) -> u64 {
        self.server.requests()
    }
}

impl Store for KubeStore {
    type Watch = KubeWatch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        reading::read(&self.server, set, self.end(within)).await
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        writing::commit(&self.server, batch, self.end(within)).await
    }

    async fn watch(&self, scope: Scope) -> Result<KubeWatch, StoreError> {
        Ok(KubeWatch::new(self.server.clone(), scope, Form::Whole))
    }

    async fn watch_short(&self, scope: Scope) -> Result<KubeWatch, StoreError> {
        Ok(KubeWatch::new(self.server.clone(), scope, Form::Short))
    }
}
