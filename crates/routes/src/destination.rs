//! Where the addresses of a cluster are: which networks lead to which node.

use std::collections::{BTreeMap, BTreeSet};

use api::{AffinityState, BlockCidr, Cidr, Family, Owner};

use crate::cover;
use crate::encapsulation::Encapsulation;
use crate::snapshot::{BlockFacts, Known, Lent, PoolFacts, Snapshot};

/// Values by network, to be found by what the network holds.
#[derive(Clone, Debug)]
pub(crate) struct Table<T> {
    entries: BTreeMap<Cidr, T>,
    prefixes: BTreeSet<(Family, u8)>,
}

impl<T> FromIterator<(Cidr, T)> for Table<T> {
    fn from_iter<I: IntoIterator<Item = (Cidr, T)>>(entries: I) -> Self {
        let entries: BTreeMap<Cidr, T> = entries.into_iter().collect();
        let prefixes = entries.keys().map(|network| (network.family(), network.prefix())).collect();
        Table { entries, prefixes }
    }
}

impl<T> Table<T> {
    /// The entries whose networks hold all of `network`, the narrowest one last.
    pub(crate) fn around<'t>(&'t self, network: &Cidr) -> impl Iterator<Item = &'t T> {
        let (family, first) = (network.family(), network.first());
        let widest = (family, 0)..=(family, network.prefix());
        let holding = self.prefixes.range(widest).filter_map(move |(_, prefix)| Cidr::of(first, *prefix));
        holding.filter_map(|around| self.entries.get(&around))
    }
}

/// A network that leads to a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination<'s> {
    /// The node.
    pub(crate) node: &'s str,
    pub(crate) pool: &'s PoolFacts,
    /// Whether packets are encapsulated between different subnets only: true where any pool around the
    /// network says so.
    pub(crate) is_cross_subnet: bool,
    pub(crate) block: BlockCidr,
    /// The node whose block it is.
    pub(crate) owner: Option<&'s str>,
    /// The address, where it was borrowed from that block.
    pub(crate) lent: Option<&'s Lent>,
}

/// Where the addresses of a cluster are.
#[derive(Debug)]
pub struct Destinations<'s> {
    pub(crate) snapshot: &'s Snapshot,
    /// The networks, each with the node that it leads to. The narrowest network counts.
    pub(crate) all: BTreeMap<Cidr, Destination<'s>>,
    /// The blocks outside of all pools. Nobody knows how they are reached.
    pub(crate) without_pool: Vec<BlockCidr>,
    /// What may lead anywhere, because a record about it cannot be read.
    pub(crate) unknown: Vec<Cidr>,
}

impl<'s> Destinations<'s> {
    /// The destinations of a snapshot.
    pub fn of(snapshot: &'s Snapshot) -> Destinations<'s> {
        let mut found = Destinations {
            snapshot,
            all: BTreeMap::new(),
            without_pool: Vec::new(),
            unknown: snapshot.unreadable.iter().filter_map(unreadable_block).collect(),
        };
        let pools: Table<&PoolFacts> = snapshot.pools.values().map(|pool| (pool.pool.cidr, pool)).collect();
        let node_addresses = snapshot.node_addresses();
        let mut lent = Vec::new();
        for (block, owner, facts) in blocks(snapshot) {
            let around: Vec<&PoolFacts> = pools.around(&block.cidr()).copied().collect();
            let Some(pool) = around.last() else {
                found.without_pool.push(block);
                if snapshot.has_unreadable_pool() {
                    found.unknown.push(block.cidr());
                }
                continue;
            };
            if !pool.has_routes() {
                continue;
            }
            let is_cross_subnet = around.iter().any(|pool| pool.is_cross_subnet);
            let whole = owner.map(|node| (node, None));
            let parts =
                facts.into_iter().flat_map(|facts| &facts.lent).map(|lent| (lent.node.as_str(), Some(lent)));
            for (node, part) in whole.into_iter().chain(parts) {
                let destination = Destination { node, pool, is_cross_subnet, block, owner, lent: part };
                let to = part.map_or_else(|| block.cidr(), |lent| Cidr::single(lent.addr));
                if snapshot.is_unreadable_node(node) {
                    found.unknown.push(to);
                }
                // A node's own address is never reached by way of a block.
                let own = node_addresses.range(to.first()..=to.last()).map(|addr| Cidr::single(*addr));
                let holes: Vec<Cidr> = own.collect();
                for to in cover::without(to, &holes) {
                    match part {
                        Some(_) => lent.push((to, destination)),
                        None => drop(found.all.insert(to, destination)),
                    }
                }
            }
        }
        // Whoever has an address goes before whoever has its block, where the block is that one address.
        found.all.extend(lent);
        found
    }

    /// Whether any pool that has routes is of this kind.
    pub(crate) fn uses(&self, encapsulation: Encapsulation, family: Family) -> bool {
        let mut pools = self.snapshot.pools.values().filter(|pool| pool.has_routes());
        pools.any(|pool| pool.encapsulation == encapsulation && pool.pool.family() == family)
    }
}

fn unreadable_block(key: &api::Key) -> Option<Cidr> {
    match key {
        api::Key::Block(block) | api::Key::Affinity { block, .. } => Some(block.cidr()),
        _ => None,
    }
}

/// Every block, with the node that has it.
fn blocks(snapshot: &Snapshot) -> impl Iterator<Item = (BlockCidr, Option<&str>, Option<&BlockFacts>)> {
    let read = snapshot.blocks.iter().map(|(block, facts)| {
        let owner = facts.owner.as_ref().and_then(host);
        (*block, owner, Some(facts))
    });
    let claimed = snapshot.affinities.iter().filter_map(|(block, owners)| {
        let is_needed = snapshot.known == Known::ByAffinities
            && !snapshot.blocks.contains_key(block)
            && !snapshot.unreadable.contains(&api::Key::Block(*block));
        let mut confirmed = owners.iter().filter(|(_, state)| **state == AffinityState::Confirmed);
        let owner = confirmed.next().filter(|_| is_needed)?.0;
        Some((*block, host(owner), None))
    });
    read.chain(claimed)
}

/// The node that an owner is.
pub(crate) fn host(owner: &Owner) -> Option<&str> {
    match owner {
        Owner::Host(name) => Some(name),
        Owner::Virtual(_) => None,
    }
}
