//! Blocks and affinities that a crash left flagged for deletion: they read as absent, and stay until somebody
//! removes them. (Whoever lists handles removes those.)

use api::crd::Collection;
use tokio::time::Instant;

use super::connection::Server;
use super::fault::RequestFault;
use super::pages::{List, Paged, Pages};
use super::reading::bury_listed;
use crate::error::StoreError;

/// How many objects a page has.
const PAGE: usize = 500;

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
            let items = list.items.unwrap_or_default();
            found += bury_listed(server, (group, collection), &items, usize::MAX, deadline).await;
        }
    }
    Ok(found)
}
