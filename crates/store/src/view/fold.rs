//! A view that is kept: events of watches keep it fresh, one's own writes take it on.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::{DecodeError, Key, Record, Revision};
use rpds::RedBlackTreeMapSync;

use super::{Slot, View, Whole};
use crate::batch::{Batch, Current, Op, Outcome, Report};
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
}

/// A present state of which only a part has been told.
#[derive(Clone, Debug, Default)]
struct Arriving {
    /// Shared with clones of the view, as its base is.
    slots: RedBlackTreeMapSync<Key, Slot>,
    strays: BTreeMap<String, DecodeError>,
}

impl View {
    /// Takes in an event of a watch of that scope. Once all of the present state was told, the scope is complete, and stays so.
    ///
    /// The present state takes the place of what was known of the scope at [`Event::InitDone`] and not before: what was not named is gone then.
    ///
    /// What an event tells changes nothing where more is known already, as by [`View::after`]: where the known state of the record is a later one, and
    /// where the record is known to have been deleted at that revision or later. That is told by the order of revisions ([`Revision::compare`]). Where
    /// they have none, each event holds as it comes: the view goes back behind one's own write until the watch has told of it.
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
                if self.learn_deleted(key, revision) {
                    self.deleted.remove(key);
                }
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

    /// The view as a batch leaves it, by what the report says of each write: what was applied is known at its new revision, and so is a record that another
    /// has written and that stood in the way. What may or may not have been applied is left as it was known; a watch tells, or a read.
    ///
    /// A record is known with the value that was put. A backend that adds something of its own (a UID, defaults) tells that with the event of a watch,
    /// which holds at the same revision.
    pub fn after(&self, batch: &Batch, report: &Report) -> View {
        let mut view = self.clone();
        for (write, outcome) in batch.writes.iter().zip(&report.outcomes) {
            match (outcome, &write.op) {
                (Outcome::Applied(revision), Op::Put(value)) => {
                    let (key, value) = (write.key.clone(), (**value).clone());
                    view.learn(
                        Slot::Full(Arc::new(Record { key, value, revision: revision.clone() })),
                        &write.key,
                    );
                }
                (Outcome::Applied(revision), Op::Delete) => {
                    if view.learn_deleted(&write.key, revision)
                        && view.followed.keys().any(|scope| scope.holds(&write.key))
                    {
                        view.deleted.insert(write.key.clone(), revision.clone());
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
            None => self.learn(slot, key),
        }
    }

    /// Whether more is known of a record than that it was in that state.
    fn is_old(&self, key: &Key, state: &Revision) -> bool {
        match (self.slots.get(key).and_then(Slot::revision), self.deleted.get(key)) {
            (Some(known), _) => state.compare(known) == Some(Ordering::Less),
            (None, Some(deleted)) => {
                matches!(state.compare(deleted), Some(Ordering::Less | Ordering::Equal))
            }
            (None, None) => false,
        }
    }

    /// Takes in the state of a record that exists, unless more is known.
    fn learn(&mut self, slot: Slot, key: &Key) {
        let Some(state) = slot.revision() else { return };
        if !self.is_old(key, state) {
            self.deleted.remove(key);
            self.slots.insert_shared(key.clone(), slot);
        }
    }

    /// Takes in that a record was deleted, unless a later state of it is known; whether it did.
    fn learn_deleted(&mut self, key: &Key, at: &Revision) -> bool {
        let is_later = |known: &Revision| known.compare(at) == Some(Ordering::Greater);
        if self.slots.get(key).and_then(Slot::revision).is_some_and(is_later)
            || self.deleted.get(key).is_some_and(is_later)
        {
            return false;
        }
        self.slots.remove_shared(key);
        if !self.in_complete_scope(key) {
            self.slots.insert_shared(key.clone(), Slot::Absent);
        }
        true
    }

    /// Puts the present state of a scope, as of that revision, in the place of what was known.
    fn replace(&mut self, scope: &Scope, arriving: Arriving, at: &Revision) {
        let is_later = |revision: &Revision| revision.compare(at) == Some(Ordering::Greater);
        let gone: Vec<Key> = self
            .slots(scope)
            .filter(|(key, slot)| {
                !arriving.slots.contains_key(*key) && !slot.revision().is_some_and(is_later)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in &gone {
            self.slots.remove_shared(key);
        }
        for (key, slot) in arriving.slots.iter() {
            self.learn(slot.clone(), key);
        }
        self.deleted.retain(|key, revision| !scope.holds(key) || is_later(revision));
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
