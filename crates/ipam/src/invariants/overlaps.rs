//! No address lies in two blocks.

use api::{BlockCidr, Key};

use super::{Property, Snapshot, Violation};

pub(super) fn check(snapshot: &Snapshot<'_>, violations: &mut Vec<Violation>) {
    let mut cidrs: Vec<BlockCidr> = snapshot.blocks.iter().map(|block| block.cidr).collect();
    // Networks are nested or disjoint; in this order one comes right after the smallest that it is nested in, or after others nested in that.
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
