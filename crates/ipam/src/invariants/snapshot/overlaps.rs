//! Blocks do not overlap, except for empty ones whose owner has not confirmed its claim: from those nobody
//! takes an address before it is proven that they do not overlap others (see [`affinity`](crate::affinity)).

use super::BlockSummary;
use super::affinities::{Affinity, is_confirmed};
use crate::invariants::Violation;

/// Gives each block, of a list that is sorted by network, with all blocks that contain it, the largest one
/// first.
pub(super) fn nested<'a>(
    blocks: &'a [BlockSummary],
    mut each: impl FnMut(&BlockSummary, &[&'a BlockSummary]),
) {
    // Two networks are either nested or disjoint. In this order, a network comes directly after the smallest
    // network that contains it, or after others which that network contains.
    let mut around: Vec<&BlockSummary> = Vec::new();
    for block in blocks {
        while around.last().is_some_and(|other| !other.cidr.cidr().overlaps(&block.cidr.cidr())) {
            around.pop();
        }
        each(block, &around);
        around.push(block);
    }
}

/// `affinities` are sorted.
pub(super) fn check(
    block: &BlockSummary,
    around: &[&BlockSummary],
    affinities: &[Affinity],
    tell: &mut impl FnMut(Violation),
) {
    let is_proven = |block: &BlockSummary| !block.is_empty || is_confirmed(block, affinities);
    let other = around.iter().rev().find(|other| is_proven(other));
    if let Some(other) = other.filter(|_| is_proven(block)) {
        tell(Violation::Overlap { block: block.cidr, other: other.cidr });
    }
}
