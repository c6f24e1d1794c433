//! Carries out what is to be done about pools: on Kubernetes, in the group projectcalico.org/v3.

use std::time::Duration;

use api::Key;
use controllers::pools::{Finalizer, Judged, judge, put_finalizer};
use ipam::{ReleaseAffinities, Which};
use store::kubernetes::{KubeStore, ObjectName, Replaced};
use store::{Depth, Effects, ReadSet, Scope, Store, StoreError, View};

use super::lead::Leading;

/// What a pass has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// How many writes it made.
    pub writes: usize,
    /// Whether something is left to do that no event will tell of: another writer was faster, or this process
    /// leads no more.
    pub is_unfinished: bool,
}

/// Looks after pools.
#[derive(Clone, Copy, Debug)]
pub struct Keeper<'k, E> {
    /// The store.
    pub store: &'k KubeStore,
    /// Whether this process still leads.
    pub leading: &'k Leading,
    /// The clock.
    pub effects: &'k E,
    /// How long a call to the store may take.
    pub within: Duration,
}

impl<E: Effects> Keeper<'_, E> {
    /// Does what is due. `view` holds pools and blocks in full, and affinities at least by their keys. A
    /// fault of one pool does not keep others from their turn.
    ///
    /// # Errors
    /// The first of the store's.
    pub async fn pass(&self, view: &View) -> Result<Pass, StoreError> {
        let mut pass = Pass::default();
        if self.store.group(self.within).await? != api::crd::Group::V3 {
            return Ok(pass);
        }
        let mut failed = None;
        for judged in judge(view).iter().filter(|judged| !judged.is_settled()) {
            if !self.leading.is_leader() {
                pass.is_unfinished = true;
                break;
            }
            match self.settle(judged).await {
                Ok((writes, is_done)) => {
                    pass.writes += writes;
                    pass.is_unfinished |= !is_done;
                }
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(pass), Err)
    }

    /// Gives how many writes were made, and whether all is done.
    async fn settle(&self, judged: &Judged) -> Result<(usize, bool), StoreError> {
        for release in &judged.releases {
            let which = Which::One(release.owner.clone(), release.block);
            let request = ReleaseAffinities { which, must_be_empty: release.must_be_empty };
            match ipam::run(self.store, self.effects, request.planner(), self.within).await {
                Ok(_) => {
                    tracing::info!(
                        pool = judged.name, block = %release.block, owner = %release.owner,
                        "the pool is being deleted: the affinity is released"
                    );
                }
                Err(error) => tracing::warn!(pool = judged.name, block = %release.block, "{error}"),
            }
        }
        let group = format!("/apis/{}", api::crd::Group::V3.api_version());
        let name = ObjectName { api: &group, plural: "ippools", namespace: None, name: &judged.name };
        let Some(mut object) = self.store.object(name, self.within).await? else {
            return Ok((judged.releases.len(), true));
        };
        let mut writes = judged.releases.len();
        if object["metadata"]["resourceVersion"] != judged.revision.as_str() {
            // Another state than the one that was judged: the watch brings it.
            return Ok((writes, false));
        }
        if judged.is_changed {
            judged.condition.put_on(&mut object, &api::time::rfc3339(self.effects.now()));
            match self.store.replace_object(name, true, &object, self.within).await? {
                Replaced::Done(stored) => object = *stored,
                Replaced::Changed | Replaced::Absent => return Ok((writes, false)),
            }
            writes += 1;
            tracing::info!(pool = judged.name, reason = judged.condition.reason, overlaps = ?judged.overlaps, "{}",
                judged.condition.message);
        }
        let is_empty = match judged.finalizer {
            Finalizer::Stays => return Ok((writes, true)),
            Finalizer::RemoveOnceEmpty => !self.has_blocks(judged).await?,
            Finalizer::Add | Finalizer::Remove => true,
        };
        if !is_empty {
            // The end of the last block will be told.
            return Ok((writes, true));
        }
        put_finalizer(&mut object, judged.finalizer == Finalizer::Add);
        match self.store.replace_object(name, false, &object, self.within).await? {
            Replaced::Done(_) => Ok((writes + 1, true)),
            Replaced::Changed => Ok((writes, false)),
            // The last finalizer of a pool that was being deleted.
            Replaced::Absent => Ok((writes, true)),
        }
    }

    /// Whether any block is the pool's own, by a fresh look: one may have been claimed since.
    async fn has_blocks(&self, judged: &Judged) -> Result<bool, StoreError> {
        let scope = Scope::Blocks { family: Some(judged.cidr.family()) };
        let view = self.store.read(&ReadSet::new().scope(scope.clone(), Depth::Header), self.within).await?;
        Ok(view.slots(&scope).any(|(key, slot)| match key {
            Key::Block(block) => slot.revision().is_some() && judged.owns(*block),
            _ => false,
        }))
    }
}
