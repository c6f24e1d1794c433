//! Blocks and affinities that a crash left flagged for deletion: they read as absent, and stay until somebody
//! removes them. (Whoever lists handles removes those.)

use api::crd::{self, Collection};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::connection::Server;
use super::fault::RequestFault;
use super::pages::{Paged, Pages};
use super::place;
use super::reading::bury;
use crate::error::StoreError;

/// How many objects a page has.
const PAGE: usize = 500;

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

/// Removes the objects whose deletions have begun. Gives how many it found.
pub(super) async fn bury_all(server: &Server, deadline: Instant) -> Result<usize, StoreError> {
    let group = server.group(deadline).await.map_err(RequestFault::into_error)?;
    let mut found = 0;
    for collection in [Collection::Affinities, Collection::Blocks] {
        let path = collection.path(group);
        let mut pages = Pages::of(server, &path, PAGE, "");
        while let Some(paged) = pages.next(deadline).await.map_err(RequestFault::into_error)? {
            let Paged::Page(text, _) = paged else { continue };
            let list: List<'_> = serde_json::from_str(&text)
                .map_err(|error| RequestFault::nonsense(server.shown(), &error).into_error())?;
            // Few objects are flagged, and to parse each takes time.
            let may_be = |item: &&RawValue| item.get().contains("\"deleted\":");
            for item in list.items.unwrap_or_default().into_iter().filter(may_be) {
                let Ok(object) = crd::decode(group, collection, item.get()) else { continue };
                if let (true, Ok(place)) = (object.is_deleted, place::of_key(group, &object.key)) {
                    bury(server, &place, &object.uid, &object.revision, deadline).await;
                    found += 1;
                }
            }
        }
    }
    Ok(found)
}
