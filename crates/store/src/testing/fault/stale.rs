//! The earlier states of records, for reads that see them.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{Key, Record};
use fastrand::Rng;

use super::depth_of;
use super::plan::{Stale, happens};
use crate::read::ReadSet;
use crate::view::{Slot, View};

/// How many states of each record are remembered.
const KEPT: usize = 32;

/// The states of the records that were written through any caller, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    states: BTreeMap<Key, Vec<Option<Arc<Record>>>>,
}

impl History {
    pub(super) fn push(&mut self, key: &Key, state: Option<Arc<Record>>) {
        // Before its first write, the record did not exist.
        let states = self.states.entry(key.clone()).or_insert_with(|| vec![None]);
        if states.last() != Some(&state) {
            states.push(state);
        }
        if states.len() > KEPT {
            states.remove(0);
        }
    }

    /// Replaces some records of a read by their earlier states. Then a scope lacks some new records, and
    /// holds some deleted ones.
    pub(super) fn make_stale(&self, view: &mut View, set: &ReadSet, stale: Stale, rng: &mut Rng) {
        for (key, states) in &self.states {
            // Only those records are replaced about which the read says something; a page says something of
            // its own records only.
            let (Some(depth), Some(_)) = (depth_of(set, key), view.get(key)) else { continue };
            let past = &states[..states.len() - 1];
            let past = &past[past.len().saturating_sub(stale.window)..];
            if past.is_empty() || !happens(rng, stale.chance) {
                continue;
            }
            let slot = match &past[rng.usize(..past.len())] {
                Some(record) => Slot::of(record, depth),
                None => Slot::Absent,
            };
            view.insert(key.clone(), slot);
        }
    }
}
