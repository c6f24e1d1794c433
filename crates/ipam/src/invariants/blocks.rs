//! Checks that a block is well formed.

use api::{Block, Key, Timestamp};

use super::{Property, Snapshot, Violation};

pub(super) fn check(snapshot: &Snapshot<'_>, violations: &mut Vec<Violation>) {
    for block in &snapshot.blocks {
        let key = Key::Block(block.cidr);
        let faults = faults(block, snapshot.now).into_iter();
        violations.extend(faults.map(|what| Violation { property: Property::Block, key: key.clone(), what }));
    }
}

pub(super) fn faults(block: &Block, now: Option<Timestamp>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut is_used = vec![false; block.attributes.len()];
    let mut allocated = 0;
    for (ordinal, index) in block.allocations.iter().enumerate() {
        let Some(index) = index else { continue };
        allocated += 1;
        match is_used.get_mut(*index as usize) {
            Some(used) => *used = true,
            None => faults.push(format!("allocation {ordinal} indexes a nonexistent attribute {index}")),
        }
    }
    for (index, attribute) in block.attributes.iter().enumerate() {
        if !is_used[index] {
            faults.push(format!("attribute index {index} exists but is not indexed by an allocation"));
        }
        if let (Some(released), Some(now)) = (attribute.released_at, now)
            && released > now
        {
            faults
                .push(format!("attribute index {index} has releasedAt in the future, suggesting clock skew"));
        }
    }
    let mut is_free = vec![false; block.cidr.size() as usize];
    for ordinal in &block.unallocated {
        match is_free.get_mut(*ordinal as usize) {
            None => faults
                .push(format!("ordinal {ordinal} appears in the Unallocated array but is out of the block")),
            Some(free) if *free => {
                faults.push(format!("ordinal {ordinal} appears more than once in Unallocated array"));
            }
            Some(free) => *free = true,
        }
        if matches!(block.allocations.get(*ordinal as usize), Some(Some(_))) {
            faults.push(format!("ordinal {ordinal} is allocated but appears in Unallocated"));
        }
    }
    let (size, free) = (block.cidr.size() as usize, block.unallocated.len());
    if free + allocated != size {
        faults.push(format!(
            "expected {size} addresses in this block, but Unallocated ({free}) + Allocated ({allocated}) = {}",
            free + allocated
        ));
    }
    faults
}
