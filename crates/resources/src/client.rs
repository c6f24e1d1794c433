//! The client: a store, effects, and the time that a call to the store may take.

use std::time::Duration;

use api::capability::{Backend, Operation};
use api::{Key, Revision};
use store::{Batch, Effects, Outcome, ReadSet, Refusal, Store, Titles, View};

use crate::error::{BackendError, Error, Identifier};

/// How many times a change is tried when other writers are faster and the caller names no revision
/// (`calicoctl/resourcemgr`).
pub(crate) const TRIES: u32 = 5;

/// Operations on resources over a store.
#[derive(Debug)]
pub struct Client<'a, S, E> {
    pub(crate) store: &'a S,
    pub(crate) effects: &'a E,
    pub(crate) backend: Backend,
    titles: Option<&'a Titles>,
    /// The time limit of each call to the store.
    pub(crate) within: Duration,
}

impl<S, E> Clone for Client<'_, S, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, E> Copy for Client<'_, S, E> {}

/// The result of a batch, as far as the next step depends on it.
pub(crate) enum Committed {
    /// All writes were applied. Holds the new revision of each write.
    Applied(Vec<Revision>),
    /// The write with this index found something else than it expected; the writes after it were not tried.
    Conflict(usize),
    /// A guarded record has changed; nothing was written.
    Stale,
}

impl<'a, S: Store, E: Effects> Client<'a, S, E> {
    /// A client of `store`. `backend` says where the store has its records; each call to the store may take
    /// as long as `within`.
    pub fn new(store: &'a S, effects: &'a E, backend: Backend, within: Duration) -> Self {
        Client { store, effects, backend, titles: None, within }
    }

    /// The same client, whose errors quote the backend's messages, which call records by these names.
    pub fn with_titles(self, titles: &'a Titles) -> Self {
        Client { titles: Some(titles), ..self }
    }

    /// What the backend's message says of a record.
    fn backend_error(&self, id: &Identifier, is: &str) -> BackendError {
        BackendError::new(self.titles.and_then(|titles| titles.of(&id.key())), is)
    }

    pub(crate) fn allow(&self, operation: Operation, id: &Identifier) -> Result<(), Error> {
        id.kind.allows(self.backend, operation, &id.to_string()).map_err(Error::NotSupported)
    }

    /// The error that there is no such resource.
    pub fn does_not_exist(&self, id: &Identifier) -> Error {
        Error::DoesNotExist(id.clone(), self.backend_error(id, "not found"))
    }

    /// The error that there is such a resource already.
    pub(crate) fn already_exists(&self, id: Identifier) -> Error {
        let told = self.backend_error(&id, "already exists");
        Error::AlreadyExists(id, told)
    }

    /// What helps somebody who named a resource that does not exist: the name that is most like it, or how to
    /// see or make one. If the store cannot be read, the text does without names.
    pub async fn like(&self, missing: &Identifier) -> String {
        let kind = missing.kind.name().to_lowercase();
        let listed = self.list(missing.kind, missing.namespace.as_deref()).await;
        let items = listed.map(|listed| listed.items).unwrap_or_default();
        let near = api::near::nearest(&missing.name, items.iter().map(|one| one.name()));
        match (near, items.is_empty()) {
            (Some(near), _) => format!("did you mean {near}? `calicoctl get {kind}` shows all"),
            (None, false) => format!("`calicoctl get {kind}` shows those that exist"),
            (None, true) if missing.kind.allows(self.backend, Operation::Create, "").is_err() => {
                format!("there is no {kind} at all, and `calicoctl create` makes none", kind = missing.kind)
            }
            (None, true) if missing.kind == api::Kind::Node => {
                format!("there is no Node at all; `calicoctl create node {}` makes this one", missing.name)
            }
            (None, true) => {
                let kind = missing.kind;
                format!("there is no {kind} at all; `calicoctl create -f FILE` makes one")
            }
        }
    }

    pub(crate) async fn read(&self, set: &ReadSet) -> Result<View, Error> {
        Ok(self.store.read(set, self.within).await?.insist(set)?)
    }

    /// Commits a batch. `on` is the resource that messages name.
    pub(crate) async fn commit(&self, batch: &Batch, on: &Identifier) -> Result<Committed, Error> {
        let report = self.store.commit(batch, self.within).await?;
        if report.broken_guard.is_some() {
            return Ok(Committed::Stale);
        }
        if let Some((index, refusal)) = report.refusal() {
            return match refusal {
                Refusal::Conflict(_) => Ok(Committed::Conflict(index)),
                other => Err(Error::Refused(other.clone())),
            };
        }
        let mut revisions = Vec::with_capacity(report.outcomes.len());
        for (index, outcome) in report.outcomes.iter().enumerate() {
            match outcome {
                Outcome::Applied(revision) => revisions.push(revision.clone()),
                Outcome::Unknown(reason) => match self.find_applied(&batch.writes[index]).await? {
                    Some(revision) => revisions.push(revision),
                    None => return Err(Error::InDoubt { on: on.clone(), reason: reason.clone() }),
                },
                _ => {
                    let reason = "a part of it was not tried".to_string();
                    return Err(Error::InDoubt { on: on.clone(), reason });
                }
            }
        }
        Ok(Committed::Applied(revisions))
    }

    /// Looks whether a write with an unknown outcome was applied: the record then has exactly the value of
    /// the write, or, for a deletion, is gone. Returns the record's revision if so.
    async fn find_applied(&self, write: &store::Write) -> Result<Option<Revision>, Error> {
        let view = self.read(&ReadSet::new().key(write.key.clone())).await?;
        let record = view.full(&write.key).flatten();
        let store::Op::Put(value) = &write.op else {
            let gone = record.is_none().then(|| view.revision().cloned());
            return Ok(gone.map(|revision| revision.unwrap_or_else(|| Revision::new("0"))));
        };
        let same = record.filter(|record| record.value.to_stored_text() == value.to_stored_text());
        Ok(same.map(|record| record.revision.clone()))
    }

    /// Waits a little before a change is planned anew. The more tries there were, the longer the wait may be.
    pub(crate) async fn pause(&self, attempt: u32) {
        let longest = 10 << attempt.min(6);
        let millis = 1 + self.effects.seed() % longest;
        self.effects.sleep(Duration::from_millis(millis)).await;
    }

    pub(crate) async fn resource(&self, id: &Identifier) -> Result<(api::Resource, Revision), Error> {
        let key = id.key();
        let view = self.read(&ReadSet::new().key(key.clone())).await?;
        resource_in(&view, &key).ok_or_else(|| self.does_not_exist(id))
    }
}

/// The resource under a key, and its revision. The view must have read the key.
pub(crate) fn resource_in(view: &View, key: &Key) -> Option<(api::Resource, Revision)> {
    view.resource(key).flatten().map(|(resource, revision)| (resource.clone(), revision.clone()))
}
