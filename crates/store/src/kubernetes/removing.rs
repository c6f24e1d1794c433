//! What only a purge removes: definitions, objects that are no records, workloads.

use std::time::Duration;

use api::crd::Collection;
use tokio::time::Instant;

use super::KubeStore;
use super::definitions::{self, Undefined};
use super::fault::RequestFault;
use super::objects::{self, ObjectName};
use super::strays::{self, Stray};
use crate::error::StoreError;

impl KubeStore {
    /// The collections of records that the server does not serve: their definitions are missing.
    ///
    /// # Errors
    /// As for reads.
    pub async fn lacking(&self, within: Duration) -> Result<Vec<Collection>, StoreError> {
        definitions::lacking(&self.server, self.end(within)).await.map_err(RequestFault::into_error)
    }

    /// Removes those of these CustomResourceDefinitions that this program has brought, and waits until they
    /// are gone. **All of their objects go with them.** Gives of each, in their order, what became of it.
    pub async fn undefine(&self, names: &[&str], within: Duration) -> Vec<Result<Undefined, StoreError>> {
        definitions::undefine(&self.server, names, Instant::now() + within).await
    }

    /// Removes the objects of these collections that are no records: nobody can read them, or a crash left
    /// them flagged for deletion.
    ///
    /// # Errors
    /// As for reads. What was removed before the error stays removed.
    pub async fn remove_strays(
        &self,
        collections: &[Collection],
        within: Duration,
    ) -> Result<Vec<Stray>, StoreError> {
        strays::remove(&self.server, collections, self.end(within)).await
    }

    /// Removes an object of Kubernetes' own. The server keeps it until all that belongs to it is gone, such
    /// as the pods of a workload; [`KubeStore::object`] tells when. It is no error where there is none.
    ///
    /// # Errors
    /// As for [`KubeStore::patch_object`].
    pub async fn remove_object(&self, name: ObjectName<'_>, within: Duration) -> Result<(), StoreError> {
        objects::remove(&self.server, name, self.end(within)).await
    }
}
