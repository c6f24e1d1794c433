//! A block has one confirmed affinity, its owner's: a confirmed affinity agrees with its block, and a block's
//! owner has an affinity to it. An affinity in transition (pending, or pending deletion) may disagree: the
//! next plan of its owner heals it.

use std::sync::Arc;

use api::{AffinityState, BlockCidr, Owner};

use super::BlockSummary;
use crate::invariants::{Disagreement, Violation};

/// What is kept of an affinity.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Affinity {
    pub block: BlockCidr,
    /// The owner, as a block's field `affinity` names it.
    pub owner: Arc<str>,
    pub state: State,
}

/// How far a claim has come.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Confirmed,
    InTransition,
}

impl From<AffinityState> for State {
    fn from(state: AffinityState) -> State {
        match state {
            AffinityState::Confirmed => State::Confirmed,
            AffinityState::Pending | AffinityState::PendingDeletion => State::InTransition,
        }
    }
}

/// The affinity of a block's owner to the block. `affinities` are sorted.
fn of_owner<'a>(block: &BlockSummary, affinities: &'a [Affinity]) -> Option<&'a Affinity> {
    let owner = block.owner.as_ref()?;
    let at = affinities.partition_point(|a| (a.block, &a.owner) < (block.cidr, owner));
    affinities.get(at).filter(|a| (a.block, &a.owner) == (block.cidr, owner))
}

/// Whether a block has a confirmed affinity of its owner's. `affinities` are sorted.
pub(super) fn is_confirmed(block: &BlockSummary, affinities: &[Affinity]) -> bool {
    of_owner(block, affinities).is_some_and(|affinity| affinity.state == State::Confirmed)
}

/// `blocks` are sorted by network, `affinities` are sorted.
pub(super) fn check(blocks: &[BlockSummary], affinities: &[Affinity], tell: &mut impl FnMut(Violation)) {
    for affinity in affinities.iter().filter(|affinity| affinity.state == State::Confirmed) {
        let at = blocks.partition_point(|block| block.cidr < affinity.block);
        let found = match blocks.get(at).filter(|block| block.cidr == affinity.block) {
            None => Disagreement::NoBlock,
            Some(BlockSummary { owner: None, .. }) => Disagreement::Nobodys,
            Some(BlockSummary { owner: Some(owner), .. }) if *owner == affinity.owner => continue,
            Some(BlockSummary { owner: Some(other), .. }) => match Owner::from_affinity_text(other) {
                Some(other) => Disagreement::Anothers(other),
                None => Disagreement::Nobodys,
            },
        };
        if let Some(owner) = Owner::from_affinity_text(&affinity.owner) {
            tell(Violation::Affinity { owner, block: affinity.block, found });
        }
    }
    for block in blocks.iter().filter(|block| of_owner(block, affinities).is_none()) {
        if let Some(owner) = block.owner.as_deref().and_then(Owner::from_affinity_text) {
            tell(Violation::LostBlock { block: block.cidr, owner });
        }
    }
}
