//! The states that records were in, for reads that see them as they were.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{Key, Record};
use fastrand::Rng;

use super::depth_of;
use super::plan::{Stale, happens};
use crate::memory::slot_of;
use crate::read::ReadSet;
use crate::view::{Slot, View};

/// States kept of a record.
const KEPT: usize = 32;

/// The states of the records that were written through any caller, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    states: BTreeMap<Key, Vec<Option<Arc<Record>>>>,
}

impl History {
    pub(super) fn push(&mut self, key: &Key, state: Option<Arc<Record>>) {
        // Before it was first written it was not there.
        let states = self.states.entry(key.clone()).or_insert_with(|| vec![None]);
        if states.last() != Some(&state) {
            states.push(state);
        }
        if states.len() > KEPT {
            states.remove(0);
        }
    }

    /// Shows some records of a read as they were. A scope then lacks records that are new, and holds some that are gone.
    pub(super) fn make_stale(&self, view: &mut View, set: &ReadSet, stale: Stale, rng: &mut Rng) {
        for (key, states) in &self.states {
            // Known of it is what the read tells; a page tells only of its own records.
            let (Some(depth), Some(_)) = (depth_of(set, key), view.get(key)) else { continue };
            let past = &states[..states.len() - 1];
            let past = &past[past.len().saturating_sub(stale.window)..];
            if past.is_empty() || !happens(rng, stale.chance) {
                continue;
            }
            let slot = match &past[rng.usize(..past.len())] {
                Some(record) => slot_of(record, depth),
                None => Slot::Absent,
            };
            view.insert(key.clone(), slot);
        }
    }
}
