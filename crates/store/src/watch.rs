//! Events of a watch.

use std::sync::Arc;

use api::{DecodeError, Key, Record, Revision};

use crate::read::Scope;
use crate::view::{Slot, Unreadable, View};

/// What a watch tells; see [`Watch`](crate::port::Watch) for the order.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The present state follows. What was known stands until all of it is told.
    Init,
    /// A record of the present state.
    InitApply(Arc<Record>),
    /// The present state is told, as of that revision.
    InitDone(Revision),
    /// A record was created or changed.
    Apply(Arc<Record>),
    /// A record was deleted.
    Delete(Key, Revision),
    /// A record exists and cannot be read: in the present state, or from now on.
    Unreadable(Key, Arc<Unreadable>),
    /// Something lies in the scope and is no record, or does not tell which.
    Stray(DecodeError),
    /// What was told as a stray, by its key, is gone.
    StrayGone(String),
}

impl Event {
    /// The record that it is about, if it is about one.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Event::InitApply(record) | Event::Apply(record) => Some(&record.key),
            Event::Delete(key, _) | Event::Unreadable(key, _) => Some(key),
            Event::Init | Event::InitDone(_) | Event::Stray(_) | Event::StrayGone(_) => None,
        }
    }
}

/// What a watch tells first, of a scope that was read whole and in full.
pub(crate) fn present(view: View, scope: &Scope, revision: Revision) -> Vec<Event> {
    let mut events = vec![Event::Init];
    events.extend(view.slots(scope).filter_map(|(key, slot)| match slot {
        Slot::Full(record) => Some(Event::InitApply(record.clone())),
        Slot::Unreadable(unreadable) => Some(Event::Unreadable(key.clone(), unreadable.clone())),
        Slot::Absent | Slot::Key(_) | Slot::Header(..) => None,
    }));
    events.extend(view.into_strays().map(Event::Stray));
    events.push(Event::InitDone(revision));
    events
}
