//! The client: a store, effects, and the time that a call to the store may take.

use std::time::Duration;

use api::capability::{Backend, Operation};
use api::{Key, Revision};
use store::{Batch, Effects, Outcome, ReadSet, Refusal, Store, View};

use crate::error::{BackendError, Error, Identifier};

/// How often a change that others overtook is tried again where the caller names no revision (`calicoctl/resourcemgr`).
pub(crate) const TRIES: u32 = 5;

/// Operations on resources over a store.
#[derive(Debug)]
pub struct Client<'a, S, E> {
    pub(crate) store: &'a S,
    pub(crate) effects: &'a E,
    pub(crate) backend: Backend,
    /// Bounds each call to the store.
    pub(crate) within: Duration,
}

impl<S, E> Clone for Client<'_, S, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, E> Copy for Client<'_, S, E> {}

/// What came of a batch, as far as the next step depends on it.
pub(crate) enum Committed {
    /// All of it was applied; the revisions by write.
    Applied(Vec<Revision>),
    /// The write of that index met something else than it expected; nothing after it was tried.
    Conflict(usize),
    /// Something that was read, not written, has changed; nothing was written.
    Stale,
}

impl<'a, S: Store, E: Effects> Client<'a, S, E> {
    /// A client of that store, whose records are in `backend`; each call to the store may take `within`.
    pub fn new(store: &'a S, effects: &'a E, backend: Backend, within: Duration) -> Self {
        Client { store, effects, backend, within }
    }

    pub(crate) fn allow(&self, operation: Operation, id: &Identifier) -> Result<(), Error> {
        id.kind.allows(self.backend, operation, &id.to_string()).map_err(Error::NotSupported)
    }

    /// That there is no such resource.
    pub(crate) fn absent(&self, id: &Identifier) -> Error {
        let told = BackendError::new(self.store.title(&id.key()), "not found");
        Error::DoesNotExist(id.clone(), told)
    }

    /// That there is such a resource already.
    pub(crate) fn present(&self, id: Identifier) -> Error {
        let told = BackendError::new(self.store.title(&id.key()), "already exists");
        Error::AlreadyExists(id, told)
    }

    pub(crate) async fn read(&self, set: &ReadSet) -> Result<View, Error> {
        Ok(self.store.read(set, self.within).await?.insist(set)?)
    }

    /// Commits. `on` is what messages name.
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
                Outcome::Unknown(reason) => match self.landed(&batch.writes[index]).await? {
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

    /// Whether a write whose outcome is unknown can be seen now: exactly what it stored stands there, or nothing does where it deleted.
    async fn landed(&self, write: &store::Write) -> Result<Option<Revision>, Error> {
        let view = self.read(&ReadSet::new().key(write.key.clone())).await?;
        let record = view.full(&write.key).flatten();
        let store::Op::Put(value) = &write.op else {
            let gone = record.is_none().then(|| view.revision().cloned());
            return Ok(gone.map(|revision| revision.unwrap_or_else(|| Revision::new("0"))));
        };
        let same = record.filter(|record| record.value.to_stored_text() == value.to_stored_text());
        Ok(same.map(|record| record.revision.clone()))
    }

    /// Waits a little before a change is planned anew, longer with each try.
    pub(crate) async fn pause(&self, attempt: u32) {
        let longest = 10 << attempt.min(6);
        let millis = 1 + self.effects.seed() % longest;
        self.effects.sleep(Duration::from_millis(millis)).await;
    }

    pub(crate) async fn resource(&self, id: &Identifier) -> Result<(api::Resource, Revision), Error> {
        let key = id.key();
        let view = self.read(&ReadSet::new().key(key.clone())).await?;
        found(&view, &key).ok_or_else(|| self.absent(id))
    }
}

/// A resource in a view that read it.
pub(crate) fn found(view: &View, key: &Key) -> Option<(api::Resource, Revision)> {
    view.resource(key).flatten().map(|(resource, revision)| (resource.clone(), revision.clone()))
}
