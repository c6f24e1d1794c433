//! The deletions themselves: many at once, and each by itself.

use std::mem;

use api::{Backend, Key, Kind, Resource, Value};
use futures_util::stream::{self, StreamExt};
use store::{Batch, Depth, Effects, Expect, Outcome, ReadSet, Refusal, Scope, Store, StoreError, View};

use super::{Found, Purging};

/// How many records a batch deletes.
const BATCH: usize = 50;
/// How many batches are under way at once in Kubernetes, where each deletion is a request of its own.
const AT_ONCE: usize = 8;
/// How the finalizers begin by which Calico's controllers keep an object.
const FINALIZERS: &str = "projectcalico.org/";

/// What became of a record that was to be deleted.
enum Ended {
    Deleted,
    /// The store refuses it for good, for this reason.
    Refused(String),
    /// It has changed meanwhile, or nobody knows: the next look shows.
    Unsure,
}

impl<S: Store, E: Effects> Purging<'_, S, E> {
    /// Deletes records, in no particular order.
    pub(super) async fn delete(
        &mut self,
        found: Vec<Found>,
        tell: &mut impl FnMut(usize),
    ) -> Result<(), StoreError> {
        let parts: Vec<Vec<Found>> = found.chunks(BATCH).map(<[Found]>::to_vec).collect();
        // Other stores take one batch at a time.
        let at_once = if self.backend == Backend::Kubernetes { AT_ONCE } else { 1 };
        let (mut removed, mut deleted) = (mem::take(&mut self.removed), mem::take(&mut self.deleted));
        let (mut stays, mut failed) = (Vec::new(), None);
        {
            let ended = stream::iter(parts).map(|part| self.delete_part(part)).buffer_unordered(at_once);
            let mut all = std::pin::pin!(ended);
            while let Some((ended, error)) = all.next().await {
                for (key, ended) in ended {
                    match ended {
                        Ended::Deleted if matches!(key, Key::Resource { .. }) => deleted.extend([key]),
                        Ended::Deleted => removed.add(&key),
                        Ended::Refused(reason) => stays.push((key, reason)),
                        Ended::Unsure => {}
                    }
                }
                tell(removed.total() + deleted.len());
                failed = failed.or(error);
            }
        }
        (self.removed, self.deleted) = (removed, deleted);
        self.stays.extend(stays);
        failed.map_or(Ok(()), Err)
    }

    /// Deletes the records of a part, and goes on past those that the store refuses. Gives what became of
    /// each of those that were tried, and the error that ended it.
    async fn delete_part(&self, part: Vec<Found>) -> (Vec<(Key, Ended)>, Option<StoreError>) {
        let (mut ended, mut pending) = (Vec::new(), part);
        while !pending.is_empty() {
            let mut batch = Batch::new();
            for one in &pending {
                batch.delete(one.key.clone(), Expect::at(&one.revision));
            }
            let report = match self.store.commit(&batch, self.within).await {
                Ok(report) => report,
                Err(StoreError::Denied(reason)) => {
                    ended.extend(pending.into_iter().map(|one| (one.key, Ended::Refused(reason.clone()))));
                    break;
                }
                Err(error) => return (ended, Some(error)),
            };
            let before = pending.len();
            let mut rest = Vec::new();
            for (one, outcome) in pending.into_iter().zip(report.outcomes) {
                let became = match outcome {
                    Outcome::Applied(_) => Ended::Deleted,
                    Outcome::Refused(Refusal::Conflict(_)) | Outcome::Unknown(_) => Ended::Unsure,
                    Outcome::Refused(refusal) => Ended::Refused(refusal.to_string()),
                    Outcome::NotTried => {
                        rest.push(one);
                        continue;
                    }
                };
                ended.push((one.key, became));
            }
            if rest.len() == before {
                break;
            }
            pending = rest;
        }
        (ended, None)
    }

    /// Takes from pools the finalizers by which Calico's controllers keep them, for no controller is left
    /// that would.
    pub(super) async fn free_pools(&mut self) -> Result<(), StoreError> {
        let pools = ReadSet::new().scope(Scope::kind(Kind::IPPool), Depth::Full);
        let view = self.store.read(&pools, self.within).await?;
        for (pool, revision) in view.resources(Kind::IPPool) {
            let Some(freed) = without_finalizers(pool) else { continue };
            let mut batch = Batch::new();
            batch.put(pool.key(), Expect::at(revision), Value::Resource(freed));
            let report = self.store.commit(&batch, self.within).await?;
            if let Some((_, refusal)) = report.refusal().filter(|(_, refusal)| !is_conflict(refusal)) {
                self.stays.insert(pool.key(), format!("its finalizer cannot be taken away: {refusal}"));
            }
        }
        Ok(())
    }
}

/// Why a record is there again after it was deleted, as this view shows it.
pub(super) fn why_again(view: &View, key: &Key) -> String {
    let kept: Vec<&str> = match view.resource(key) {
        Some(Some((resource, _))) if resource.metadata().is_deleting() => {
            resource.metadata().finalizers().collect()
        }
        _ => Vec::new(),
    };
    match kept.is_empty() {
        true => "it is written again and again: stop whoever uses the datastore".to_string(),
        false => format!("it is kept by its finalizers {}", kept.join(", ")),
    }
}

fn is_conflict(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Conflict(_))
}

/// The resource without the finalizers of Calico's controllers; `None` where it has none.
fn without_finalizers(resource: &Resource) -> Option<Resource> {
    let (calicos, others): (Vec<&str>, Vec<&str>) =
        resource.metadata().finalizers().partition(|one| one.starts_with(FINALIZERS));
    (!calicos.is_empty()).then(|| {
        resource.with(|metadata, _| {
            metadata.rest.insert("finalizers".to_string(), others.into());
        })
    })
}
