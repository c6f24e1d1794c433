//! Deletion of a resource with which nothing else is deleted. Pools and nodes have files of their own.

use api::capability::Operation;
use api::{Resource, Role};
use store::{Batch, Depth, Effects, Expect, ReadSet, Store, StoreError};

use crate::client::{Client, Committed, TRIES};
use crate::config;
use crate::error::{Error, Identifier};
use crate::metadata;

impl<S: Store, E: Effects> Client<'_, S, E> {
    /// Deletes a resource, and what must be deleted or released with it. Returns the resource as readers saw
    /// it. If `wanted` is given, the resource must be at that revision.
    ///
    /// # Errors
    /// [`Error::DoesNotExist`], [`Error::Conflict`], [`Error::NotSupported`]; the store's.
    pub async fn delete(&self, id: &Identifier, wanted: Option<&str>) -> Result<Resource, Error> {
        let wanted = wanted.filter(|version| !version.is_empty());
        self.allow(Operation::Delete, id)?;
        match id.kind.definition().role {
            // The network of a pool that cannot be read is unknown, so its blocks stay as they are.
            Role::Pool => match self.delete_pool(id, wanted).await {
                Err(Error::Store(StoreError::Corrupt(_))) => self.delete_unread(id, wanted).await,
                deleted => deleted,
            },
            Role::Host => self.delete_node(id, wanted).await,
            Role::Reservation | Role::Configuration | Role::None => self.delete_alone(id, wanted).await,
        }
    }

    /// Deletes only the record. With the resource that stands for the allocator's configuration, that
    /// configuration is deleted too.
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
            let (view, stored, revision) = match self.read_stored(id, wanted).await {
                Err(Error::Store(StoreError::Corrupt(_))) => return self.delete_unread(id, wanted).await,
                stored => stored?,
            };
            let mut batch = Batch::new();
            batch.delete(key.clone(), Expect::Revision(revision.clone()));
            if twin {
                config::delete(&mut batch, &view);
            }
            if let Committed::Applied(_) = self.commit(&batch, id).await? {
                return Ok(metadata::as_read(&stored, &revision));
            }
        }
        Err(Error::Conflict(id.clone()))
    }

    /// Deletes a record that cannot be read. Returns what is known of it.
    async fn delete_unread(&self, id: &Identifier, wanted: Option<&str>) -> Result<Resource, Error> {
        let key = id.key();
        let mut set = ReadSet::new();
        set.keys.push((key.clone(), Depth::Key));
        let view = self.read(&set).await?;
        let slot = view.get(&key);
        let revision =
            slot.as_ref().and_then(|slot| slot.revision()).cloned().ok_or_else(|| self.does_not_exist(id))?;
        if wanted.is_some_and(|wanted| wanted != revision.as_str()) {
            return Err(Error::Conflict(id.clone()));
        }
        let mut batch = Batch::new();
        batch.delete(key, Expect::Revision(revision));
        match self.commit(&batch, id).await? {
            Committed::Applied(_) => {
                let metadata = api::Metadata {
                    name: id.name.clone(),
                    namespace: id.namespace.clone(),
                    ..api::Metadata::default()
                };
                Ok(Resource::new(id.kind, metadata, serde_json::Map::new()))
            }
            Committed::Conflict(_) | Committed::Stale => Err(Error::Conflict(id.clone())),
        }
    }
}
