//! Carries out what the pool controller decides.

use api::{Key, Kind, Value};
use controllers::pools::{FINALIZER, Finalizer, Judged, judge, put_finalizer};
use ipam::{ReleaseAffinities, Which};
use serde_json::Value as Json;
use store::{Batch, Depth, Effects as _, Expect, Outcome, ReadSet, Scope, Store as _, View};

use crate::WITHIN;
use crate::names::stored;
use crate::perform::run;
use crate::world::World;

pub(super) async fn pass(world: &World, view: &View) {
    for judged in judge(view).iter().filter(|judged| !judged.is_settled()) {
        settle(world, judged).await;
    }
}

async fn settle(world: &World, judged: &Judged) -> Option<()> {
    for release in &judged.releases {
        let which = Which::One(release.owner.clone(), release.block);
        let request = ReleaseAffinities { which, must_be_empty: release.must_be_empty };
        if let Err(error) = run(world, &world.clock, request).await {
            world.note(format!("pools: {error}"));
        }
    }
    let key = Key::global(Kind::IPPool, judged.name.as_str());
    let read = world.caller.read(&ReadSet::new().key(key.clone()), WITHIN).await.ok()?;
    let (pool, revision) = read.resource(&key)??;
    if *revision != judged.revision {
        // Another state than the one that was judged: the watch brings it.
        return None;
    }
    let (mut document, mut revision) = (pool.to_json(), revision.clone());
    if judged.is_changed {
        judged.condition.put_on(&mut document, &api::time::rfc3339(world.clock.now()));
        revision = replace(world, &judged.name, &document, Expect::Revision(revision)).await?;
    }
    let is_wanted = match judged.finalizer {
        Finalizer::Stays => return None,
        Finalizer::RemoveOnceEmpty if has_blocks(world, judged).await? => return None,
        Finalizer::RemoveOnceEmpty | Finalizer::Remove => false,
        Finalizer::Add => true,
    };
    put_finalizer(&mut document, is_wanted);
    let finalizers = document["metadata"]["finalizers"].as_array();
    let is_last = !finalizers.is_some_and(|all| all.iter().any(|one| one == FINALIZER));
    if is_last && pool.metadata().is_deleting() {
        // The server removes an object that is being deleted, once it has no finalizer.
        let mut batch = Batch::new();
        batch.delete(key, Expect::Revision(revision));
        world.caller.commit(&batch, WITHIN).await.ok()?;
        return None;
    }
    replace(world, &judged.name, &document, Expect::Revision(revision)).await.map(drop)
}

/// Writes a pool. Gives its new revision, where that was answered.
async fn replace(world: &World, name: &str, document: &Json, expect: Expect) -> Option<api::Revision> {
    let (key, value): (Key, Value) = stored(Kind::IPPool, name, document.clone());
    let mut batch = Batch::new();
    batch.put(key, expect, value);
    match world.caller.commit(&batch, WITHIN).await.ok()?.outcomes.first()? {
        Outcome::Applied(revision) => Some(revision.clone()),
        _ => None,
    }
}

/// Whether any block is the pool's own, by a fresh look: one may have been claimed since.
async fn has_blocks(world: &World, judged: &Judged) -> Option<bool> {
    let scope = Scope::Blocks { family: Some(judged.cidr.family()) };
    let set = ReadSet::new().scope(scope.clone(), Depth::Header);
    let view = world.caller.read(&set, WITHIN).await.ok()?;
    let is_own = |key: &Key| matches!(key, Key::Block(block) if judged.owns(*block));
    Some(view.slots(&scope).any(|(key, slot)| slot.revision().is_some() && is_own(key)))
}
