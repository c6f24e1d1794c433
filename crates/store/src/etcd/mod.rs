//! etcd v3: the cluster's store, shared with Calico's own processes.
//!
//! Keys, values and compare-and-swap are Calico's (`libcalico-go/lib/backend/etcdv3`): a create compares `Version` with 0, an update or delete `ModRevision`
//! with the revision that was read. Where Calico makes one request a record, this makes one transaction for what belongs together.
//!
//! * **A read set is one transaction of ranges**, linearizable. More ranges than a transaction may hold are cut.
//! * **A batch is one transaction**, with a compare for every key and guarded record, and one of a range for a guarded scope; the failed branch fetches what
//!   is there, so that a refusal needs no second request. It is cut at a delete and create of one key, at 128 operations, and where the server finds a
//!   transaction too large.
//! * **Connections are made when they are needed**, one to a member. No call asks for health first. A read that gets no answer is asked of the next
//!   member too, and the first answer counts; a commit goes to another member only while it is certain that nothing was sent, or that the
//!   member did not process it (GOAWAY, REFUSED_STREAM).
//! * **Nothing outlives its deadline**: a commit that was sent and not answered is reported as unknown.
//! * All requests demand a leader, so that a member that was cut off from its cluster says so instead of waiting.

mod discovery;
mod fault;
mod members;
mod options;
mod reading;
mod unknown;
mod watching;
mod writing;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::batch::{Batch, Report};
use crate::error::StoreError;
pub use crate::pem::Pem;
use crate::port::Store;
use crate::read::{ReadSet, Scope};
use crate::view::View;
use members::Cluster;
pub use options::{Discovery, Options, Tls};
pub use watching::EtcdWatch;

/// A store in etcd. Clones share the connections.
///
/// Its calls need a tokio runtime with time and I/O enabled.
#[derive(Clone)]
pub struct EtcdStore {
    cluster: Arc<Cluster>,
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").field("cluster", &self.cluster).finish()
    }
}

impl EtcdStore {
    /// Reads certificates and checks the URLs. Nothing is sent before the first call.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] for a URL that is none, a certificate or key that cannot be read or is none, a certificate without key; and where
    /// there is no endpoint.
    pub fn open(options: Options) -> Result<EtcdStore, StoreError> {
        Ok(EtcdStore { cluster: Arc::new(Cluster::new(options)?) })
    }

    /// The keys of Calico's that this program does not know: policies, profiles, what Calico's own processes tell each other.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn unknown_keys(&self, within: Duration) -> Result<Vec<String>, StoreError> {
        unknown::unknown_keys(&self.cluster, Instant::now() + within).await
    }
}

impl Store for EtcdStore {
    type Watch = EtcdWatch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        // On the heap, as callers keep these in futures of their own.
        Box::pin(reading::read(&self.cluster, set, Instant::now() + within)).await
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        Box::pin(writing::commit(&self.cluster, batch, Instant::now() + within)).await
    }

    async fn watch(&self, scope: Scope) -> Result<EtcdWatch, StoreError> {
        Ok(EtcdWatch::new(self.cluster.clone(), scope))
    }
}
