//! Creates, updates, applies, patches and labels resources.

use api::capability::Operation;
use api::defaults::{on_read, on_update, on_write};
use api::{Key, Resource, Revision, Role, Value, validate};
use store::{Batch, Depth, Effects, Expect, ReadSet, Scope, Slot, Store, View};

use crate::client::{Client, Committed, TRIES, resource_in};
use crate::config;
use crate::error::{Error, Identifier};
use crate::label::{self, LabelChange, LabelRefusal, Labelled};
use crate::metadata;
use crate::patch;
use crate::pools;

impl<S: Store, E: Effects> Client<'_, S, E> {
    /// Creates a resource. Returns what is stored, as readers see it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the resource breaks a rule; otherwise [`Error::AlreadyExists`] if there is one
    /// of that name; the store's.
    pub async fn create(&self, new: &Resource) -> Result<Resource, Error> {
        self.allow(Operation::Create, &Identifier::of(new))?;
        let new = metadata::for_create(new);
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.pause(attempt).await;
            }
            let view = self.read(&reads_for_create(&new)).await?;
            // The last try has no guard: if many clients create pools at once, each try would only meet
            // another client's new pool. `keep_apart` looks at those pools afterwards.
            let is_guarded = attempt + 1 < TRIES;
            if let Some(created) = self.try_create(&new, &view, is_guarded).await? {
                self.keep_apart(&created, view).await?;
                return Ok(created);
            }
        }
        Err(Error::Conflict(Identifier::of(&new)))
    }

    async fn try_create(
        &self,
        new: &Resource,
        view: &View,
        is_guarded: bool,
    ) -> Result<Option<Resource>, Error> {
        let is_pool = new.kind().definition().role == Role::Pool;
        let found = if is_pool { pools::overlaps(view, new) } else { Vec::new() };
        validate::create(new, found, self.backend)?;
        if let Some(conflict) = is_pool.then(|| pools::block_size_conflict(view, new)).flatten() {
            return Err(validate::ValidationError::from(conflict).into());
        }
        let stored = metadata::with_identity(&on_write(new), metadata::uid(self.effects), self.effects.now());
        let id = Identifier::of(&stored);
        let mut batch = Batch::new();
        if config::is_twin(self.backend, stored.kind(), stored.name()) {
            config::put(&mut batch, view, config::of_resource(&stored));
        }
        let written = batch.put(id.key(), Expect::Absent, Value::Resource(stored.clone()));
        let pools = Scope::kind(new.kind());
        if let Some(read_at) = view.read_at(&pools).filter(|_| is_pool && is_guarded) {
            // The guard does not see that a pool is deleted in the meantime; but that only leaves more room.
            batch.guard_scope(pools, read_at.clone());
        }
        match self.commit(&batch, &id).await? {
            Committed::Applied(revisions) => Ok(Some(as_written(&stored, revisions.get(written)))),
            Committed::Conflict(at) if at == written => Err(self.already_exists(id)),
            Committed::Conflict(_) | Committed::Stale => Ok(None),
        }
    }

    /// Deletes a new pool again if it overlaps with another pool. Not every store honours the guard against
    /// pools that are added at the same time. So whoever has added a pool looks again: of two overlapping
    /// pools that are created at the same moment, at least one is seen by the creator of the other.
    async fn keep_apart(&self, created: &Resource, mut view: View) -> Result<(), Error> {
        let is_pool = created.kind().definition().role == Role::Pool;
        let Some(cidr) = pools::cidr(created).filter(|_| is_pool) else { return Ok(()) };
        let (pools, own) = (Scope::kind(created.kind()), Identifier::of(created).key());
        let all = |depth| ReadSet::new().scope(pools.clone(), depth);
        view.absorb(self.read(&all(Depth::Key)).await?);
        // Usually no pool was added since the view was read. Then its pools need not be read again.
        let is_new = |(key, slot): (&Key, &Slot)| slot.depth() == Depth::Key && *key != own;
        if view.slots(&pools).any(is_new) {
            view = self.read(&all(Depth::Full)).await?;
        }
        if pools::overlapping(&view, created.name(), &cidr).is_empty() {
            return Ok(());
        }
        let faults = pools::overlaps(&view, created);
        self.delete(&Identifier::of(created), None).await?;
        Err(validate::ValidationError::Fields(faults).into())
    }

    /// Replaces a resource. Returns what is stored, as readers see it. Labels, annotations and body are those
    /// of `new`; other metadata stays. If `new` has a `resourceVersion`, the stored resource must be at that
    /// version; if not, the change is tried again when other writers are faster.
    ///
    /// # Errors
    /// [`Error::DoesNotExist`], [`Error::Conflict`], [`Error::Invalid`]; the store's.
    pub async fn update(&self, new: &Resource) -> Result<Resource, Error> {
        let wanted = new.metadata().resource_version.as_deref().filter(|v| !v.is_empty());
        self.change(&Identifier::of(new), wanted, |_, _| Ok(new.clone())).await
    }

    /// Creates a resource, or replaces it where it exists.
    ///
    /// # Errors
    /// As [`Client::create`] and [`Client::update`]. A `resourceVersion` counts only if the resource exists.
    pub async fn apply(&self, new: &Resource) -> Result<Resource, Error> {
        self.allow(Operation::Apply, &Identifier::of(new))?;
        let unversioned = new.with(|metadata, _| metadata.resource_version = None);
        match self.create(&unversioned).await {
            Err(Error::AlreadyExists(..) | Error::NotSupported(_)) => self.update(new).await,
            other => other,
        }
    }

    /// Merges a patch into a resource (see [`patch::apply`]). If the patch has a `resourceVersion`, the
    /// stored resource must be at that version.
    ///
    /// # Errors
    /// [`Error::Patch`] besides those of [`Client::update`].
    pub async fn patch(&self, id: &Identifier, patch: &str) -> Result<Resource, Error> {
        let patched = |stored: &Resource, revision: &Revision| {
            let patched = patch::apply(&metadata::as_read(stored, revision), patch)?;
            // A patch that names no version leaves the version that was read.
            match patched.metadata().resource_version.as_deref() {
                Some(named) if !named.is_empty() && named != revision.as_str() => {
                    Err(Error::Conflict(id.clone()))
                }
                _ => Ok(patched),
            }
        };
        self.change(id, None, patched).await
    }

    /// Sets or removes a label. The inner error says why the label was left alone.
    ///
    /// # Errors
    /// As [`Client::update`].
    pub async fn label(
        &self,
        id: &Identifier,
        change: &LabelChange,
    ) -> Result<Result<Labelled, LabelRefusal>, Error> {
        let (stored, _) = self.resource(id).await?;
        let done = match label::change(&mut stored.metadata().labels.clone(), change) {
            Ok(done) => done,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let labelled = |stored: &Resource, revision: &Revision| {
            let shown = metadata::as_read(stored, revision);
            // Other writers may have changed the label since the check above. A refusal then changes nothing:
            // a label that is gone is what the user wanted removed, and another writer's value stays.
            Ok(shown.with(|metadata, _| {
                let _ = label::change(&mut metadata.labels, change);
            }))
        };
        self.change(id, None, labelled).await?;
        Ok(Ok(done))
    }

    /// Reads a resource. Returns it with the view that it was read in. If the resource stands for the
    /// allocator's configuration, the view holds that record, too.
    ///
    /// # Errors
    /// When there is no such resource, or it is not at the revision that the caller insists on.
    pub(crate) async fn read_stored(
        &self,
        id: &Identifier,
        wanted: Option<&str>,
    ) -> Result<(View, Resource, Revision), Error> {
        let key = id.key();
        let set = ReadSet::new().key(key.clone());
        let twin = config::is_twin(self.backend, id.kind, &id.name);
        let set = if twin { set.key(Key::IpamConfig) } else { set };
        let view = self.read(&set).await?;
        let (stored, revision) = resource_in(&view, &key).ok_or_else(|| self.does_not_exist(id))?;
        if wanted.is_some_and(|wanted| wanted != revision.as_str()) {
            return Err(Error::Conflict(id.clone()));
        }
        Ok((view, stored, revision))
    }

    /// Reads a resource, changes it, and writes it. Tries again when other writers are faster, unless the
    /// caller insists on a revision.
    async fn change(
        &self,
        id: &Identifier,
        wanted: Option<&str>,
        change: impl Fn(&Resource, &Revision) -> Result<Resource, Error>,
    ) -> Result<Resource, Error> {
        let key = id.key();
        let twin = config::is_twin(self.backend, id.kind, &id.name);
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.pause(attempt).await;
            }
            let (view, stored, revision) = self.read_stored(id, wanted).await?;
            let shown = on_read(&stored);
            let changed = on_update(&change(&stored, &revision)?, &shown);
            let new = metadata::for_update(&changed, &stored, &revision);
            self.allow(Operation::Update, id)?;
            validate::update(&new, &shown, self.backend)?;
            let written = on_write(&new).carry_residue(&stored);
            let written = written.with(|metadata, _| metadata.resource_version = None);
            let mut batch = Batch::new();
            if twin {
                config::put(&mut batch, &view, config::of_resource(&written));
            }
            let at = batch.put(key.clone(), Expect::Revision(revision), Value::Resource(written.clone()));
            match self.commit(&batch, id).await? {
                Committed::Applied(revisions) => return Ok(as_written(&written, revisions.get(at))),
                Committed::Conflict(_) | Committed::Stale if wanted.is_some() => {
                    return Err(Error::Conflict(id.clone()));
                }
                Committed::Conflict(_) | Committed::Stale => {}
            }
        }
        Err(Error::Conflict(id.clone()))
    }
}

fn reads_for_create(new: &Resource) -> ReadSet {
    match new.kind().definition().role {
        Role::Pool => pools::reads(new),
        Role::Configuration => config::reads(),
        Role::Reservation | Role::Host | Role::None => ReadSet::new(),
    }
}

fn as_written(stored: &Resource, revision: Option<&Revision>) -> Resource {
    match revision {
        Some(revision) => metadata::as_read(stored, revision),
        None => stored.clone(),
    }
}
