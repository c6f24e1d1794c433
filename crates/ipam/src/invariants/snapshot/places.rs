//! An allocation lies in a block and in a pool that exist, or is told as an orphan. A block is one of those
//! into which its pool is divided, and pools do not overlap.
//!
//! (A handle that counts addresses of a block that does not exist counts too much: see `handles`.)

use api::Cidr;

use super::{BlockSummary, Orphan};
use crate::invariants::Violation;

/// What is kept of a pool.
#[derive(Debug)]
pub(super) struct Pool {
    pub name: String,
    cidr: Cidr,
    block_size: u8,
}

impl Pool {
    pub fn of(pool: &api::Pool) -> Pool {
        Pool { name: pool.name.clone(), cidr: pool.cidr, block_size: pool.block_size }
    }

    pub fn bytes(&self) -> usize {
        size_of::<Pool>() + self.name.len()
    }
}

/// `pools` are sorted by name.
pub(super) fn check(blocks: &[BlockSummary], pools: &[Pool], tell: &mut impl FnMut(Violation)) {
    for (at, pool) in pools.iter().enumerate() {
        for other in pools[..at].iter().filter(|other| other.cidr.overlaps(&pool.cidr)) {
            tell(Violation::PoolOverlap { pool: pool.name.clone(), other: other.name.clone() });
        }
    }
    for block in blocks {
        let Some(pool) = pools.iter().find(|pool| pool.cidr.overlaps(&block.cidr.cidr())) else { continue };
        let network = block.cidr.cidr();
        let is_one = pool.block_size == network.prefix() && pool.cidr.contains(network.first());
        if !is_one {
            let (pool, block_size) = (pool.name.clone(), pool.block_size);
            tell(Violation::NoBlockOfPool { block: block.cidr, pool, block_size });
        }
    }
}

/// The blocks with addresses that somebody holds outside of every pool.
pub(super) fn orphans(blocks: &[BlockSummary], pools: &[Pool]) -> Vec<Orphan> {
    let orphan = |block: &BlockSummary| {
        let pools: Vec<&Pool> = pools.iter().filter(|pool| pool.cidr.overlaps(&block.cidr.cidr())).collect();
        let mut outside =
            block.addresses().filter(|addr| !pools.iter().any(|pool| pool.cidr.contains(*addr)));
        let first = outside.next()?;
        Some(Orphan { block: block.cidr, first, count: 1 + outside.count() as u32 })
    };
    blocks.iter().filter_map(orphan).collect()
}
