//! Affinities that old releases wrote without the labels by which a host's affinities are found
//! (`libcalico-go/lib/ipam/ipam.go`, `UpgradeHost`).

use api::{Key, Owner};
use tokio::time::Instant;

use super::connection::Server;
use super::fault::RequestFault;
use super::place;
use super::reading::list_range;
use super::writing;
use crate::batch::{Batch, Expect, Outcome};
use crate::error::{Refusal, StoreError};
use crate::read::{Depth, Scope, ScopeRead};
use crate::view::Slot;

/// How often to read an affinity again because it changed before it was written.
const ATTEMPTS: usize = 10;

/// Writes a host's unlabelled affinities again, which adds the labels. Gives how many there were.
pub(super) async fn label(server: &Server, host: &str, deadline: Instant) -> Result<usize, StoreError> {
    let group = server.group(deadline).await.map_err(RequestFault::into_error)?;
    let range = place::of_unlabelled_affinities(group);
    let scope = Scope::Affinities { owner: Some(Owner::Host(host.to_string())), family: None };
    let read = ScopeRead { scope, depth: Depth::Full, page: None };
    let mut labelled = 0;
    for _ in 0..ATTEMPTS {
        let listed =
            list_range(server, group, &range, &read, deadline).await.map_err(RequestFault::into_error)?;
        let mut batch = Batch::new();
        for (key, slot) in listed.slots {
            let (Key::Affinity { .. }, Slot::Full(record)) = (&key, slot) else { continue };
            batch.put(key, Expect::Revision(record.revision.clone()), record.value.clone());
        }
        if batch.is_empty() {
            return Ok(labelled);
        }
        let report = writing::commit(server, &batch, deadline).await?;
        labelled += report.outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Applied(_))).count();
        if report.is_applied() {
            return Ok(labelled);
        }
        for outcome in report.outcomes {
            match outcome {
                Outcome::Unknown(reason) => return Err(StoreError::Unavailable(reason)),
                Outcome::Refused(Refusal::Denied(reason)) => return Err(StoreError::Denied(reason)),
                Outcome::Applied(_) | Outcome::NotTried | Outcome::Refused(Refusal::Conflict(_)) => {}
                Outcome::Refused(refusal) => return Err(StoreError::Unusable(refusal.to_string())),
            }
        }
    }
    Err(StoreError::Unavailable(format!(
        "the affinities of {host} change faster than they can be given their labels"
    )))
}
