//! Deletion of a pool: disable it, release the affinities of its blocks, delete it (`clientv3/ippool.go`).
//!
//! Calico waits for half a second after disabling, so that allocations which saw the pool enabled end before
//! the affinities are released. This code does not wait. Disabling changes the pool's revision, so a late
//! allocation whose batch guards that revision is refused. A late allocation without such a guard (by
//! Calico's own plugins, or on a store that does not honour guards) is cleaned up: after the pool is gone,
//! its network is searched again until no affinity is found. Blocks in use stay, without an owner: their
//! addresses keep working, and belong to no pool when they are released.

use api::defaults::on_write;
use api::{BlockCidr, Cidr, Key, Kind, Owner, Resource, Value};
use ipam::{Planner, ReleaseAffinities, ReleasedAffinities, Which};
use store::{Batch, Depth, Effects, Expect, ReadSet, Scope, Store, View};

use crate::client::{Client, Committed, TRIES, resource_in};
use crate::error::{Error, Identifier};
use crate::metadata;
use crate::pools;

/// How often the affinities to a pool's blocks are listed and released. Hosts that have seen the pool enabled
/// may claim blocks for a while.
const PASSES: u32 = 20;

impl<S: Store, E: Effects> Client<'_, S, E> {
    pub(crate) async fn delete_pool(&self, id: &Identifier, wanted: Option<&str>) -> Result<Resource, Error> {
        let mut wanted = wanted.map(str::to_string);
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.pause(attempt).await;
            }
            let (stored, revision) = self.disable(id, wanted.as_deref()).await?;
            // The next try expects the revision that this deletion has made.
            wanted = None;
            self.release_network(&stored).await?;
            let mut batch = Batch::new();
            batch.delete(id.key(), Expect::Revision(revision.clone()));
            match self.commit(&batch, id).await? {
                Committed::Applied(_) => {
                    self.release_network(&stored).await?;
                    return Ok(metadata::as_read(&stored, &revision));
                }
                // Another writer has changed the pool, and may have enabled it again.
                Committed::Conflict(_) | Committed::Stale => {}
            }
        }
        Err(Error::Conflict(id.clone()))
    }

    /// Disables the pool, unless it is disabled already. Returns the pool and its revision.
    async fn disable(
        &self,
        id: &Identifier,
        wanted: Option<&str>,
    ) -> Result<(Resource, api::Revision), Error> {
        let key = id.key();
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.pause(attempt).await;
            }
            let view = self.read(&ReadSet::new().key(key.clone())).await?;
            let (stored, revision) = resource_in(&view, &key).ok_or_else(|| self.does_not_exist(id))?;
            if wanted.is_some_and(|wanted| wanted != revision.as_str()) {
                return Err(Error::Conflict(id.clone()));
            }
            if stored.field(&["spec", "disabled"]) == Some(&true.into()) {
                return Ok((stored, revision));
            }
            let disabled = on_write(&stored.with(|_, body| {
                if let Some(serde_json::Value::Object(spec)) = body.get_mut("spec") {
                    spec.insert("disabled".into(), true.into());
                }
            }));
            let mut batch = Batch::new();
            batch.put(key.clone(), Expect::Revision(revision), Value::Resource(disabled.clone()));
            match self.commit(&batch, id).await? {
                Committed::Applied(mut revisions) if !revisions.is_empty() => {
                    return Ok((disabled, revisions.swap_remove(0)));
                }
                _ if wanted.is_some() => return Err(Error::Conflict(id.clone())),
                _ => {}
            }
        }
        Err(Error::Conflict(id.clone()))
    }

    /// Releases the affinities of the pool's blocks, until there are none. A block that is also in another
    /// pool's network belongs to that pool, and is left alone.
    ///
    /// # Errors
    /// Also when there are always more: somebody keeps claiming blocks of the pool, or an affinity is in the
    /// list and cannot be found by its name, so that it cannot be released either.
    async fn release_network(&self, pool: &Resource) -> Result<(), Error> {
        let Some(cidr) = pools::cidr(pool) else { return Ok(()) };
        let set = ReadSet::new()
            .scope(Scope::Affinities { owner: None, family: Some(cidr.family()) }, Depth::Key)
            .scope(Scope::kind(Kind::IPPool), Depth::Full);
        let mut left = None;
        for attempt in 0..PASSES {
            if attempt > 1 {
                self.pause(attempt).await;
            }
            let view = self.read(&set).await?;
            let affinities = affinities_of(&view, pool.name(), &cidr);
            left = affinities.first().cloned();
            if left.is_none() {
                return Ok(());
            }
            for (owner, block) in affinities {
                let which = Which::One(owner, block);
                self.release_all(ReleaseAffinities { which, must_be_empty: false }.planner()).await?;
            }
        }
        let Some((owner, block)) = left else { return Ok(()) };
        Err(Error::Release(format!(
            "{} still has an affinity to the block {block} after the affinities to blocks of {cidr} were released {PASSES} times: \
             either it goes on claiming blocks, or the record has another name than this owner and block give",
            owner.name()
        )))
    }

    /// Runs a release of affinities until none is left.
    pub(crate) async fn release_all<P>(&self, planner: P) -> Result<(), Error>
    where
        P: Planner<Answer = ReleasedAffinities> + Clone,
        P::Error: std::fmt::Display,
    {
        loop {
            match ipam::run(self.store, self.effects, planner.clone(), self.within).await {
                Ok(answer) if answer.more => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(Error::Release(error.to_string())),
            }
        }
    }
}

fn affinities_of(view: &View, pool: &str, cidr: &Cidr) -> Vec<(Owner, BlockCidr)> {
    let others: Vec<Cidr> =
        pools::overlapping(view, pool, cidr).into_iter().filter_map(pools::cidr).collect();
    let scope = Scope::Affinities { owner: None, family: Some(cidr.family()) };
    let known = view.slots(&scope).filter(|(_, slot)| slot.revision().is_some());
    known
        .filter_map(|(key, _)| match key {
            Key::Affinity { owner, block } => Some((owner.clone(), *block)),
            _ => None,
        })
        .filter(|(_, block)| cidr.contains(block.cidr().first()))
        .filter(|(_, block)| !others.iter().any(|other| other.covers(&block.cidr())))
        .collect()
}
