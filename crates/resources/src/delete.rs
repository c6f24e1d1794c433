//! Deletion, where nothing goes along with it; pools and nodes have their own files.

use api::capability::Operation;
use api::{Kind, Resource};
use ipam::Effects;
use store::{Batch, Expect, Store};

use crate::client::{Client, Committed, TRIES};
use crate::config;
use crate::error::{Error, Identifier};
use crate::metadata;

impl<S: Store, E: Effects> Client<'_, S, E> {
    /// Deletes a resource and what goes along with it; gives what it was, as readers saw it. `wanted`, where given, is the revision that it must be at.
    ///
    /// # Errors
    /// [`Error::DoesNotExist`], [`Error::Conflict`], [`Error::NotSupported`]; the store's.
    pub async fn delete(&self, id: &Identifier, wanted: Option<&str>) -> Result<Resource, Error> {
        let wanted = wanted.filter(|version| !version.is_empty());
        self.allow(Operation::Delete, id)?;
        match id.kind {
            Kind::IPPool => self.delete_pool(id, wanted).await,
            Kind::Node => self.delete_node(id, wanted).await,
            _ => self.delete_alone(id, wanted).await,
        }
    }

    /// Deletes just the record, and the allocator's configuration with the resource that stands for it.
    pub(crate) async fn delete_alone(
        &self,
        id: &Identifier,
        wanted: Option<&str>,
    ) -> Result<Resource, Error> {
        let key = id.key();
        let twin = config::is_twin(self.backend, id.kind, &id.name);
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.pause(attempt).await;
            }
            let (view, stored, revision) = self.stored(id, wanted).await?;
            let mut batch = Batch::new();
            batch.delete(key.clone(), Expect::Revision(revision.clone()));
            if twin {
                config::delete(&mut batch, &view);
            }
            if let Committed::Applied(_) = self.commit(&batch, id).await? {
                return Ok(metadata::shown(&stored, &revision));
            }
        }
        Err(Error::Conflict(id.clone()))
    }
}
