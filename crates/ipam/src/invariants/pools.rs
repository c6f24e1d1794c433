//! Checks that a block is one of those into which its pool is divided, and that pools do not overlap.

use api::{Key, Kind};

use super::{Property, Snapshot, Violation};

pub(super) fn check(snapshot: &Snapshot<'_>, violations: &mut Vec<Violation>) {
    for (at, pool) in snapshot.pools.iter().enumerate() {
        for other in snapshot.pools[..at].iter().filter(|other| other.cidr.overlaps(&pool.cidr)) {
            let key = Key::global(Kind::IPPool, pool.name.as_str());
            let what = format!("overlaps IPPool({})", other.name);
            violations.push(Violation { property: Property::Pool, key, what });
        }
    }
    for block in &snapshot.blocks {
        // A block without a pool is legal: its pool was deleted.
        let pool = snapshot.pools.iter().find(|pool| pool.cidr.overlaps(&block.cidr.cidr()));
        if let Some(pool) = pool.filter(|pool| pool.block_of(block.cidr.cidr().first()) != Some(block.cidr)) {
            let what = format!("is no block of IPPool({}), whose blocks are /{}", pool.name, pool.block_size);
            violations.push(Violation { property: Property::Pool, key: Key::Block(block.cidr), what });
        }
    }
}
