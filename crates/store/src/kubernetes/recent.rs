//! What was lately read or written of records that are deleted in two phases: the first phase sends the whole value again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use api::{Key, Revision, Value};

/// How many records are kept; when there are more, all are forgotten.
const KEPT: usize = 256;

/// Values at their revisions.
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

    /// The value at that revision, and forgets it: whoever asks is about to change it.
    pub(super) fn take(&self, key: &Key, revision: &Revision) -> Option<Arc<Value>> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, value) = records.remove(key)?;
        (known == *revision).then_some(value)
    }
}
