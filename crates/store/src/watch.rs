//! Events of a watch.

use std::sync::Arc;

use api::{DecodeError, Key, Record, Revision};

use crate::view::Unreadable;
#[cfg(any(feature = "memory", feature = "sqlite", feature = "etcd", feature = "kubernetes"))]
use crate::{
    read::Scope,
    view::{Slot, View},
};

/// What a watch tells; see [`Watch`](crate::port::Watch) for the order.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The present state follows. What was known before holds until [`Event::InitDone`].
    Init,
    /// A record of the present state.
    InitApply(Arc<Record>),
    /// The present state is complete, as of that revision.
    InitDone(Revision),
    /// A record was created or changed.
    Apply(Arc<Record>),
    /// A record was deleted.
    Delete(Key, Revision),
    /// A record exists and cannot be read: it is in the present state, or it was written so just now.
    Unreadable(Key, Arc<Unreadable>),
    /// Something in the scope is no record, or has no key from which its record could be told.
    Stray(DecodeError),
    /// The stray with that key is gone.
    StrayGone(String),
}

impl Event {
    /// The key of the record that the event is about; `None` where it is about no record.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Event::InitApply(record) | Event::Apply(record) => Some(&record.key),
            Event::Delete(key, _) | Event::Unreadable(key, _) => Some(key),
            Event::Init | Event::InitDone(_) | Event::Stray(_) | Event::StrayGone(_) => None,
        }
    }
}

/// The first events of a watch, made from a view of all of its scope in full.
#[cfg(any(feature = "memory", feature = "sqlite", feature = "kubernetes"))]
pub(crate) fn present(view: View, scope: &Scope, revision: Revision) -> Vec<Event> {
    let mut events = vec![Event::Init];
    events.extend(present_page(view, scope));
    events.push(Event::InitDone(revision));
    events
}

/// The events of a page of the present state, which was read in full.
#[cfg(any(feature = "memory", feature = "sqlite", feature = "etcd", feature = "kubernetes"))]
pub(crate) fn present_page(view: View, scope: &Scope) -> Vec<Event> {
    let events = view.slots(scope).filter_map(|(key, slot)| match slot {
        Slot::Full(record) => Some(Event::InitApply(record.clone())),
        Slot::Unreadable(unreadable) => Some(Event::Unreadable(key.clone(), unreadable.clone())),
        Slot::Absent | Slot::Key(_) | Slot::Header(..) => None,
    });
    let mut events: Vec<Event> = events.collect();
    events.extend(view.into_strays().map(Event::Stray));
    events
}
