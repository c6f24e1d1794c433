//! etcd v3: the cluster's store, shared with Calico's own processes.
//!
//! Keys, values and compare-and-swap are Calico's (`libcalico-go/lib/backend/etcdv3`): a create compares
//! `Version` with 0, an update or delete compares `ModRevision` with the revision that was read. Where Calico
//! makes one request for each record, this makes one transaction of all that belongs together.
//!
//! * **A read set is one transaction of ranges**, linearizable. A set of more ranges than a transaction may
//!   hold is cut into several.
//! * **A batch is one transaction.** It compares every key that is written, every guarded record, and a range
//!   for each guarded scope. If a compare fails, the same transaction fetches what is stored, so that a
//!   refusal needs no second request. A batch is cut where it deletes and creates one key, at 128 operations,
//!   and where the server finds a transaction too large.
//! * **Connections are made when they are needed**, one to each member. No call asks for a member's health
//!   first. A read that gets no answer is sent to the next member too, and the first answer counts. A commit
//!   goes to another member only while it is certain that nothing was sent, or that the member did not
//!   process it (GOAWAY, REFUSED_STREAM).
//! * **Nothing outlives its deadline**: a commit that was sent and not answered is reported as unknown.
//! * **All requests demand a leader**, so that a member that was cut off from its cluster says so instead of
//!   waiting.

mod discovery;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod door;
mod fault;
mod lead;
mod members;
mod options;
mod reading;
mod silence;
mod unknown;
mod watching;
mod writing;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::{Batch, Report};
use crate::error::StoreError;
pub use crate::pem::Pem;
use crate::port::Store;
use crate::read::{ReadSet, Scope};
use crate::view::View;
pub use lead::Hold;
use members::Cluster;
pub use options::{Discovery, EtcdCertificates, EtcdOptions};
pub use watching::EtcdWatch;

/// A store in etcd. Clones share the connections.
///
/// Calls to it need a tokio runtime with time and I/O enabled.
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
    /// [`StoreError::Unusable`] for a text that is no URL, for a certificate or key that cannot be read or
    /// parsed, for a certificate without a key, and where no endpoint is given.
    pub fn open(options: EtcdOptions) -> Result<EtcdStore, StoreError> {
        Ok(EtcdStore { cluster: Arc::new(Cluster::new(options)?) })
    }

    /// The keys below a prefix, which ends in `/`, with their values as text.
    ///
    /// # Errors
    /// When etcd cannot be read.
    pub async fn texts_below(
        &self,
        prefix: &str,
        within: Duration,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let end = self.cluster.patience().end_of_call(within);
        unknown::texts_below(&self.cluster, prefix, end).await
    }

    /// Takes a key for this process alone, if nobody has it: it is there while a lease of `seconds` seconds
    /// is kept ([`EtcdStore::keep`]). `None` where another process has it. The key must be none of Calico's.
    ///
    /// # Errors
    /// When etcd gives no answer. The key may then be taken until the lease ends.
    pub async fn hold(
        &self,
        key: &str,
        value: &str,
        seconds: u32,
        within: Duration,
    ) -> Result<Option<Hold>, StoreError> {
        let end = self.cluster.patience().end_of_call(within);
        Box::pin(lead::hold(&self.cluster, key, value, seconds, end)).await
    }

    /// Lets the lease of a key begin anew. Gives `false` where the lease has ended or somebody has removed
    /// the key: then this process does not have it any more.
    ///
    /// # Errors
    /// When etcd gives no answer.
    pub async fn keep(&self, hold: &Hold, within: Duration) -> Result<bool, StoreError> {
        Box::pin(lead::keep(&self.cluster, hold, self.cluster.patience().end_of_call(within))).await
    }

    /// Lets go of a key: another process may take it at once.
    ///
    /// # Errors
    /// When etcd gives no answer. Then the key goes when the lease ends.
    pub async fn let_go(&self, hold: Hold, within: Duration) -> Result<(), StoreError> {
        Box::pin(lead::let_go(&self.cluster, &hold, self.cluster.patience().end_of_call(within))).await
    }

    /// The keys below `/calico/` that this program does not know: policies, profiles, and those by which
    /// Calico's own processes talk to each other.
    ///
    /// # Errors
    /// When etcd cannot be read.
    pub async fn unknown_keys(&self, within: Duration) -> Result<Vec<String>, StoreError> {
        unknown::unknown_keys(&self.cluster, self.cluster.patience().end_of_call(within)).await
    }
}

impl Store for EtcdStore {
    type Watch = EtcdWatch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        // Boxed: callers keep this future inside their own, which would grow with it.
        Box::pin(reading::read(&self.cluster, set, self.cluster.patience().end_of_call(within))).await
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        Box::pin(writing::commit(&self.cluster, batch, self.cluster.patience().end_of_call(within))).await
    }

    async fn watch(&self, scope: Scope) -> Result<EtcdWatch, StoreError> {
        Ok(EtcdWatch::new(self.cluster.clone(), scope))
    }
}
