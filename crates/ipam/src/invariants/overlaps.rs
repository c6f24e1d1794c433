//! Checks that no address is in two blocks.

use api::{BlockCidr, Key};

use super::{Property, Snapshot, Violation};

pub(super) fn check(snapshot: &Snapshot<'_>, violations: &mut Vec<Violation>) {
    let mut cidrs: Vec<BlockCidr> = snapshot.blocks.iter().map(|block| block.cidr).collect();
    // Two networks are either nested or disjoint. In this order, a network comes directly after the smallest
    // network that contains it, or after others which that network contains.
    cidrs.sort_unstable();
    let mut around: Vec<BlockCidr> = Vec::new();
    for cidr in cidrs {
        while around.last().is_some_and(|other| !other.cidr().overlaps(&cidr.cidr())) {
            around.pop();
        }
        if let Some(other) = around.last() {
            let what = format!("overlaps block {other}");
            violations.push(Violation { property: Property::Overlap, key: Key::Block(cidr), what });
        }
        around.push(cidr);
    }
}
