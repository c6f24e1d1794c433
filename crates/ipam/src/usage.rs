//! Who uses what: how full pools and blocks are, whose an address is, which addresses are borrowed. Pure, over a view.
//!
//! The numbers are those of `calicoctl ipam show` (`libcalico-go/lib/ipam/ipam.go`, `GetUtilization`), as `u128`: nothing clamps or turns negative.

use std::net::IpAddr;
use std::sync::Arc;

use api::{Attribute, Block, BlockCidr, Cidr, Family, Key, Kind, Pool, Timestamp};
use store::{Depth, ReadSet, Scope, Slot, View};

use crate::pools;
use crate::reservations::Reserved;

/// Addresses of a network, counted. `in_use` and `reserved` overlap where an address was assigned before it was reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All.
    pub total: u128,
    /// Assigned, cooling down, or marked as the host's own.
    pub in_use: u128,
    /// Of `in_use`: released, and not assigned again yet.
    pub cooling: u128,
    /// Covered by an IPReservation, assigned or not.
    pub reserved: u128,
    /// Neither in use nor reserved.
    pub free: u128,
}

/// The usage of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockUsage {
    /// The block.
    pub cidr: BlockCidr,
    /// Its owner as stored, `host:node1`.
    pub affinity: Option<Arc<str>>,
    /// The numbers.
    pub usage: Usage,
}

/// The usage of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolUsage {
    /// The pool, enabled or not.
    pub pool: Arc<Pool>,
    /// The numbers, space outside of blocks included.
    pub usage: Usage,
    /// Its blocks, in the order of their text.
    pub blocks: Vec<BlockUsage>,
}

/// The usage of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterUsage {
    /// By pool, in the order of the pools' names.
    pub pools: Vec<PoolUsage>,
    /// Blocks under no pool, IPv4 before IPv6, in the order of their text.
    pub orphans: Vec<BlockUsage>,
}

/// What [`pools()`] needs.
pub fn reads() -> ReadSet {
    blocks_read()
        .scope(Scope::kind(Kind::IPPool), Depth::Full)
        .scope(Scope::kind(Kind::IPReservation), Depth::Full)
}

/// How full every pool and block is. A block counts for the first pool that it overlaps.
pub fn pools(view: &View) -> ClusterUsage {
    let reserved = Reserved::in_view(view);
    let mut cluster = ClusterUsage::default();
    for pool in pools::all(view) {
        let (total, reserved) = (pool.cidr.size(), reserved.count_in(&pool.cidr));
        // As long as there is no block in it.
        let usage = Usage { total, reserved, free: total.saturating_sub(reserved), ..Usage::default() };
        cluster.pools.push(PoolUsage { pool: pool.clone(), usage, blocks: Vec::new() });
    }
    let readable = blocks(view).into_iter().map(|block| BlockUsage {
        cidr: block.cidr,
        affinity: block.affinity.clone(),
        usage: of_block(block, &reserved),
    });
    let mut rows: Vec<BlockUsage> = readable.chain(unreadable(view, &reserved)).collect();
    rows.sort_by_cached_key(|row| (row.cidr.family(), row.cidr.key_text()));
    for row in rows {
        let usage = row.usage;
        let Some(pool) = cluster.pools.iter_mut().find(|p| p.pool.cidr.overlaps(&row.cidr.cidr())) else {
            cluster.orphans.push(row);
            continue;
        };
        let all = &mut pool.usage;
        all.in_use = all.in_use.saturating_add(usage.in_use);
        all.cooling = all.cooling.saturating_add(usage.cooling);
        // What the block's share of the pool was taken to be, and what it is.
        let untouched = usage.total.saturating_sub(usage.reserved);
        all.free = all.free.saturating_sub(untouched).saturating_add(usage.free);
        pool.blocks.push(row);
    }
    cluster
}

/// Blocks that cannot be read: all of their addresses are in use.
fn unreadable(view: &View, reserved: &Reserved) -> impl Iterator<Item = BlockUsage> {
    view.slots(&Scope::Blocks { family: None }).filter_map(|(key, slot)| match (key, slot) {
        (Key::Block(cidr), Slot::Unreadable(_)) => {
            let (total, reserved) = (u128::from(cidr.size()), reserved.count_in(&cidr.cidr()));
            let usage = Usage { total, in_use: total, reserved, ..Usage::default() };
            Some(BlockUsage { cidr: *cidr, affinity: None, usage })
        }
        _ => None,
    })
}

/// The usage of one block.
pub fn of_block(block: &Block, reserved: &Reserved) -> Usage {
    let total = u128::from(block.cidr.size());
    let cooling = |ordinal: &u32| block.attribute(*ordinal).is_some_and(|a| a.released_at.is_some());
    Usage {
        total,
        in_use: total.saturating_sub(block.unallocated.len() as u128),
        cooling: (0..block.cidr.size()).filter(cooling).count() as u128,
        reserved: reserved.count_in(&block.cidr.cidr()),
        free: u128::from(crate::block::free_count(block, reserved)),
    }
}

/// What is known of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// Nobody's, in a block or not.
    None,
    /// Released, and not to be assigned again until the cooldown is over.
    Cooling {
        /// The block.
        block: BlockCidr,
        /// When it was released.
        since: Timestamp,
    },
    /// Somebody's.
    Assigned {
        /// The block.
        block: BlockCidr,
        /// The handle and the owners, the active and the alternate one.
        attribute: Arc<Attribute>,
        /// The sequence number that it was assigned with.
        sequence: u64,
    },
}

/// What [`allocation_of`] needs: the blocks that can hold an address, one a size. So addresses in disabled pools, and those whose pool
/// is gone, are found (Calico looks at enabled pools only), and no scope has to be read.
pub fn reads_of(addr: IpAddr) -> ReadSet {
    ReadSet::new().keys(blocks_around(addr).map(Key::Block))
}

/// Whose an address is.
pub fn allocation_of(view: &View, addr: IpAddr) -> Allocation {
    let found = blocks_around(addr).find_map(|cidr| {
        let (block, _) = view.block(cidr)??;
        let ordinal = cidr.ordinal(addr)?;
        let attribute = block.attribute(ordinal)?.clone();
        Some(match attribute.released_at {
            Some(since) => Allocation::Cooling { block: cidr, since },
            None => Allocation::Assigned { block: cidr, attribute, sequence: block.sequence_of(ordinal) },
        })
    });
    found.unwrap_or(Allocation::None)
}

/// Every block that can hold an address, the smallest first.
pub fn blocks_around(addr: IpAddr) -> impl Iterator<Item = BlockCidr> {
    let bits = Family::of(addr).bits();
    (bits - BlockCidr::MAX_HOST_BITS..=bits).rev().filter_map(move |prefix| BlockCidr::holding(addr, prefix))
}

/// An address that a node has of a block which is not its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Borrowed {
    /// The address.
    pub addr: IpAddr,
    /// Who has it.
    pub node: String,
    /// Of which block.
    pub block: BlockCidr,
    /// The name of the block's owner, if it has one.
    pub owner: Option<String>,
    /// `vmi`, `pod`, or the attribute `type`; empty when there is none of them.
    pub kind: String,
    /// The virtual machine or pod, `namespace/name`; empty for others.
    pub user: String,
}

/// All borrowed addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BorrowedAddresses {
    /// By block in the order of the blocks' text, IPv4 first, then by address.
    pub addresses: Vec<Borrowed>,
    /// Assignments that name no node, so that nobody can tell. Those cooling down are none (Calico counts them here).
    pub without_node: u32,
}

/// What [`borrowed`] needs.
pub fn borrowed_reads() -> ReadSet {
    blocks_read()
}

/// Which addresses are borrowed (`calicoctl/calicoctl/commands/ipam/show.go`).
pub fn borrowed(view: &View) -> BorrowedAddresses {
    let mut out = BorrowedAddresses::default();
    for block in blocks(view) {
        let owner = block.affinity.as_deref().map(|text| match text.split_once(':') {
            Some((_, name)) if !name.contains(':') => name,
            _ => text.split(':').next().unwrap_or_default(),
        });
        for ordinal in 0..block.cidr.size() {
            let Some(attribute) = block.attribute(ordinal).filter(|a| a.released_at.is_none()) else {
                continue;
            };
            let Some(node) = attribute.owner.get("node") else {
                out.without_node += 1;
                continue;
            };
            let Some(addr) = block.cidr.addr(ordinal).filter(|_| owner.unwrap_or_default() != node) else {
                continue;
            };
            let (kind, user) = user(attribute);
            out.addresses.push(Borrowed {
                addr,
                node: node.clone(),
                block: block.cidr,
                owner: owner.map(str::to_string),
                kind,
                user,
            });
        }
    }
    out
}

fn user(attribute: &Attribute) -> (String, String) {
    let text = |key: &str| attribute.owner.get(key).cloned();
    let named = |name: String| format!("{}/{name}", text("namespace").unwrap_or_default());
    match (text("vmi-name"), text("pod")) {
        (Some(name), _) => ("vmi".to_string(), named(name)),
        (None, Some(name)) => ("pod".to_string(), named(name)),
        (None, None) => (text("type").unwrap_or_default(), String::new()),
    }
}

fn blocks_read() -> ReadSet {
    ReadSet::new().scope(Scope::Blocks { family: None }, Depth::Full)
}

/// The blocks of a view, IPv4 first, in the order of their text: that of Calico's lists.
fn blocks(view: &View) -> Vec<&Block> {
    let slots = view.slots(&Scope::Blocks { family: None });
    let mut blocks: Vec<&Block> = slots.filter_map(|(_, slot)| slot.record()?.block()).collect();
    blocks.sort_by_cached_key(|block| (block.cidr.family(), block.cidr.key_text()));
    blocks
}

/// The pool of a network, for messages: the first that holds its first address, enabled or not.
pub fn pool_of(view: &View, network: &Cidr) -> Option<Arc<Pool>> {
    pools::all(view).find(|pool| pool.cidr.contains(network.first())).cloned()
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
