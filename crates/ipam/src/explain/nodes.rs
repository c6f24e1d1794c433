//! Which pools serve each node, and how many free addresses it can reach.

use std::collections::BTreeMap;

use api::{BlockCidr, Family, Kind, Owner, Use};
use store::View;

use super::judged;
use crate::config;
use crate::pools::{self, Asker};
use crate::reservations::Reserved;
use crate::usage::{self, PoolUsage};
use crate::verdict::NoSink;

/// What a node can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeReach {
    /// The node's name.
    pub name: String,
    /// The node's labels that any pool's node selector tests.
    pub labels: BTreeMap<String, String>,
    /// The names of the pools that serve the node.
    pub pools: Vec<String>,
    /// How many free addresses the node can get; at most so many, where it may own few blocks and they are of
    /// several sizes.
    pub free: u128,
}

/// What every node of a view can reach, for a use and a family. The view must hold what
/// [`reads`](super::reads) names, and all nodes.
pub fn reach(
    view: &View,
    wanted: Use,
    family: Family,
    namespace_labels: Option<&BTreeMap<String, String>>,
) -> Vec<NodeReach> {
    let asked = judged::labels_asked(view, family);
    let usages = usage::pools(view).pools;
    let usages: BTreeMap<&str, &PoolUsage> =
        usages.iter().map(|usage| (usage.pool.name.as_str(), usage)).collect();
    let nodes = view.resources(Kind::Node).map(|(resource, _)| resource.as_node());
    nodes
        .map(|node| {
            let asker = Asker {
                host: &node.name,
                node_labels: Some(&node.labels),
                namespace_labels,
                intended_use: wanted,
                host_reserved: None,
            };
            let choice = pools::choose(view, family, &[], asker, &NoSink);
            let chosen: Vec<&PoolUsage> = choice
                .map(|choice| choice.pools)
                .unwrap_or_default()
                .iter()
                .filter_map(|pool| usages.get(pool.name.as_str()).copied())
                .collect();
            let told = node.labels.iter().filter(|(label, _)| asked.contains_key(*label));
            NodeReach {
                name: node.name.clone(),
                labels: told.map(|(label, value)| (label.clone(), value.clone())).collect(),
                pools: chosen.iter().map(|usage| usage.pool.name.clone()).collect(),
                free: free(view, &node.name, wanted, family, &chosen),
            }
        })
        .collect()
}

/// How many free addresses of its pools a node can get: those of its own blocks, and where it may own more
/// blocks, those outside of blocks and in blocks that are empty; and those of others where it may borrow.
fn free(view: &View, host: &str, wanted: Use, family: Family, pools: &[&PoolUsage]) -> u128 {
    let config = config::of(view);
    let owner = Owner::Host(host.to_string());
    let owner_text = owner.affinity_text();
    let limit = match u32::try_from(config.max_blocks_per_host) {
        Ok(0) => api::ipam_config::DEFAULT_MAX_BLOCKS_PER_HOST,
        Ok(limit) => limit,
        Err(_) => u32::MAX,
    };
    let in_pools =
        |block: &BlockCidr| pools.iter().any(|usage| usage.pool.cidr.contains(block.cidr().first()));
    let affine = view.affine_blocks(&owner, family);
    let owned = affine.iter().filter(|(block, ..)| in_pools(block)).count();
    // Where nodes claim no blocks, a request ends before it looks for an address to borrow.
    let may_borrow = config.auto_allocate_blocks && !config.strict_affinity && !wanted.is_never_borrowed();
    let more_blocks = match config.auto_allocate_blocks {
        true => u128::from(limit).saturating_sub(owned as u128),
        false => 0,
    };
    let reserved = Reserved::in_view(view);
    let (mut own, mut others) = (0u128, 0u128);
    // Blocks that the node may claim: how many addresses each has, and how many such blocks there are. Those
    // that exist can be borrowed from, too.
    let (mut new, mut empty) = (Vec::new(), Vec::new());
    for pool in pools {
        let in_blocks: u128 = pool.blocks.iter().map(|block| block.usage.free).sum();
        let outside = pool.usage.free.saturating_sub(in_blocks);
        let size = 1u128 << (family.bits() - pool.pool.block_size);
        new.push((size.min(outside), outside.div_ceil(size)));
        for block in &pool.blocks {
            let is_own = block.affinity.as_deref() == Some(owner_text.as_str());
            let is_empty = block.usage.in_use == 0 && !reserved.covers(block.cidr);
            match (is_own, is_empty) {
                (true, _) => own = own.saturating_add(block.usage.free),
                (false, true) => empty.push((block.usage.free, 1)),
                (false, false) => others = others.saturating_add(block.usage.free),
            }
        }
    }
    if may_borrow {
        let all_empty: u128 = empty.iter().map(|(free, _)| free).sum();
        let lent = others.saturating_add(all_empty);
        return own.saturating_add(lent).saturating_add(largest(new, more_blocks));
    }
    own.saturating_add(largest([new, empty].concat(), more_blocks))
}

/// How many addresses the largest of the blocks have; of each sort so many are there.
fn largest(mut sorts: Vec<(u128, u128)>, mut blocks: u128) -> u128 {
    sorts.sort_by(|a, b| b.cmp(a));
    let mut free: u128 = 0;
    for (size, count) in sorts {
        let taken = count.min(blocks);
        blocks -= taken;
        free = free.saturating_add(size.saturating_mul(taken));
    }
    free
}
