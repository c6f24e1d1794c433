//! Blocks do not overlap.

use super::BlockSummary;
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

pub(super) fn check(block: &BlockSummary, around: &[&BlockSummary], tell: &mut impl FnMut(Violation)) {
    if let Some(other) = around.last() {
        tell(Violation::Overlap { block: block.cidr, other: other.cidr });
    }
}
