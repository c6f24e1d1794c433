//! Reads: GETs and lists, several at the same time.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use api::crd::{self, Collection, Group, Object};
use api::{DecodeError, Key, Record, Revision};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::bounded;
use super::connection::{METADATA_LIST, Question, Server};
use super::fault::{FaultClass, RequestFault};
use super::pages::List;
use super::place::{self, Place, Range, What};
use super::writing::removal;
use crate::error::StoreError;
use crate::read::{Depth, ReadSet, Scope, ScopeRead};
use crate::view::{Slot, Unreadable, View};

/// How many requests of one read are under way at once.
const AT_ONCE: usize = 32;
/// How many objects a page of a list has; Calico's client asks for as many.
const PAGE: usize = 500;
/// How many handles a page has. They are small, and a cluster has one for each pod: for every page the server
/// counts all that remain.
const HANDLES: usize = 5_000;

pub(super) async fn read(server: &Server, set: &ReadSet, deadline: Instant) -> Result<View, StoreError> {
    if set.is_empty() {
        return Ok(View::new());
    }
    let group = server.group(deadline).await.map_err(RequestFault::into_error)?;
    let parts: Vec<Part<'_>> = (set.scopes.iter().map(Part::Scope))
        .chain(set.keys.iter().map(|(key, depth)| Part::Key(key, *depth)))
        .collect();
    let mut asked: Vec<BoxFuture<'_, Result<PartRead, StoreError>>> = Vec::with_capacity(parts.len());
    for part in &parts {
        asked.push(Box::pin(part.look(server, group, deadline)));
    }
    let mut seen = stream::iter(asked).buffered(AT_ONCE);
    let mut view = View::new();
    let mut at = parts.iter();
    while let Some(found) = seen.next().await {
        match (at.next(), found?) {
            (Some(Part::Scope(read)), PartRead::Scope(listed)) => {
                for (key, slot) in listed.slots {
                    view.insert(key, slot);
                }
                listed.strays.into_iter().for_each(|(_, stray)| view.insert_stray(stray));
                if let Some(revision) = listed.revision {
                    note_revision(&mut view, revision);
                }
                view.page_read(read, listed.last);
            }
            (Some(Part::Key(key, _)), PartRead::Key(slot)) => view.insert((*key).clone(), slot),
            _ => unreachable!("answers come in the order of what was asked"),
        }
    }
    Ok(view)
}

/// A part of a read set, which takes a request of its own, or several.
#[derive(Clone, Copy)]
enum Part<'s> {
    Scope(&'s ScopeRead),
    Key(&'s Key, Depth),
}

/// What a part of a read set was found to be.
enum PartRead {
    Scope(Listed),
    Key(Slot),
}

impl Part<'_> {
    async fn look(self, server: &Server, group: Group, deadline: Instant) -> Result<PartRead, StoreError> {
        Ok(match self {
            Part::Scope(read) => {
                PartRead::Scope(list(server, group, read, deadline).await.map_err(RequestFault::into_error)?)
            }
            Part::Key(key, depth) => PartRead::Key(match look(server, group, key, deadline).await {
                Ok(ObjectAtName::Record(record, _)) => Slot::of(&record, depth),
                Ok(ObjectAtName::Tombstone(uid, revision)) => {
                    if let Ok(place) = place::of_key(group, key) {
                        bury(server, &place, &uid, &revision, deadline).await;
                    }
                    Slot::Absent
                }
                Ok(_) => Slot::Absent,
                Err(LookError::Unreadable(unreadable)) if depth == Depth::Key => {
                    Slot::Key(unreadable.revision)
                }
                Err(LookError::Unreadable(unreadable)) => Slot::Unreadable(Arc::new(unreadable)),
                Err(LookError::Fault(fault)) => return Err(fault.into_error()),
            }),
        })
    }
}

/// Sets the view's revision to the oldest of its lists' revisions: it holds for all of them.
fn note_revision(view: &mut View, revision: Revision) {
    match view.revision() {
        Some(known) if known.compare(&revision) != Some(Ordering::Greater) => {}
        _ => view.set_revision(revision),
    }
}

/// What is stored under the object name of a key.
pub(super) enum ObjectAtName {
    /// There is no object, and there can be none, for this reason.
    Nowhere(String),
    /// There is no object.
    Nothing,
    /// The record, and its object's UID.
    Record(Arc<Record>, String),
    /// An object whose deletion has begun: its UID and its revision.
    Tombstone(String, Revision),
    /// The object belongs to another record, of this key.
    Another(Key),
}

/// Reads the object under the name of a key.
pub(super) async fn look(
    server: &Server,
    group: Group,
    key: &Key,
    deadline: Instant,
) -> Result<ObjectAtName, LookError> {
    let place = match place::of_key(group, key) {
        Ok(place) => place,
        Err(reason) => return Ok(ObjectAtName::Nowhere(reason)),
    };
    let text = match server.ask(Question::get(place.path()), deadline).await {
        Ok(text) => text,
        Err(fault) if fault.kind == FaultClass::Absent => return Ok(ObjectAtName::Nothing),
        Err(fault) => return Err(LookError::Fault(fault)),
    };
    let object = match decode(server, group, place.what, &text) {
        Ok(Some(object)) => object,
        Ok(None) => return Ok(ObjectAtName::Nothing),
        Err(error) => {
            let revision = ShortMeta::of(&text).revision;
            return Err(LookError::Unreadable(Unreadable { error, revision: Revision::new(revision) }));
        }
    };
    if object.is_deleted {
        return Ok(ObjectAtName::Tombstone(object.uid, object.revision));
    }
    if object.key != *key {
        return Ok(ObjectAtName::Another(object.key));
    }
    let uid = object.uid.clone();
    let record = Arc::new(record_of(object));
    if matches!(place.what, What::Custom(collection) if collection.has_tombstones()) {
        server.recent.note(key, record.revision.clone(), Arc::new(record.value.clone()));
    }
    Ok(ObjectAtName::Record(record, uid))
}

/// Why a look gave no answer.
pub(super) enum LookError {
    Fault(RequestFault),
    /// The object exists and cannot be parsed.
    Unreadable(Unreadable),
}

/// The UIDs of the objects that hold these records, as Calico shows them.
pub(super) async fn uids(
    server: &Server,
    keys: &[Key],
    deadline: Instant,
) -> Result<Vec<Option<String>>, StoreError> {
    let group = server.group(deadline).await.map_err(RequestFault::into_error)?;
    let mut asked: Vec<BoxFuture<'_, Result<ObjectAtName, LookError>>> = Vec::with_capacity(keys.len());
    for key in keys {
        asked.push(Box::pin(look(server, group, key, deadline)));
    }
    let mut seen = stream::iter(asked).buffered(AT_ONCE);
    let mut uids = Vec::with_capacity(keys.len());
    while let Some(found) = seen.next().await {
        uids.push(match found {
            Ok(ObjectAtName::Record(_, uid)) if group == Group::V1 => Some(crd::convert_uid(&uid)),
            Ok(ObjectAtName::Record(_, uid)) => Some(uid),
            Ok(_) | Err(LookError::Unreadable(_)) => None,
            Err(LookError::Fault(fault)) => return Err(fault.into_error()),
        });
    }
    Ok(uids)
}

/// Removes an object whose deletion has begun and whose second phase was lost, for example because the client
/// died in between. Nobody else would come back to an object that reads as absent. An error is ignored: the
/// object only stays a little longer. The DELETE demands that UID and revision, so it removes no other
/// object.
async fn bury(server: &Server, place: &Place, uid: &str, revision: &Revision, deadline: Instant) {
    let _ = server.ask(removal(place, Some(uid), revision), deadline).await;
}

/// Removes the objects in a list whose deletions have begun, at most that many. Gives how many there were.
pub(super) async fn bury_listed(
    server: &Server,
    (group, collection): (Group, Collection),
    items: &[&RawValue],
    most: usize,
    deadline: Instant,
) -> usize {
    // The list's caller waits, so items are parsed only where their text shows that they may be flagged. An
    // affinity's flag is a text.
    let is_flagged = |text: &str| text.contains("\"deleted\":true") || text.contains("\"deleted\":\"true\"");
    let mut found = 0;
    for item in items.iter().filter(|item| is_flagged(item.get())).take(most) {
        let Ok(object) = crd::decode(group, collection, item.get()) else { continue };
        if let (true, Ok(place)) = (object.is_deleted, place::of_key(group, &object.key)) {
            bury(server, &place, &object.uid, &object.revision, deadline).await;
            found += 1;
        }
    }
    found
}

pub(super) fn record_of(object: Object) -> Record {
    Record { key: object.key, value: object.value, revision: object.revision }
}

/// Parses an object; `None` for a Pod that is no endpoint.
pub(super) fn decode(
    server: &Server,
    group: Group,
    what: What,
    text: &str,
) -> Result<Option<Object>, DecodeError> {
    match what {
        What::Custom(collection) => crd::decode(group, collection, text).map(Some),
        What::Nodes => crd::node::decode(text).map(Some),
        What::Pods => crd::pod::decode(server.interface_prefix(), text),
    }
}

/// The contents of a scope, or of a page of it.
#[derive(Default)]
pub(super) struct Listed {
    pub(super) slots: Vec<(Key, Slot)>,
    /// Objects that cannot be read and whose records cannot be told, each by the position of its object.
    pub(super) strays: Vec<(String, DecodeError)>,
    /// The last key of the page; `None` where the scope has no more records.
    last: Option<Key>,
    /// The server's revision when it made the list.
    pub(super) revision: Option<Revision>,
}

/// Reads a scope, or a page of it.
pub(super) async fn list(
    server: &Server,
    group: Group,
    read: &ScopeRead,
    deadline: Instant,
) -> Result<Listed, RequestFault> {
    list_range(server, group, &place::of_scope(group, &read.scope), read, deadline).await
}

/// Reads those records of a range that belong to a scope, or a page of them.
pub(super) async fn list_range(
    server: &Server,
    group: Group,
    range: &Range,
    read: &ScopeRead,
    deadline: Instant,
) -> Result<Listed, RequestFault> {
    if matches!(&read.scope, Scope::Resources { kind, .. } if !place::is_kept(*kind)) {
        return Ok(Listed::default());
    }
    let wanted = read.page.as_ref().map_or(usize::MAX, |page| page.limit.max(1));
    let after = read.page.as_ref().and_then(|page| page.after.as_ref()).map(|key| range.position(group, key));
    let short = read.depth == Depth::Key && range.what.is_told_by_metadata();
    let mut token = after.as_deref().map(place::token_after);
    let mut passes_over = None;
    let (mut page, mut bytes) = (if read.scope == Scope::Handles { HANDLES } else { PAGE }, 0);
    let mut listed = Listed::default();
    // A list may continue with a later state. Then a record may appear again, if its object moved in the
    // order.
    let mut keys = HashSet::new();
    loop {
        let url = range.url((wanted - listed.slots.len()).min(page), token.as_deref());
        let accept = match short || range.is_short {
            true => METADATA_LIST,
            false => Question::get(String::new()).accept,
        };
        let question = Question { accept, most: bounded::PAGE, ..Question::get(url) };
        let text = match server.ask(question, deadline).await {
            Ok(text) => text,
            Err(fault) => match fault.kind {
                FaultClass::Gone(next) => {
                    if next.is_none() {
                        listed.slots.clear();
                        listed.strays.clear();
                        keys.clear();
                    }
                    token = next.or_else(|| after.as_deref().map(place::token_after));
                    continue;
                }
                // The objects may be large: ask for fewer at once.
                FaultClass::Endless if page > 1 => {
                    page = (page / 8).max(1);
                    continue;
                }
                // The server does not accept the token that this client has made: read from the start, and
                // skip the records up to `after`.
                FaultClass::Invalid
                    if after.is_some() && listed.slots.is_empty() && passes_over.is_none() =>
                {
                    (token, passes_over) = (None, after.clone());
                    continue;
                }
                _ => return Err(fault),
            },
        };
        bytes += text.len();
        if bytes > bounded::LIST {
            return Err(RequestFault::endless(server.shown(), bounded::LIST));
        }
        let list: List<'_> =
            serde_json::from_str(&text).map_err(|error| RequestFault::nonsense(server.shown(), &error))?;
        let items = list.items.unwrap_or_default();
        if matches!(read.scope, Scope::Handles) {
            bury_listed(server, (group, Collection::Handles), &items, AT_ONCE, deadline).await;
        }
        for item in items {
            let (key, slot) = match item_slot(server, group, range, read, short, item.get()) {
                Ok(Some(seen)) => seen,
                Ok(None) => continue,
                Err(error) => {
                    // The object's name tells the scope's key. Where it does not, the list reports the
                    // fault as a stray, under the object's own name.
                    let meta = ShortMeta::of(item.get());
                    match key_of_object(range, &meta.name).filter(|key| read.scope.holds(key)) {
                        Some(key) => (key, Slot::unreadable(error, Revision::new(meta.revision))),
                        None => {
                            listed.strays.push((range.position_of(&meta.namespace, &meta.name), error));
                            continue;
                        }
                    }
                }
            };
            let is_before =
                |position: &String| passes_over.as_ref().is_some_and(|after: &String| position <= after);
            if is_before(&range.position(group, &key)) || !keys.insert(key.clone()) {
                continue;
            }
            if let (Scope::Affinities { owner: Some(_), .. }, Slot::Full(record)) = (&read.scope, &slot) {
                server.recent.note(&key, record.revision.clone(), Arc::new(record.value.clone()));
            }
            listed.slots.push((key, slot));
        }
        listed.revision.get_or_insert_with(|| Revision::new(list.metadata.revision));
        token = Some(list.metadata.token).filter(|token| !token.is_empty());
        if token.is_none() || listed.slots.len() >= wanted {
            let is_cut = token.is_some() || listed.slots.len() > wanted;
            listed.slots.truncate(wanted);
            listed.last = listed.slots.last().map(|(key, _)| key.clone()).filter(|_| is_cut);
            return Ok(listed);
        }
    }
}

/// What an item of a list says of its record; `None` where the record does not belong to the scope or does
/// not exist.
fn item_slot(
    server: &Server,
    group: Group,
    range: &Range,
    read: &ScopeRead,
    short: bool,
    text: &str,
) -> Result<Option<(Key, Slot)>, DecodeError> {
    let seen = match range.what {
        _ if short => short_form(&read.scope, text)?,
        What::Custom(Collection::Blocks) if read.depth == Depth::Header => {
            let object = crd::decode_header(group, text)?;
            (!object.is_deleted)
                .then(|| (Key::Block(object.block), Slot::Header(object.header, object.revision)))
        }
        what => decode(server, group, what, text)?.filter(|object| !object.is_deleted).map(|object| {
            let record = Arc::new(record_of(object));
            (record.key.clone(), Slot::of(&record, read.depth))
        }),
    };
    Ok(seen.filter(|(key, _)| read.scope.holds(key)))
}

/// The key of the record that an object of that name stores; `None` where the name tells none.
pub(super) fn key_of_object(range: &Range, name: &str) -> Option<Key> {
    match range.what {
        What::Custom(collection) => crd::key_of_name(collection, name),
        What::Nodes => Some(Key::global(api::Kind::Node, name)),
        What::Pods => None,
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Short {
    metadata: ShortMeta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ShortMeta {
    name: String,
    namespace: String,
    #[serde(rename = "resourceVersion")]
    revision: String,
}

impl ShortMeta {
    /// The metadata of an object's text; empty where the text has none.
    fn of(text: &str) -> ShortMeta {
        serde_json::from_str::<Short>(text).unwrap_or_default().metadata
    }
}

/// Reads an item in the server's short form. The short form lacks the flag of deletion, so a flagged block
/// still appears. Reads of greater depth see the flag.
fn short_form(scope: &Scope, text: &str) -> Result<Option<(Key, Slot)>, DecodeError> {
    let ShortMeta { name, revision, .. } = ShortMeta::of(text);
    let key = match scope {
        Scope::Resources { kind, .. } => Key::global(*kind, name),
        _ => match crd::block_of_name(&name) {
            Some(block) => Key::Block(block),
            None => {
                return Err(DecodeError::new(
                    format!("IPAMBlock({name})"),
                    "metadata.name",
                    "it is no block's",
                ));
            }
        },
    };
    Ok(Some((key, Slot::Key(Revision::new(revision)))))
}
