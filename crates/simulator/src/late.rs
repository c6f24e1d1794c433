//! Writes whose sender has had no answer, and which arrive later.

use std::collections::BTreeSet;

use api::{Key, Value};
use ipam::invariants::RequestId;
use store::Guard;

use crate::cluster::Call;

/// Writes that have been sent and have not arrived: all of them arrive together, or none.
pub(crate) struct Late {
    pub by: RequestId,
    pub calls: Vec<Call>,
    pub guards: Vec<Guard>,
    /// The records that were removed since.
    removed: BTreeSet<Key>,
    /// The records that the request has looked at since.
    looked: BTreeSet<Key>,
}

/// All late writes, and what is known of creations that arrived late. A record that is not there cannot be
/// fenced, so its request can do nothing against its late creation: for a handle at any time; for an empty
/// block once it has looked, and the block was not there; for a block with addresses, which the request
/// itself creates then, after others have removed it.
#[derive(Default)]
pub(crate) struct AllLate {
    waiting: Vec<Late>,
    /// Records whose creation arrived late, and which its request has not looked at since.
    unforeseen: BTreeSet<(RequestId, Key)>,
}

impl AllLate {
    /// Whether any has not arrived.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Writes are sent.
    pub fn sent(&mut self, by: RequestId, calls: Vec<Call>, guards: Vec<Guard>) {
        let (removed, looked) = (BTreeSet::new(), BTreeSet::new());
        self.waiting.push(Late { by, calls, guards, removed, looked });
    }

    /// Takes one of those that wait; `at` is drawn from their number.
    pub fn take(&mut self, at: impl FnOnce(u64) -> u64) -> Option<Late> {
        let count = self.waiting.len() as u64;
        (count > 0).then(|| self.waiting.swap_remove(at(count) as usize))
    }

    /// Late writes have arrived, and were carried out.
    pub fn landed(&mut self, late: &Late) {
        for call in &late.calls {
            let Call::Create(key, value) = call else { continue };
            let is_unforeseen = match &**value {
                Value::Handle(_) => true,
                Value::Block(block) if ipam::block::is_empty(block) && late.looked.contains(key) => true,
                _ => late.removed.contains(key),
            };
            if is_unforeseen {
                self.unforeseen.insert((late.by, key.clone()));
            }
        }
    }

    /// A record is removed.
    pub fn removed(&mut self, key: &Key) {
        for late in &mut self.waiting {
            late.removed.insert(key.clone());
        }
    }

    /// A request looks at a record.
    pub fn looked(&mut self, by: RequestId, key: &Key) {
        if !self.unforeseen.is_empty() {
            self.unforeseen.remove(&(by, key.clone()));
        }
        for late in self.waiting.iter_mut().filter(|late| late.by == by) {
            late.looked.insert(key.clone());
        }
    }

    /// Whether the record's creation arrived late, and its request could do nothing against it.
    pub fn is_unforeseen(&self, key: &Key) -> bool {
        self.unforeseen.iter().any(|(_, unforeseen)| unforeseen == key)
    }
}
