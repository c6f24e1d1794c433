//! The witness of the simulations, for a store in memory.

use std::sync::Arc;
use std::time::Duration;

use api::Key;
use ipam::invariants::RequestId;
pub use simulator::{AnswerOf, Asks, ErrorOf, Witness};
use store::{Batch, MemoryStore, Op, Outcome, ReadSet, Report, Scope, Store, StoreError, View};

/// Tells a witness that somebody who is no request has stored a record.
pub fn stored(witness: &Witness, store: &MemoryStore, key: &Key) {
    let found = store.records().into_iter().find(|record| record.key == *key);
    witness.wrote(None, key, found.map(|record| Arc::new(record.value.clone())));
}

/// A store that tells of every write that is applied, in whose name it was sent.
#[derive(Clone, Debug)]
pub struct Told {
    inner: MemoryStore,
    by: Option<RequestId>,
    witness: Witness,
}

impl Told {
    /// A store that tells a witness of a request's writes, or of several requests' that cannot be told apart.
    pub fn of(witness: &Witness, inner: &MemoryStore, by: Option<RequestId>) -> Told {
        Told { inner: inner.clone(), by, witness: witness.clone() }
    }
}

impl Store for Told {
    type Watch = <MemoryStore as Store>::Watch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        self.inner.read(set, within).await
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        let report = self.inner.commit(batch, within).await?;
        for (write, outcome) in batch.writes.iter().zip(&report.outcomes) {
            if let Outcome::Applied(_) = outcome {
                let value = match &write.op {
                    Op::Put(value) => Some(value.clone()),
                    Op::Delete => None,
                };
                self.witness.wrote(self.by, &write.key, value);
            }
        }
        Ok(report)
    }

    async fn watch(&self, scope: Scope) -> Result<Self::Watch, StoreError> {
        self.inner.watch(scope).await
    }
}
