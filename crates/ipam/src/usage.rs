//! How full pools and blocks are, who holds an address, and which addresses are borrowed. All functions are
//! pure, over a view.
//!
//! The numbers are those of `calicoctl ipam show` (`libcalico-go/lib/ipam/ipam.go`, `GetUtilization`), as
//! `u128`, so that none overflows or becomes negative.

use std::net::IpAddr;
use std::sync::Arc;

use api::{Attribute, Block, BlockCidr, Cidr, Family, Key, Kind, Pool, Timestamp};
use store::{Depth, ReadSet, Scope, Slot, View};

use crate::pools;
use crate::reservations::Reserved;

/// Counts of a network's addresses. An address counts both as `in_use` and as `reserved` if it was assigned
/// before it was reserved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All addresses.
    pub total: u128,
    /// Addresses that are assigned, cooling down, or reserved by the host for itself.
    pub in_use: u128,
    /// The part of `in_use` that is cooling down.
    pub cooling: u128,
    /// Addresses that an IPReservation covers, assigned or not.
    pub reserved: u128,
    /// Addresses that are neither in use nor reserved.
    pub free: u128,
}

/// The usage of a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockUsage {
    /// The block.
    pub cidr: BlockCidr,
    /// Its owner as stored, such as `host:node1`.
    pub affinity: Option<Arc<str>>,
    /// The counts of the block's addresses.
    pub usage: Usage,
}

/// The usage of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolUsage {
    /// The pool, enabled or not.
    pub pool: Arc<Pool>,
    /// The counts of the pool's addresses, including those outside of blocks.
    pub usage: Usage,
    /// The pool's blocks, in the order of their text.
    pub blocks: Vec<BlockUsage>,
}

/// The usage of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterUsage {
    /// One entry for each pool, in the order of their names.
    pub pools: Vec<PoolUsage>,
    /// Blocks without a pool, IPv4 before IPv6, in the order of their text.
    pub orphans: Vec<BlockUsage>,
}

/// The records that [`pools()`] needs.
pub fn reads() -> ReadSet {
    blocks_read().and(pool_reads())
}

/// The records that [`Tally::of`] needs.
pub fn pool_reads() -> ReadSet {
    let whole = |kind| Scope::kind(kind);
    ReadSet::new().scope(whole(Kind::IPPool), Depth::Full).scope(whole(Kind::IPReservation), Depth::Full)
}

/// The usage of every pool and block. A block counts for the first pool that it overlaps.
pub fn pools(view: &View) -> ClusterUsage {
    let mut tally = Tally::of(view);
    tally.take(view);
    tally.end()
}

/// The usage of a cluster whose blocks are read page by page, since they are large.
#[derive(Debug)]
pub struct Tally {
    reserved: Reserved,
    cluster: ClusterUsage,
    rows: Vec<BlockUsage>,
}

impl Tally {
    /// Of the pools and reservations of a view, without blocks.
    pub fn of(view: &View) -> Tally {
        let reserved = Reserved::in_view(view);
        let mut cluster = ClusterUsage::default();
        for pool in pools::all(view) {
            let (total, reserved) = (pool.cidr.size(), reserved.count_in(&pool.cidr));
            // The counts of a pool without blocks; the blocks correct them at the end.
            let usage = Usage { total, reserved, free: total.saturating_sub(reserved), ..Usage::default() };
            cluster.pools.push(PoolUsage { pool: pool.clone(), usage, blocks: Vec::new() });
        }
        Tally { reserved, cluster, rows: Vec::new() }
    }

    /// Takes the blocks of a view.
    pub fn take(&mut self, view: &View) {
        let readable = blocks(view).into_iter().map(|block| BlockUsage {
            cidr: block.cidr,
            affinity: block.affinity.clone(),
            usage: of_block(block, &self.reserved),
        });
        self.rows.extend(readable.chain(unreadable(view, &self.reserved)));
    }

    /// The usage with all blocks.
    pub fn end(self) -> ClusterUsage {
        let Tally { mut cluster, mut rows, .. } = self;
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
            // So far the pool counts all addresses of this block as free that are not reserved. Replace these
            // by the block's own number of free addresses.
            let untouched = usage.total.saturating_sub(usage.reserved);
            all.free = all.free.saturating_sub(untouched).saturating_add(usage.free);
            pool.blocks.push(row);
        }
        cluster
    }
}

/// Blocks that cannot be parsed: all of their addresses count as in use.
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
    Usage {
        total,
        in_use: total.saturating_sub(block.unallocated.len() as u128),
        cooling: (0..block.cidr.size()).filter(|ordinal| crate::block::is_cooling(block, *ordinal)).count()
            as u128,
        reserved: reserved.count_in(&block.cidr.cidr()),
        free: u128::from(crate::block::free_count(block, reserved)),
    }
}

/// What a view says about an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// Nobody holds the address; it may be in a block or not.
    None,
    /// The address was released, and is not assigned again until its cooldown is over.
    Cooling {
        /// The block.
        block: BlockCidr,
        /// When it was released.
        since: Timestamp,
    },
    /// The address is assigned.
    Assigned {
        /// The block.
        block: BlockCidr,
        /// The attribute with the handle, the active owner and the alternate owner.
        attribute: Arc<Attribute>,
        /// The sequence number with which the address was assigned.
        sequence: u64,
    },
}

/// The records that [`allocation_of`] needs: one block of each size that can hold the address. They also find
/// addresses of disabled pools, and of pools that no longer exist (Calico looks at enabled pools only). No
/// scope has to be read.
pub fn reads_of(addr: IpAddr) -> ReadSet {
    ReadSet::new().keys(blocks_around(addr).map(Key::Block))
}

/// Who holds an address.
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

/// Every block that can hold an address, the smallest block first.
pub fn blocks_around(addr: IpAddr) -> impl Iterator<Item = BlockCidr> {
    let bits = Family::of(addr).bits();
    (bits - BlockCidr::MAX_HOST_BITS..=bits).rev().filter_map(move |prefix| BlockCidr::holding(addr, prefix))
}

/// An address that a node holds from a block of another owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Borrowed {
    /// The address.
    pub addr: IpAddr,
    /// The name of the node that holds the address.
    pub node: String,
    /// The block that contains the address.
    pub block: BlockCidr,
    /// The name of the block's owner; `None` for a block without owner.
    pub owner: Option<String>,
    /// `vmi`, `pod`, or the value of the attribute `type`; empty when there is none of them.
    pub kind: String,
    /// The virtual machine or pod as `namespace/name`; empty for other kinds.
    pub user: String,
}

/// All borrowed addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BorrowedAddresses {
    /// The addresses, by block in the order of the blocks' text with IPv4 first, then by address.
    pub addresses: Vec<Borrowed>,
    /// How many assigned addresses name no node, so that it is not known whether they are borrowed. Addresses
    /// that cool down are not counted (Calico counts them here).
    pub without_node: u32,
}

/// The records that [`borrowed`] needs.
pub fn borrowed_reads() -> ReadSet {
    blocks_read()
}

/// The borrowed addresses (`calicoctl/calicoctl/commands/ipam/show.go`).
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

/// Who has an address, by its attribute: the sort of user as in [`Borrowed::kind`], and the user as in
/// [`Borrowed::user`].
pub fn user(attribute: &Attribute) -> (String, String) {
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

/// The blocks of a view, IPv4 first, in the order of their text, which is the order of Calico's lists.
fn blocks(view: &View) -> Vec<&Block> {
    let slots = view.slots(&Scope::Blocks { family: None });
    let mut blocks: Vec<&Block> = slots.filter_map(|(_, slot)| slot.record()?.block()).collect();
    blocks.sort_by_cached_key(|block| (block.cidr.family(), block.cidr.key_text()));
    blocks
}

/// The pool of a network, for messages: the first pool that contains the network's first address, enabled or
/// not.
pub fn pool_of(view: &View, network: &Cidr) -> Option<Arc<Pool>> {
    pools::all(view).find(|pool| pool.cidr.contains(network.first())).cloned()
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
