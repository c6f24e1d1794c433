//! Objects of Calico's kinds that are no records: such as nobody can read, and such as a crash left flagged
//! for deletion. No read of records tells their keys, so only the server's own names lead to them.

use api::crd::{self, Collection, Group};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::connection::{Question, Server};
use super::fault::{FaultClass, RequestFault};
use super::pages::{List, Paged, Pages};
use crate::error::StoreError;

/// How many objects a page has.
const PAGE: usize = 500;

/// An object that is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// The object as kubectl names it: `ippools.crd.projectcalico.org/a`.
    pub name: String,
    /// Why it could not be removed; `None` where it was.
    pub fault: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    metadata: Meta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Meta {
    name: String,
    uid: String,
    #[serde(rename = "resourceVersion")]
    revision: String,
}

/// Removes every stray of these collections, each in the state in which it was found. One that cannot be
/// removed does not keep others from their turn.
pub(super) async fn remove(
    server: &Server,
    collections: &[Collection],
    deadline: Instant,
) -> Result<Vec<Stray>, StoreError> {
    let group = server.group(deadline).await.map_err(RequestFault::into_error)?;
    let mut removed = Vec::new();
    for collection in collections {
        for meta in find(server, group, *collection, deadline).await.map_err(RequestFault::into_error)? {
            let fault = match server.ask(removal(group, *collection, &meta), deadline).await {
                Ok(_) => None,
                Err(fault) if fault.kind == FaultClass::Absent => None,
                Err(fault) => Some(fault.text),
            };
            let name = format!("{}.{}/{}", collection.plural(group), group.name(), meta.name);
            removed.push(Stray { name, fault });
        }
    }
    Ok(removed)
}

async fn find(
    server: &Server,
    group: Group,
    collection: Collection,
    deadline: Instant,
) -> Result<Vec<Meta>, RequestFault> {
    let mut found = Vec::new();
    let path = collection.path(group);
    let mut pages = Pages::of(server, &path, PAGE, "");
    while let Some(paged) = pages.next(deadline).await? {
        let Paged::Page(text, _) = paged else {
            found.clear();
            continue;
        };
        let list: List<'_> =
            serde_json::from_str(&text).map_err(|error| RequestFault::nonsense(server.shown(), &error))?;
        let items = list.items.unwrap_or_default().into_iter().map(|item| item.get());
        let strays = items
            .filter(|text| crd::decode(group, collection, text).map_or(true, |object| object.is_deleted));
        found.extend(strays.map(|text| serde_json::from_str::<Named>(text).unwrap_or_default().metadata));
    }
    Ok(found)
}

fn removal(group: Group, collection: Collection, meta: &Meta) -> Question {
    let preconditions = json!({"uid": meta.uid, "resourceVersion": meta.revision});
    Question::delete(format!("{}/{}", collection.path(group), meta.name), "preconditions", preconditions)
}
