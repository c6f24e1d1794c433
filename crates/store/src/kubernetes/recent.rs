//! The values lately read or written of records that are deleted in two phases: the first phase must send the
//! whole value again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use api::{Key, Revision, Value};

/// How many values are remembered. When one more comes, all are forgotten.
const KEPT: usize = 256;

/// Values, each with its revision.
#[derive(Debug, Default)]
pub(super) struct Recent {
    records: Mutex<HashMap<Key, (Revision, Arc<Value>)>>,
}

impl Recent {
    pub(super) fn note(&self, key: &Key, revision: Revision, value: Arc<Value>) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() >= KEPT && !records.contains_key(key) {
            records.clear();
        }
        records.insert(key.clone(), (revision, value));
    }

    /// Takes out the value at that revision. It is forgotten, since the caller is about to change the record.
    pub(super) fn take(&self, key: &Key, revision: &Revision) -> Option<Arc<Value>> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, value) = records.remove(key)?;
        (known == *revision).then_some(value)
    }
}
