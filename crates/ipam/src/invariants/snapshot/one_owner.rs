//! An address has one owner. A block gives each of its addresses one attribute, so an address has two owners
//! only where two blocks hold it.

use super::BlockSummary;
use crate::invariants::Violation;

/// Compares a block with the blocks that contain it.
pub(super) fn check(block: &BlockSummary, around: &[&BlockSummary], tell: &mut impl FnMut(Violation)) {
    for other in around {
        let mut twice = block.addresses().filter(|addr| other.holds(*addr));
        if let Some(addr) = twice.next() {
            let count = 1 + twice.count() as u32;
            tell(Violation::TwoOwners { addr, count, block: block.cidr, other: other.cidr });
        }
    }
}
