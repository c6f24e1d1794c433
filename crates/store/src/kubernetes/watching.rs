//! Watches: one list gives the present state, then the server's events follow from its revision on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::Key;
use api::crd::Group;
use tokio::time::Instant;

use super::connection::Server;
use super::fault::FaultClass;
use super::place::{self, Form, Range};
use super::reading::{decode, key_of_object, list_range, record_of};
use super::stream::{LASTS, Stream, Told};
use crate::error::WatchError;
use crate::following::{End, Following, Sender, repeat};
use crate::port::Watch;
use crate::read::{Depth, Scope, ScopeRead};
use crate::view::{Unreadable, View};
use crate::watch::{Event, present};

/// How long the list of the present state may take.
pub(super) const READ_WITHIN: Duration = Duration::from_secs(60);

/// A watch of a [`KubeStore`](super::KubeStore).
#[derive(Debug)]
pub struct KubeWatch {
    server: Arc<Server>,
    scope: Scope,
    form: Form,
    following: Following<Event>,
}

impl KubeWatch {
    pub(super) fn new(server: Arc<Server>, scope: Scope, form: Form) -> KubeWatch {
        KubeWatch { server, scope, form, following: Following::default() }
    }
}

impl Watch for KubeWatch {
    async fn next(&mut self) -> Result<Event, WatchError> {
        let KubeWatch { server, scope, form, following } = self;
        let follow = |sender: Sender<Event>| {
            let (server, scope, form) = (server.clone(), scope.clone(), *form);
            async move { repeat(|| follow(&server, &scope, form, &sender)).await }
        };
        following.next(follow).await
    }
}

/// Sends the state, and the events after it.
async fn follow(server: &Server, scope: &Scope, form: Form, sender: &Sender<Event>) -> End {
    let group = match server.group(Instant::now() + READ_WITHIN).await {
        Ok(group) => group,
        Err(fault) => return fault.into(),
    };
    let read = ScopeRead { scope: scope.clone(), depth: Depth::Full, page: None };
    let mut range = place::of_scope(group, scope).in_form(form);
    let mut listed = list_range(server, group, &range, &read, Instant::now() + READ_WITHIN).await;
    if form == Form::Short && listed.as_ref().is_err_and(|fault| fault.kind == FaultClass::Invalid) {
        // Calico's definitions let nobody select by the state of an affinity.
        range = place::of_scope(group, scope);
        listed = list_range(server, group, &range, &read, Instant::now() + READ_WITHIN).await;
    }
    let listed = match listed {
        Ok(listed) => listed,
        Err(fault) => return fault.into(),
    };
    let Some(revision) = listed.revision else { return End::Gap };
    let mut view = View::new();
    let mut known = HashMap::new();
    for (key, slot) in listed.slots {
        known.insert(range.position(group, &key), Known::Record(key.clone()));
        view.insert(key, slot);
    }
    for (position, stray) in listed.strays {
        known.insert(position, Known::Stray(stray.key.clone()));
        view.insert_stray(stray);
    }
    for event in present(view, scope, revision.clone()) {
        if sender.send(Ok(event)).await.is_err() {
            return End::Unwanted;
        }
    }
    let (url, is_short) = (range.clone(), range.is_short);
    let mut followed = Followed { server, group, scope, range, known };
    let stream = Stream { server, is_short, revision };
    stream.follow(|revision| url.watch_url(revision, LASTS), sender, |told| followed.events_of(&told)).await
}

/// A scope whose events are being followed.
struct Followed<'f> {
    server: &'f Server,
    group: Group,
    scope: &'f Scope,
    range: Range,
    /// The objects of which events were sent, by their position. So an object that is first flagged and then
    /// removed gives only one event.
    known: HashMap<String, Known>,
}

/// What was last sent about an object.
#[derive(PartialEq, Eq)]
enum Known {
    Record(Key),
    /// It was sent as a stray, under this key.
    Stray(String),
}

impl Followed<'_> {
    /// The events that a line of the watch stands for; none where the line tells nothing new.
    fn events_of(&mut self, told: &Told<'_>) -> Vec<Event> {
        let position = self.range.position_of(told.namespace, told.name);
        let event = if told.is_deleted { None } else { self.event(told) };
        let now = event.as_ref().and_then(|event| match event {
            Event::Stray(error) => Some(Known::Stray(error.key.clone())),
            event => event.key().cloned().map(Known::Record),
        });
        let is_other = |before: &Known| now.as_ref() != Some(before);
        let gone = self.known.remove(&position).filter(is_other).map(|before| match before {
            Known::Record(key) => Event::Delete(key, told.revision.clone()),
            Known::Stray(key) => Event::StrayGone(key),
        });
        if let Some(now) = now {
            self.known.insert(position, now);
        }
        gone.into_iter().chain(event).collect()
    }

    /// The event for an object that exists; `None` where the object holds no record of the scope.
    fn event(&self, told: &Told<'_>) -> Option<Event> {
        let error = match decode(self.server, self.group, self.range.what, told.object) {
            Ok(object) => {
                let object = object.filter(|object| !object.is_deleted && self.scope.holds(&object.key))?;
                return Some(Event::Apply(Arc::new(record_of(object))));
            }
            Err(error) => error,
        };
        Some(match key_of_object(&self.range, told.name).filter(|key| self.scope.holds(key)) {
            Some(key) => {
                Event::Unreadable(key, Arc::new(Unreadable { error, revision: told.revision.clone() }))
            }
            None => Event::Stray(error),
        })
    }
}
