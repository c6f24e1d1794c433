//! Which addresses the nodes of a rack can get.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::{Family, Kind, Owner, Pool, Use};
use ipam::usage::{ClusterUsage, Usage};
use store::View;

/// What the nodes of a rack can get, of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The names of the pools.
    pub pools: BTreeSet<String>,
    /// The names of the rack's nodes.
    pub nodes: BTreeSet<String>,
    /// All addresses of the pools, less those that are reserved.
    pub total: u128,
    /// Those that a new pod can get: neither in use nor reserved nor cooling down. Where affinity is strict,
    /// the blocks of other racks' nodes count as in use.
    pub free: u128,
}

/// A rack, by its value of the rack label, and the family of addresses.
pub type Rack = (String, Family);

/// What the nodes of each rack can get. A pool counts for a rack where it selects any of its nodes.
pub fn by_rack(view: &View, usage: &ClusterUsage, label: &str) -> BTreeMap<Rack, Reach> {
    let is_strict = view.ipam_config().is_some_and(|config| config.strict_affinity);
    let mut racks: BTreeMap<&str, Vec<&api::Resource>> = BTreeMap::new();
    for (node, _) in view.resources(Kind::Node) {
        if let Some(rack) = node.metadata().labels.get(label) {
            racks.entry(rack).or_default().push(node);
        }
    }
    let mut out = BTreeMap::new();
    for (rack, nodes) in racks {
        let names: BTreeSet<&str> = nodes.iter().map(|node| node.name()).collect();
        for pool in &usage.pools {
            if !is_open(&pool.pool) || !nodes.iter().any(|node| selects(&pool.pool, node)) {
                continue;
            }
            let of_others: u128 = match is_strict {
                true => pool.blocks.iter().filter(|block| !is_of(block, &names)).map(|b| b.usage.free).sum(),
                false => 0,
            };
            let reach: &mut Reach = out.entry((rack.to_string(), pool.pool.family())).or_default();
            let Usage { total, reserved, free, .. } = pool.usage;
            reach.pools.insert(pool.pool.name.clone());
            reach.nodes = names.iter().map(|name| (*name).to_string()).collect();
            reach.total = reach.total.saturating_add(total.saturating_sub(reserved));
            reach.free = reach.free.saturating_add(free.saturating_sub(of_others));
        }
    }
    out
}

/// Whether new pods get addresses from the pool without naming it.
fn is_open(pool: &Arc<Pool>) -> bool {
    pool.is_enabled() && !pool.manual && pool.allows(Use::Workload)
}

fn selects(pool: &Pool, node: &api::Resource) -> bool {
    ipam::pools::selects_node(pool, &node.metadata().labels).unwrap_or(false)
}

/// Whether a block belongs to one of the nodes, or to nobody.
fn is_of(block: &ipam::usage::BlockUsage, nodes: &BTreeSet<&str>) -> bool {
    match block.affinity.as_deref().and_then(Owner::from_affinity_text) {
        Some(Owner::Host(host)) => nodes.contains(host.as_str()),
        Some(Owner::Virtual(_)) => false,
        None => true,
    }
}
