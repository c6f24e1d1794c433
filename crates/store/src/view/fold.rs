//! A view that is kept: events of watches keep it fresh, one's own writes take it on.

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

/// What the watch of a scope has told.
#[derive(Clone, Debug, Default)]
pub(super) struct Followed {
    /// What was told since `Init`, until `InitDone`.
    arriving: Option<Arriving>,
    /// The keys of the strays that it told.
    strays: BTreeSet<String>,
    /// Up to here it has told the changes of its scope, if it tells them in their order: it does so for a
    /// key, and where the keys have one prefix.
    told: Option<Revision>,
}

/// A write of one's own that the watch of its scope has not told of yet.
#[derive(Clone, Debug)]
pub(super) struct Ahead {
    /// What it left, or, of a deletion, at least what it found.
    at: Revision,
    /// Whether a present state that was told since did not know of it.
    has_outlived: bool,
}

/// A present state of which only a part has been told.
#[derive(Clone, Debug, Default)]
struct Arriving {
    /// Shared with clones of the view, as its base is.
    slots: RedBlackTreeMapSync<Key, Slot>,
    strays: BTreeMap<String, DecodeError>,
}

impl View {
    /// Takes in an event of a watch of that scope. Once all of the present state was told, the scope is
    /// complete, and stays so.
    ///
    /// The present state takes the place of what was known of the scope at [`Event::InitDone`] and not
    /// before: what was not named is gone then.
    ///
    /// An event that is older than what is known changes nothing: where the known state of the record is a
    /// later one, and where one's own write ([`View::after`]) has deleted it since. The order of revisions
    /// tells that ([`Revision::compare`]). Where they have none, each event holds as it comes: the view goes
    /// back behind one's own write until the watch has told of it.
    ///
    /// A present state that is older than one's own write leaves that, but once only: where a store was put
    /// back to an earlier state, that is how it is.
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

    /// The view as a batch leaves it, by what the report says of each write: what was applied is known at its
    /// new revision, and so is a record that another has written and that stood in the way. What may or may
    /// not have been applied is left as it was known; a watch tells, or a read.
    ///
    /// A record is known with the value that was put. A backend that adds something of its own (a UID,
    /// defaults) tells that with the event of a watch, which holds at the same revision.
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

    /// The view as a batch would leave it: for a plan whose batch is to be appended to that one. The
    /// revisions that it would leave are not known; what stands for them means something to [`Batch::append`]
    /// alone.
    pub fn once_applied(&self, batch: &Batch) -> View {
        let outcomes = (0..batch.writes.len()).map(|index| Outcome::Applied(left_by(index))).collect();
        self.after(batch, &Report { outcomes, broken_guard: None })
    }

    fn follow(&mut self, scope: &Scope) -> &mut Followed {
        // Not by `entry`, which takes a scope of its own for each event.
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

    /// Whether more is known of a record than that it was in that state.
    fn is_old(&self, key: &Key, state: &Revision) -> bool {
        match (self.slots.get(key).and_then(Slot::revision), self.ahead.get(key)) {
            (Some(known), _) => state.compare(known) == Some(Ordering::Less),
            (None, Some(deleted)) => {
                matches!(state.compare(&deleted.at), Some(Ordering::Less | Ordering::Equal))
            }
            (None, None) => false,
        }
    }

    /// Takes in the state of a record that exists, unless more is known; whether it did.
    fn learn(&mut self, slot: Slot, key: &Key) -> bool {
        if slot.revision().is_none_or(|state| self.is_old(key, state)) {
            return false;
        }
        self.ahead.remove(key);
        self.slots.insert_shared(key.clone(), slot);
        true
    }

    /// Takes in that a record was deleted, unless a later state of it is known; whether it did.
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

    /// Notes a write of one's own, where a watch is still to tell of it.
    fn note_own(&mut self, key: &Key, at: &Revision) {
        let is_to_come = |(scope, followed): (&Scope, &Followed)| {
            let is_told = |told: &Revision| told.compare(at).is_some_and(Ordering::is_ge);
            scope.holds(key) && !(followed.told.as_ref().is_some_and(is_told) && scope.prefixes().len() == 1)
        };
        if self.followed.iter().any(is_to_come) {
            self.ahead.insert(key.clone(), Ahead { at: at.clone(), has_outlived: false });
        }
    }

    /// Puts the present state of a scope, as of that revision, in the place of what was known.
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
