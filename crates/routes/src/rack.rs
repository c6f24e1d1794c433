//! Racks: which nodes belong together, and the fewest networks that lead to all of a rack.

use std::collections::{BTreeMap, BTreeSet};

use api::{Cidr, Pool};

use crate::cover;
use crate::destination::{Destinations, Table};
use crate::encapsulation::Encapsulation;
use crate::snapshot::{PoolFacts, Snapshot};

/// The value of the rack label; `None` for nodes without it.
pub type RackName = Option<String>;

/// How a rack's name is shown.
pub fn shown(rack: &RackName) -> &str {
    rack.as_deref().unwrap_or("(no rack)")
}

/// Who holds the routes to a rack's blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// The rack's nodes: its router sends them everything that is for the rack, and knows no block.
    #[default]
    Node,
    /// The rack's router has a route to each of the rack's blocks, and other routers have one to the rack.
    Tor,
    /// Every router has a route to each block of the cluster.
    Off,
}

/// Which pools' addresses routers lead to. Pools that hide from routers (`disableBGPExport`) never count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exported {
    /// Pools without encapsulation: only with them do routers see a pod's address.
    #[default]
    Plain,
    /// All pools, so that hosts outside of the cluster reach pods too.
    All,
}

impl Exported {
    pub(crate) fn counts(self, pool: &PoolFacts) -> bool {
        let is_seen = self == Exported::All || pool.encapsulation == Encapsulation::None;
        is_seen && !pool.is_hidden && pool.has_routes()
    }
}

/// The nodes of a rack, and the networks that lead to it. Between racks the narrowest network counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rack {
    /// The nodes, in the order of their names.
    pub nodes: Vec<String>,
    /// The networks of the pools that only nodes of this rack can use, neighbours merged.
    pub pools: Vec<Cidr>,
    /// What the rack's nodes have outside of any rack's pools, neighbours merged.
    pub blocks: Vec<Cidr>,
    /// What the rack's nodes have from another rack's pools or blocks, neighbours merged.
    pub exceptions: Vec<Cidr>,
}

impl Rack {
    /// Every network that leads to the rack.
    pub fn networks(&self) -> impl Iterator<Item = Cidr> {
        [&self.pools, &self.blocks, &self.exceptions].into_iter().flatten().copied()
    }
}

/// Why it is not known which label names a node's rack.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RackError {
    /// Pools are tied to single values of several labels equally often. Name the label.
    #[error("the nodeSelectors of pools do not say which label names a node's rack: it can be any of {}", .0.join(", "))]
    Ambiguous(Vec<String>),
}

/// All racks.
#[derive(Clone, Debug)]
pub struct Racks {
    /// The label that names a node's rack; without one no node is in a rack.
    pub label: Option<String>,
    /// Which pools count.
    pub exported: Exported,
    /// The racks.
    pub racks: BTreeMap<RackName, Rack>,
    of_node: BTreeMap<String, RackName>,
}

/// The label that names a node's rack: the one that most pools ask for one value of; `None` where no pool
/// asks for any.
///
/// # Errors
/// See [`RackError`].
pub fn label(snapshot: &Snapshot) -> Result<Option<String>, RackError> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for pool in snapshot.pools.values().filter(|pool| pool.has_routes()) {
        let Ok(selector) = &pool.pool.node_selector else { continue };
        for (label, _) in selector.restrictions().iter().filter(|(_, asked)| asked.single().is_some()) {
            *counts.entry(label).or_default() += 1;
        }
    }
    let most = counts.values().max().copied();
    let labels: Vec<String> = counts
        .iter()
        .filter(|(_, count)| Some(**count) == most)
        .map(|(label, _)| label.to_string())
        .collect();
    match labels.len() {
        0 | 1 => Ok(labels.into_iter().next()),
        _ => Err(RackError::Ambiguous(labels)),
    }
}

/// The only rack whose nodes a pool can select. A selector's demands are necessary ones, so where it demands
/// one value of the label, no node of another rack is selected, today or later.
fn only_rack(pool: &Pool, label: &str) -> Option<String> {
    let selector = pool.node_selector.as_ref().ok()?;
    Some(selector.restrictions().get(label)?.single()?.to_string())
}

impl Racks {
    /// The racks by that label.
    pub fn of(destinations: &Destinations<'_>, label: Option<&str>, exported: Exported) -> Racks {
        let snapshot = destinations.snapshot;
        let rack_of = |labels: &BTreeMap<String, String>| label.and_then(|label| labels.get(label)).cloned();
        let mut all = Racks {
            label: label.map(str::to_string),
            exported,
            racks: BTreeMap::new(),
            of_node: snapshot
                .nodes
                .iter()
                .map(|(name, node)| (name.clone(), rack_of(&node.labels)))
                .collect(),
        };
        for (node, rack) in &all.of_node {
            all.racks.entry(rack.clone()).or_default().nodes.push(node.clone());
        }
        for pool in snapshot.pools.values().filter(|pool| exported.counts(pool)) {
            if let Some(rack) = label.and_then(|label| only_rack(&pool.pool, label)) {
                all.racks.entry(Some(rack)).or_default().pools.push(pool.pool.cidr);
            }
        }
        all.place(destinations);
        for rack in all.racks.values_mut() {
            for networks in [&mut rack.pools, &mut rack.blocks, &mut rack.exceptions] {
                *networks = cover::fewest(std::mem::take(networks));
            }
        }
        all
    }

    /// Finds what racks have outside of their own pools.
    fn place(&mut self, destinations: &Destinations<'_>) {
        let pools =
            self.racks.iter().flat_map(|(name, rack)| rack.pools.iter().map(|pool| (*pool, name.clone())));
        let pools: Table<RackName> = pools.collect();
        for (to, destination) in &destinations.all {
            if !self.exported.counts(destination.pool) {
                continue;
            }
            let Some(rack) = self.of_node.get(destination.node) else { continue };
            // Where the network would lead without a route of its own.
            let owner = destination.owner.filter(|_| destination.lent.is_some());
            let otherwise =
                owner.and_then(|owner| self.of_node.get(owner)).or_else(|| pools.around(to).last());
            let entry = self.racks.entry(rack.clone()).or_default();
            match otherwise {
                Some(other) if other == rack => {}
                Some(_) => entry.exceptions.push(*to),
                None => entry.blocks.push(*to),
            }
        }
    }

    /// The rack of a node; `None` for a node that is not there.
    pub fn of_node(&self, node: &str) -> Option<&RackName> {
        self.of_node.get(node)
    }

    /// The names of the racks that are not in `but`.
    pub fn others(&self, but: &BTreeSet<RackName>) -> impl Iterator<Item = (&RackName, &Rack)> {
        self.racks.iter().filter(move |(name, _)| !but.contains(*name))
    }
}
