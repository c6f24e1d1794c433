//! Records in etcd: each request is one transaction, as in Calico's etcd client
//! (`libcalico-go/lib/backend/etcdv3/etcdv3.go`).

use std::sync::Arc;
use std::time::Duration;

use api::{Key, Record, Revision, Value};
use store::{Batch, Current, Depth, Expect, Outcome, ReadSet, Refusal, Scope, Store};

use super::{Error, Records};

/// The records of a store.
pub struct Transactions<'a, S> {
    pub store: &'a S,
    /// How long a call may take.
    pub within: Duration,
}

impl<S: Store> Records for Transactions<'_, S> {
    async fn get(&self, key: &Key) -> Result<Option<Arc<Record>>, Error> {
        let view = self.store.read(&ReadSet::new().key(key.clone()), self.within).await;
        let view = view.map_err(|error| Error::Other(error.to_string()))?;
        Ok(view.full(key).flatten().cloned())
    }

    async fn list(&self, scope: Scope) -> Result<Vec<Arc<Record>>, Error> {
        let view = self.store.read(&ReadSet::new().scope(scope.clone(), Depth::Full), self.within).await;
        let view = view.map_err(|error| Error::Other(error.to_string()))?;
        Ok(view.slots(&scope).filter_map(|(_, slot)| slot.record().cloned()).collect())
    }

    async fn create(&self, key: Key, value: Value) -> Result<Revision, Error> {
        let mut batch = Batch::new();
        batch.put(key, Expect::Absent, value);
        match self.write(batch).await {
            Err(Error::Conflict) => Err(Error::Exists),
            other => other,
        }
    }

    async fn update(&self, key: Key, at: &Revision, value: Value) -> Result<Revision, Error> {
        let mut batch = Batch::new();
        batch.put(key, Expect::Revision(at.clone()), value);
        self.write(batch).await
    }

    async fn delete(&self, key: Key, at: &Revision) -> Result<(), Error> {
        let mut batch = Batch::new();
        batch.delete(key, Expect::Revision(at.clone()));
        self.write(batch).await.map(|_| ())
    }
}

impl<S: Store> Transactions<'_, S> {
    async fn write(&self, batch: Batch) -> Result<Revision, Error> {
        let report = self.store.commit(&batch, self.within).await;
        let mut report = report.map_err(|error| Error::Other(error.to_string()))?;
        match report.outcomes.pop() {
            Some(Outcome::Applied(revision)) => Ok(revision),
            // The record is gone because another client has deleted it, which is what was wanted.
            Some(Outcome::Refused(Refusal::Conflict(Current::Absent)))
                if matches!(batch.writes[0].op, store::Op::Delete) =>
            {
                Ok(Revision::from(0))
            }
            Some(Outcome::Refused(Refusal::Conflict(_))) => Err(Error::Conflict),
            other => Err(Error::Other(format!("{other:?}"))),
        }
    }
}
