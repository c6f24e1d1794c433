//! Keeping a view up to date: with the events of watches ([`View::fold`]), and with this process's own writes
//! ([`View::after`]).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::{DecodeError, Key, Record, Revision};
use rpds::RedBlackTreeMapSync;

use super::{Slot, View, Whole};
use crate::batch::{Batch, Current, Op, Outcome, Report, left_by};
use crate::error::Refusal;
use crate::read::{Depth, Scope};
use crate::watch::Event;

/// What the watch of one scope has told so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Followed {
    /// The part of the present state that arrived since `Init`, until `InitDone` completes it.
    arriving: Option<Arriving>,
    /// The keys of the strays that the watch has told of.
    strays: BTreeSet<String>,
    /// The revision up to which the watch has told all changes of its scope. That holds only where it tells
    /// them in the order of revisions, as it does for one key, and for keys with one prefix.
    told: Option<Revision>,
}

/// A write of this process that the watch of its scope has not told of yet.
#[derive(Clone, Debug)]
pub(super) struct Ahead {
    /// The revision that the write gave the record. For a deletion, a revision at least as high as the
    /// deleted record's.
    at: Revision,
    /// Whether a present state arrived after the write that did not contain it.
    has_outlived: bool,
}

/// A present state that has arrived only in part.
#[derive(Clone, Debug, Default)]
struct Arriving {
    /// Shared by clones of the view, as the base of its slots is.
    slots: RedBlackTreeMapSync<Key, Slot>,
    strays: BTreeMap<String, DecodeError>,
}

impl View {
    /// Updates the view by an event of the watch of `scope`. After the first [`Event::InitDone`] the view
    /// knows the scope completely.
    ///
    /// At [`Event::InitDone`], and not before, the present state replaces what the view knew of the scope:
    /// records that are not in it are gone then.
    ///
    /// An event that is older than what the view knows changes nothing: where the view knows a later state of
    /// the record, or where a write of this process ([`View::after`]) has deleted the record since. The order
    /// of revisions decides which is older ([`Revision::compare`]). Where revisions have no order, every
    /// event is taken in: the view falls back behind a write of this process until the watch tells of that
    /// write.
    ///
    /// A present state that is older than a write of this process does not undo that write the first time.
    /// The second time it does: the store may have been put back to an earlier state.
    pub fn fold(&mut self, scope: &Scope, event: &Event) {
        match event {
            Event::Init => self.follow(scope).arriving = Some(Arriving::default()),
            Event::InitApply(record) | Event::Apply(record) => {
                self.fold_slot(scope, &record.key, Slot::Full(record.clone()));
            }
            Event::Unreadable(key, unreadable) => {
                self.fold_slot(scope, key, Slot::Unreadable(unreadable.clone()));
            }
            Event::Delete(key, revision) => {
                self.follow(scope).told = Some(revision.clone());
                self.learn_deleted(key, revision);
            }
            Event::Stray(error) => match &mut self.follow(scope).arriving {
                Some(arriving) => {
                    arriving.strays.insert(error.key.clone(), error.clone());
                }
                None => {
                    self.follow(scope).strays.insert(error.key.clone());
                    self.insert_stray(error.clone());
                }
            },
            Event::StrayGone(key) => {
                self.follow(scope).strays.remove(key);
                self.strays.remove(key);
            }
            Event::InitDone(revision) => {
                if let Some(arriving) = self.follow(scope).arriving.take() {
                    self.replace(scope, arriving, revision);
                }
            }
        }
    }

    /// The view after a batch, by what the report says of each write. An applied write is known at its new
    /// revision. So is another process's record that made the store refuse a write. A write whose outcome is
    /// unknown changes nothing in the view; a watch or a read tells what became of it.
    ///
    /// A record is known with the value that was put. Where the backend adds something (a UID, defaults), the
    /// watch tells of it with an event of the same revision, which replaces the record.
    pub fn after(&self, batch: &Batch, report: &Report) -> View {
        let mut view = self.clone();
        for (write, outcome) in batch.writes.iter().zip(&report.outcomes) {
            match (outcome, &write.op) {
                (Outcome::Applied(revision), Op::Put(value)) => {
                    let (key, value) = (write.key.clone(), (**value).clone());
                    let record = Arc::new(Record { key, value, revision: revision.clone() });
                    if view.learn(Slot::Full(record), &write.key) {
                        view.note_own(&write.key, revision);
                    }
                }
                (Outcome::Applied(revision), Op::Delete) => {
                    if view.learn_deleted(&write.key, revision) {
                        view.note_own(&write.key, revision);
                    }
                }
                (Outcome::Refused(Refusal::Conflict(Current::Record(record))), _) => {
                    view.learn(Slot::Full(record.clone()), &write.key);
                }
                (Outcome::Refused(_) | Outcome::Unknown(_) | Outcome::NotTried, _) => {}
            }
        }
        view
    }

    /// The view as it would be if all of a batch were applied, for planning a second batch that is to be
    /// appended to the first. The new revisions are not known; in their place stand marks that only
    /// [`Batch::append`] understands.
    pub fn once_applied(&self, batch: &Batch) -> View {
        let outcomes = (0..batch.writes.len()).map(|index| Outcome::Applied(left_by(index))).collect();
        self.after(batch, &Report { outcomes, broken_guard: None })
    }

    fn follow(&mut self, scope: &Scope) -> &mut Followed {
        // Not the map's `entry`, which would need a clone of the scope for each event.
        if !self.followed.contains_key(scope) {
            self.followed.insert(scope.clone(), Followed::default());
        }
        self.followed.get_mut(scope).expect("it was put there")
    }

    fn fold_slot(&mut self, scope: &Scope, key: &Key, slot: Slot) {
        match &mut self.follow(scope).arriving {
            Some(arriving) => arriving.slots.insert_mut(key.clone(), slot),
            None => {
                self.follow(scope).told = slot.revision().cloned();
                self.learn(slot, key);
            }
        }
    }

    /// Whether the view already knows a later state of a record, or its deletion after that state.
    fn is_old(&self, key: &Key, state: &Revision) -> bool {
        match (self.slots.get(key).and_then(Slot::revision), self.ahead.get(key)) {
            (Some(known), _) => state.compare(known) == Some(Ordering::Less),
            (None, Some(deleted)) => {
                matches!(state.compare(&deleted.at), Some(Ordering::Less | Ordering::Equal))
            }
            (None, None) => false,
        }
    }

    /// Takes in the state of a record that exists, unless the view knows a later one. Gives whether the view
    /// changed.
    fn learn(&mut self, slot: Slot, key: &Key) -> bool {
        if slot.revision().is_none_or(|state| self.is_old(key, state)) {
            return false;
        }
        self.ahead.remove(key);
        self.slots.insert_shared(key.clone(), slot);
        true
    }

    /// Takes in that a record was deleted, unless the view knows a later state of it. Gives whether the view
    /// changed.
    fn learn_deleted(&mut self, key: &Key, at: &Revision) -> bool {
        let is_later = |known: &Revision| known.compare(at) == Some(Ordering::Greater);
        if self.slots.get(key).and_then(Slot::revision).is_some_and(is_later)
            || self.ahead.get(key).is_some_and(|own| is_later(&own.at))
        {
            return false;
        }
        self.ahead.remove(key);
        self.slots.remove_shared(key);
        if !self.in_complete_scope(key) {
            self.slots.insert_shared(key.clone(), Slot::Absent);
        }
        true
    }

    /// Notes a write of this process, if a watch has still to tell of it.
    fn note_own(&mut self, key: &Key, at: &Revision) {
        let is_to_come = |(scope, followed): (&Scope, &Followed)| {
            let is_told = |told: &Revision| told.compare(at).is_some_and(Ordering::is_ge);
            scope.holds(key) && !(followed.told.as_ref().is_some_and(is_told) && scope.prefixes().len() == 1)
        };
        if self.followed.iter().any(is_to_come) {
            self.ahead.insert(key.clone(), Ahead { at: at.clone(), has_outlived: false });
        }
    }

    /// Replaces what the view knows of a scope by its present state as of that revision.
    fn replace(&mut self, scope: &Scope, arriving: Arriving, at: &Revision) {
        let outlives = |own: &Ahead| !own.has_outlived && own.at.compare(at) == Some(Ordering::Greater);
        let gone: Vec<Key> = self
            .slots(scope)
            .map(|(key, _)| key)
            .filter(|key| !arriving.slots.contains_key(*key) && !self.ahead.get(key).is_some_and(outlives))
            .cloned()
            .collect();
        for key in &gone {
            self.slots.remove_shared(key);
        }
        for (key, slot) in arriving.slots.iter() {
            if self.ahead.contains_key(key) {
                self.learn(slot.clone(), key);
            } else {
                self.slots.insert_shared(key.clone(), slot.clone());
            }
        }
        self.ahead.retain(|key, own| !scope.holds(key) || outlives(own));
        self.ahead
            .iter_mut()
            .filter(|(key, _)| scope.holds(key))
            .for_each(|(_, own)| own.has_outlived = true);
        self.follow(scope).told = Some(at.clone());
        let known = std::mem::take(&mut self.follow(scope).strays);
        self.strays.retain(|key, _| !known.contains(key));
        self.follow(scope).strays = arriving.strays.keys().cloned().collect();
        self.strays.extend(arriving.strays);
        self.pages.remove(scope);
        self.complete.insert(scope.clone(), Whole { depth: Depth::Full, at: Some(at.clone()) });
    }
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
