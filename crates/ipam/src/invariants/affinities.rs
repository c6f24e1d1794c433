//! Checks that an affinity agrees with its block, or is in transition (pending, or pending deletion). The
//! next plan of its owner heals an affinity in transition.

use std::collections::{BTreeMap, BTreeSet};

use api::{AffinityState, BlockCidr, Key, Owner};

use super::{Property, Snapshot, Violation};

pub(super) fn check(snapshot: &Snapshot<'_>, violations: &mut Vec<Violation>) {
    let owners: BTreeMap<BlockCidr, Option<Owner>> =
        snapshot.blocks.iter().map(|block| (block.cidr, block.owner())).collect();
    let mut mine: BTreeSet<(&Owner, BlockCidr)> = BTreeSet::new();
    for (owner, block, affinity) in &snapshot.affinities {
        mine.insert((owner, *block));
        let agrees = owners.get(block).is_some_and(|found| found.as_ref() == Some(*owner));
        if affinity.state == AffinityState::Confirmed && !agrees {
            let what = match owners.get(block) {
                None => "is confirmed, but there is no such block".to_string(),
                Some(None) => "is confirmed, but the block is nobody's".to_string(),
                Some(Some(other)) => format!("is confirmed, but the block is affine to {other}"),
            };
            let key = Key::Affinity { owner: (*owner).clone(), block: *block };
            violations.push(Violation { property: Property::Affinity, key, what });
        }
    }
    for (block, owner) in &owners {
        if let Some(owner) = owner
            && !mine.contains(&(owner, *block))
        {
            let what = format!("is affine to {owner}, who has no affinity to it");
            violations.push(Violation { property: Property::Affinity, key: Key::Block(*block), what });
        }
    }
}
