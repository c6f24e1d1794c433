//! Which pools may be used, and which may go, where pools have a status: in the group projectcalico.org/v3 of
//! Kubernetes (`kube-controllers/pkg/controllers/ippool/pool_controller.go`).
//!
//! Of pools that overlap, one has the place, and the others are closed for new addresses. A pool keeps its
//! place until it is gone or all of its blocks are: so no address is given out from a network whose addresses
//! may still be in use under the blocks of another pool. (With Calico a pool that is being deleted by
//! calicoctl loses its place at once, for calicoctl disables it first.)
//!
//! The finalizer is the sign of the place. It is taken away when the pool is deleted or disabled, and none of
//! its blocks is left.

#[cfg(test)]
mod tests;

use api::{BlockCidr, Cidr, Key, Kind, Owner, Resource, Revision};
use serde_json::{Value as Json, json};
use store::{Scope, View};

/// The finalizer of a pool that has its place.
pub const FINALIZER: &str = "projectcalico.org/ippool-finalizer";
/// The type of the condition.
pub const ALLOCATABLE: &str = "Allocatable";

/// The condition [`ALLOCATABLE`], in Calico's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether the pool may be used.
    pub is_true: bool,
    /// The reason, a word.
    pub reason: &'static str,
    /// The reason, a sentence.
    pub message: &'static str,
}

impl Condition {
    /// The pool may be used.
    pub const OK: Condition =
        Condition { is_true: true, reason: "OK", message: "IPPool is available for IP allocation." };
    /// Its owner has closed it.
    pub const DISABLED: Condition =
        Condition { is_true: false, reason: "PoolDisabled", message: "IPPool.Spec.Disabled is true" };
    /// It is being deleted.
    pub const TERMINATING: Condition =
        Condition { is_true: false, reason: "Terminating", message: "IPPool is being deleted" };
    /// Another pool has the place.
    pub const OVERLAP: Condition = Condition {
        is_true: false,
        reason: "CIDROverlap",
        message: "CIDR overlaps another pool; disabled to prevent IP allocation conflicts.",
    };

    /// The status as the API has it.
    pub fn status(self) -> &'static str {
        if self.is_true { "True" } else { "False" }
    }

    /// Puts the condition on a pool's document, with the time `now`.
    pub fn put_on(self, pool: &mut Json, now: &str) {
        let next = json!({
            "type": ALLOCATABLE,
            "status": self.status(),
            "reason": self.reason,
            "message": self.message,
            "lastTransitionTime": now,
        });
        if !pool["status"]["conditions"].is_array() {
            pool["status"]["conditions"] = json!([]);
        }
        let Some(conditions) = pool["status"]["conditions"].as_array_mut() else { return };
        match conditions.iter_mut().find(|one| one["type"] == ALLOCATABLE) {
            Some(stored) => *stored = next,
            None => conditions.push(next),
        }
    }
}

/// What is to be done about the finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalizer {
    /// It stays as it is.
    Stays,
    /// It is to be put on the pool.
    Add,
    /// It is to be taken away once a look at the store finds no block of the pool's own.
    RemoveOnceEmpty,
    /// It is to be taken away.
    Remove,
}

/// Puts the finalizer on a pool's document, or takes it away.
pub fn put_finalizer(pool: &mut Json, is_wanted: bool) {
    let stored = pool["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let mut finalizers: Vec<Json> = stored.into_iter().filter(|one| one != FINALIZER).collect();
    if is_wanted {
        finalizers.push(FINALIZER.into());
    }
    pool["metadata"]["finalizers"] = Json::Array(finalizers);
}

/// An affinity that a pool's deletion takes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Whose it is.
    pub owner: Owner,
    /// The block.
    pub block: BlockCidr,
    /// Whether it is left alone while the block is in use: the block lies in another pool, too, which will
    /// have the place.
    pub must_be_empty: bool,
}

/// What is to be done about a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The pool's name.
    pub name: String,
    /// The state of the pool that was judged.
    pub revision: Revision,
    /// Its network.
    pub cidr: Cidr,
    /// What its condition should be.
    pub condition: Condition,
    /// Whether the condition is another now.
    pub is_changed: bool,
    /// What is to be done about its finalizer.
    pub finalizer: Finalizer,
    /// The affinities to release.
    pub releases: Vec<Release>,
    /// The pools that have the place which this one would need.
    pub overlaps: Vec<String>,
    /// The networks of the other pools that have their places: blocks in them are theirs.
    pub others: Vec<Cidr>,
}

impl Judged {
    /// Whether a block is this pool's: it lies in the pool, and in no other that has its place.
    pub fn owns(&self, block: BlockCidr) -> bool {
        is_in(&self.cidr, &self.others, block)
    }

    /// Whether there is nothing to do.
    pub fn is_settled(&self) -> bool {
        !self.is_changed && self.finalizer == Finalizer::Stays && self.releases.is_empty()
    }
}

/// A pool as the order of places knows it.
struct Candidate<'v> {
    pool: &'v Resource,
    revision: &'v Revision,
    cidr: Cidr,
    is_disabled: bool,
    is_deleting: bool,
    has_finalizer: bool,
}

impl<'v> Candidate<'v> {
    /// `None` for a pool whose network cannot be read: nobody gets addresses from it.
    fn of(pool: &'v Resource, revision: &'v Revision) -> Option<Candidate<'v>> {
        let (cidr, _) = Cidr::parse_unmasked(pool.text(&["spec", "cidr"])?).ok()?;
        let has_finalizer = pool.metadata().finalizers().any(|one| one == FINALIZER);
        let is_disabled = pool.field(&["spec", "disabled"]) == Some(&Json::Bool(true));
        let is_deleting = pool.metadata().is_deleting();
        Some(Candidate { pool, revision, cidr, is_disabled, is_deleting, has_finalizer })
    }

    /// Whether the pool goes: its owner has closed or deleted it.
    fn goes(&self) -> bool {
        self.is_disabled || self.is_deleting
    }

    fn condition(&self) -> Option<&'v Json> {
        let conditions = self.pool.field(&["status", "conditions"])?.as_array()?;
        conditions.iter().find(|condition| condition["type"] == ALLOCATABLE)
    }

    /// The order in which pools get their places: those that may be used, those that go and have their place
    /// yet, those that are closed, new ones; then the older, then by name.
    fn rank(&self) -> (u8, Option<&'v str>, &'v str) {
        let class = match self.condition().map(|condition| &condition["status"]) {
            Some(status) if status == "True" => 0,
            _ if self.has_finalizer => 1,
            Some(_) => 2,
            None => 3,
        };
        (class, self.pool.metadata().creation_timestamp.as_deref(), self.pool.name())
    }
}

/// What is to be done about each pool, in the order of places. `view` holds the pools in full, and blocks and
/// affinities at least by their keys.
pub fn judge(view: &View) -> Vec<Judged> {
    let pools = view.resources(Kind::IPPool);
    let mut candidates: Vec<Candidate<'_>> =
        pools.filter_map(|(pool, revision)| Candidate::of(pool, revision)).collect();
    candidates.sort_by(|a, b| a.rank().cmp(&b.rank()));
    let mut places: Vec<(&str, Cidr)> = Vec::new();
    let mut judged = Vec::new();
    for candidate in &candidates {
        let in_the_way = places.iter().filter(|(_, cidr)| cidr.overlaps(&candidate.cidr));
        let overlaps: Vec<String> = in_the_way.map(|(name, _)| (*name).to_string()).collect();
        let condition = match candidate {
            Candidate { is_disabled: true, .. } => Condition::DISABLED,
            Candidate { is_deleting: true, .. } => Condition::TERMINATING,
            _ if !overlaps.is_empty() => Condition::OVERLAP,
            _ => Condition::OK,
        };
        if condition.is_true || candidate.goes() && candidate.has_finalizer {
            places.push((candidate.pool.name(), candidate.cidr));
        }
        judged.push(Judged {
            name: candidate.pool.name().to_string(),
            revision: candidate.revision.clone(),
            cidr: candidate.cidr,
            condition,
            is_changed: !is_told(candidate.condition(), condition),
            finalizer: finalizer(view, &candidates, candidate, condition),
            releases: releases(view, &candidates, candidate),
            overlaps,
            others: others(&candidates, candidate),
        });
    }
    judged
}

fn is_told(stored: Option<&Json>, condition: Condition) -> bool {
    stored.is_some_and(|stored| {
        stored["status"] == condition.status()
            && stored["reason"] == condition.reason
            && stored["message"] == condition.message
    })
}

fn finalizer(
    view: &View,
    candidates: &[Candidate<'_>],
    candidate: &Candidate<'_>,
    condition: Condition,
) -> Finalizer {
    match (condition.is_true, candidate.has_finalizer) {
        (true, false) => Finalizer::Add,
        (true, true) | (false, false) => Finalizer::Stays,
        // Another pool has the place, and its blocks are that pool's.
        (false, true) if !candidate.goes() => Finalizer::Remove,
        (false, true) if has_own_blocks(view, candidates, candidate) => Finalizer::Stays,
        (false, true) => Finalizer::RemoveOnceEmpty,
    }
}

/// Whether any block is the pool's own.
fn has_own_blocks(view: &View, candidates: &[Candidate<'_>], candidate: &Candidate<'_>) -> bool {
    let others = others(candidates, candidate);
    let scope = Scope::Blocks { family: Some(candidate.cidr.family()) };
    view.slots(&scope).any(|(key, slot)| match key {
        Key::Block(block) => slot.revision().is_some() && is_in(&candidate.cidr, &others, *block),
        _ => false,
    })
}

/// The networks of the other pools that have the finalizer.
fn others(candidates: &[Candidate<'_>], candidate: &Candidate<'_>) -> Vec<Cidr> {
    let others = candidates.iter().filter(|other| other.pool.name() != candidate.pool.name());
    others
        .filter(|other| other.has_finalizer && other.cidr.overlaps(&candidate.cidr))
        .map(|o| o.cidr)
        .collect()
}

/// Whether a block lies in a network, and in none of the others.
fn is_in(cidr: &Cidr, others: &[Cidr], block: BlockCidr) -> bool {
    cidr.contains(block.cidr().first()) && !others.iter().any(|other| other.covers(&block.cidr()))
}

/// The other pools in which a block lies.
fn others_over<'c, 'v>(
    candidates: &'c [Candidate<'v>],
    candidate: &'c Candidate<'v>,
    block: BlockCidr,
) -> impl Iterator<Item = &'c Candidate<'v>> {
    let others = candidates.iter().filter(|other| other.pool.name() != candidate.pool.name());
    others.filter(move |other| other.cidr.covers(&block.cidr()))
}

/// The affinities that the deletion of a pool takes away, so that its nodes take no more addresses from it.
fn releases(view: &View, candidates: &[Candidate<'_>], candidate: &Candidate<'_>) -> Vec<Release> {
    if !candidate.is_deleting || !candidate.has_finalizer {
        return Vec::new();
    }
    let others = others(candidates, candidate);
    let scope = Scope::Affinities { owner: None, family: Some(candidate.cidr.family()) };
    let known = view.slots(&scope).filter(|(_, slot)| slot.revision().is_some());
    let releases = known.filter_map(|(key, _)| match key {
        Key::Affinity { owner, block } if is_in(&candidate.cidr, &others, *block) => Some(Release {
            owner: owner.clone(),
            block: *block,
            must_be_empty: others_over(candidates, candidate, *block).any(|other| !other.goes()),
        }),
        _ => None,
    });
    releases.filter(|release| !release.must_be_empty || is_empty(view, release.block)).collect()
}

/// Whether a block is known to be empty. (The release looks again.)
fn is_empty(view: &View, block: BlockCidr) -> bool {
    match view.block(block) {
        Some(Some((block, _))) => ipam::block::is_empty(block),
        Some(None) => true,
        None => false,
    }
}
