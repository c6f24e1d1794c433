//! Calico's figures (`kube-controllers/pkg/controllers/node/ipam.go`, `updateMetrics`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::{Attribute, Block, BlockCidr, Kind, Pool};
use ipam::reservations::Reserved;
use store::{Scope, View};

use super::{Counts, Facts, Family, NO_AFFINITY, NO_POOL, Place, Sort, UNKNOWN_NODE, number};

/// Counts of one pool, or of all: by the node's name.
type ByNode<'v> = BTreeMap<&'v str, u64>;

/// Counts by pool and node.
type ByPool<'v> = BTreeMap<&'v str, ByNode<'v>>;

#[derive(Default)]
struct Tally<'v> {
    in_use: ByPool<'v>,
    borrowed: ByPool<'v>,
    blocks: ByPool<'v>,
    /// By node alone: the older figures.
    held: ByNode<'v>,
    held_borrowed: ByNode<'v>,
    owned: ByNode<'v>,
}

/// The pool that covers a block: the first by name. A pool that is being deleted counts as gone.
pub fn pool_of<'v>(pools: &[&'v Arc<Pool>], block: BlockCidr) -> &'v str {
    let network = block.cidr();
    pools.iter().find(|pool| pool.cidr.covers(&network)).map_or(NO_POOL, |pool| pool.name.as_str())
}

/// The pools that are not being deleted, in the order of their names.
pub fn pools(view: &View) -> Vec<&Arc<Pool>> {
    ipam::pools::all(view).filter(|pool| !pool.deleting).collect()
}

/// The blocks that can be read.
pub(super) fn blocks(view: &View) -> impl Iterator<Item = &Block> {
    static ALL: Scope = Scope::Blocks { family: None };
    view.slots(&ALL).filter_map(|(_, slot)| slot.record()?.block()).filter(|block| !block.deleted)
}

/// The node that owns a block.
pub(super) fn owner(block: &Block) -> &str {
    block.affinity.as_deref().and_then(|text| text.strip_prefix("host:")).unwrap_or(NO_AFFINITY)
}

/// The node that an address is held for.
fn holder(attribute: &Attribute) -> &str {
    attribute.owner.get("node").map(String::as_str).filter(|node| !node.is_empty()).unwrap_or(UNKNOWN_NODE)
}

fn tally<'v>(view: &'v View, pools: &[&'v Arc<Pool>]) -> Tally<'v> {
    let mut tally = Tally::default();
    for block in blocks(view) {
        let (pool, owner) = (pool_of(pools, block.cidr), owner(block));
        *tally.blocks.entry(pool).or_default().entry(owner).or_default() += 1;
        *tally.owned.entry(owner).or_default() += 1;
        for index in block.allocations.iter().flatten() {
            let Some(attribute) = block.attributes.get(*index as usize) else { continue };
            // What has no handle can never be released by one; Calico does not count it.
            if attribute.handle().is_none() || attribute.released_at.is_some() {
                continue;
            }
            let node = holder(attribute);
            *tally.in_use.entry(pool).or_default().entry(node).or_default() += 1;
            if node == UNKNOWN_NODE {
                continue;
            }
            *tally.held.entry(node).or_default() += 1;
            if node != owner {
                *tally.borrowed.entry(pool).or_default().entry(node).or_default() += 1;
                *tally.held_borrowed.entry(node).or_default() += 1;
            }
        }
    }
    tally
}

/// Calico's families.
pub(super) fn families(facts: Facts<'_>) -> Vec<Family> {
    let view = facts.view;
    let pools = pools(view);
    let nodes: BTreeSet<&str> = view.resources(Kind::Node).map(|(node, _)| node.name()).collect();
    let mut tally = tally(view, &pools);
    let mut candidates = by_pool(facts.candidates);
    for pool in &pools {
        for counts in [&mut tally.in_use, &mut tally.borrowed, &mut candidates] {
            let counts = counts.entry(pool.name.as_str()).or_default();
            nodes.iter().for_each(|node| {
                counts.entry(node).or_default();
            });
        }
    }
    let mut families = vec![
        of_pools(
            "ipam_allocations_in_use",
            "IPs currently allocated in IPAM to a workload or tunnel endpoint.",
            &tally.in_use,
        ),
        of_pools(
            "ipam_allocations_borrowed",
            "IPs currently allocated in IPAM to a workload or tunnel endpoint, where the allocation was borrowed from a block affine to another node.",
            &tally.borrowed,
        ),
        of_pools(
            "ipam_allocations_gc_candidates",
            "Allocations that are currently marked by the garbage collector as potential candidates to reclaim. Under normal operation, this metric should return to zero after the garbage collector confirms that this allocation can be reclaimed and reclaims it, or the allocation is confirmed as valid.",
            &candidates,
        ),
        Family {
            sort: Sort::Counter,
            ..of_pools(
                "ipam_allocations_gc_reclamations",
                "The total allocations that have been reclaimed by the garbage collector over time. Under normal operation, this counter should increase, and increases of this counter should align to a return to zero for the candidate gauge.",
                &by_pool(facts.reclamations),
            )
        },
        of_pools("ipam_blocks", "IPAM blocks currently allocated for the IP pool.", &tally.blocks),
        of_nodes("ipam_allocations_per_node", "Number of IPs allocated", &tally.held),
        of_nodes(
            "ipam_allocations_borrowed_per_node",
            "Number of allocated IPs that are from non-affine blocks.",
            &tally.held_borrowed,
        ),
        of_nodes("ipam_blocks_per_node", "Number of blocks in IPAM", &tally.owned),
    ];
    families.extend(sizes(view, &pools));
    families
}

/// How large pools are.
fn sizes(view: &View, pools: &[&Arc<Pool>]) -> [Family; 2] {
    let mut size = Family::gauge("ipam_ippool_size", "Total number of addresses in the IP Pool");
    let mut reserved = Family::gauge(
        "ipam_ippool_reserved",
        "Number of addresses in the IP Pool that an IPReservation covers, and so cannot be assigned.",
    );
    let reservations = Reserved::in_view(view);
    for pool in pools {
        let labels = [("ippool", pool.name.as_str())];
        size.add(&labels, number(pool.cidr.size()));
        reserved.add(&labels, number(reservations.count_in(&pool.cidr)));
    }
    [size, reserved]
}

fn by_pool(counts: &Counts) -> ByPool<'_> {
    let mut out = ByPool::new();
    for (Place { pool, node }, count) in counts {
        *out.entry(pool.as_str()).or_default().entry(node.as_str()).or_default() += count;
    }
    out
}

fn of_pools(name: &'static str, help: &'static str, counts: &ByPool<'_>) -> Family {
    let mut family = Family::gauge(name, help);
    for (pool, nodes) in counts {
        for (node, count) in nodes {
            family.add(&[("ippool", pool), ("node", node)], number(u128::from(*count)));
        }
    }
    family
}

fn of_nodes(name: &'static str, help: &'static str, counts: &ByNode<'_>) -> Family {
    let mut family = Family::gauge(name, help);
    for (node, count) in counts {
        family.add(&[("node", node)], number(u128::from(*count)));
    }
    family
}
