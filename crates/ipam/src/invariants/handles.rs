//! Checks that a handle counts at least as many addresses as blocks hold for it. A count may be too high, and
//! must never be too low: a release by handle finds only blocks that the handle names.

use std::collections::BTreeMap;

use api::block::is_kept_by_windows;
use api::{BlockCidr, HandleId, Key};

use super::{Property, Snapshot, Violation};

pub(super) fn check(snapshot: &Snapshot<'_>, violations: &mut Vec<Violation>) {
    let mut held: BTreeMap<(HandleId, BlockCidr), u32> = BTreeMap::new();
    for block in &snapshot.blocks {
        for ordinal in 0..block.allocations.len() as u32 {
            let attribute = block.attribute(ordinal).filter(|a| a.released_at.is_none());
            let Some(id) = attribute.and_then(|a| a.handle()).and_then(HandleId::new) else { continue };
            *held.entry((id, block.cidr)).or_default() += 1;
        }
    }
    let counts: BTreeMap<&HandleId, _> = snapshot.handles.iter().copied().collect();
    for ((id, block), held) in held {
        // No handle record exists for this one.
        if is_kept_by_windows(id.as_str()) {
            continue;
        }
        let counted = counts.get(&id).and_then(|handle| handle.blocks.get(&block)).copied().unwrap_or(0);
        if counted < held {
            let what = format!("counts {counted} addresses of block {block}, which holds {held}");
            violations.push(Violation { property: Property::Handle, key: Key::Handle(id), what });
        }
    }
}
