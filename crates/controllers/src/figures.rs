//! The figures of a cluster's addresses, from its records: Calico's `ipam_*`, and this project's own.
//!
//! Calico's have zeros only where Calico has them: for addresses, of each pool and each Node; not for blocks,
//! not for blocks without a pool, and not in the older figures of single nodes.

mod calico;
mod own;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use store::View;

pub use calico::{pool_of, pools};

/// What sort of figure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// A value that goes up and down.
    Gauge,
    /// A count that only goes up.
    Counter,
}

/// All values of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// The name.
    pub name: &'static str,
    /// What it is, for people.
    pub help: &'static str,
    /// What sort of figure it is.
    pub sort: Sort,
    /// The values. A family without any is not shown.
    pub samples: Vec<Sample>,
}

impl Family {
    fn gauge(name: &'static str, help: &'static str) -> Family {
        Family { name, help, sort: Sort::Gauge, samples: Vec::new() }
    }

    fn add(&mut self, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_string())).collect();
        self.samples.push(Sample { labels, value });
    }
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What it is about.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

/// A pool and a node, as the labels of Calico's figures name them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The pool's name, or [`NO_POOL`].
    pub pool: String,
    /// The node's name, or [`UNKNOWN_NODE`].
    pub node: String,
}

/// Counts of addresses, by pool and node.
pub type Counts = BTreeMap<Place, u64>;

/// The pool of blocks that lie in no pool.
pub const NO_POOL: &str = "no_ippool";
/// The node of addresses that name none.
pub const UNKNOWN_NODE: &str = "unknown_node";
/// The node of blocks that belong to none.
pub const NO_AFFINITY: &str = "no_affinity";

/// How many series there are at most that name a node. Prometheus keeps each of them in memory.
pub const MOST_OF_NODES: usize = 10_000;

/// What figures are made of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Blocks, pools, reservations and nodes in full, and the allocator's configuration.
    pub view: &'a View,
    /// Addresses that may be given back soon.
    pub candidates: &'a Counts,
    /// Addresses that were given back so far.
    pub reclamations: &'a Counts,
    /// The label that names a node's rack; `None` where no racks are known.
    pub rack_label: Option<&'a str>,
    /// How many series that name a node there may be; [`MOST_OF_NODES`] by default.
    pub most_of_nodes: usize,
}

/// The figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// The families, in the order of their names.
    pub families: Vec<Family>,
    /// How many series that name a node were left out, for there are too many.
    pub left_out: usize,
}

/// The figures of a cluster.
pub fn figures(facts: Facts<'_>) -> Figures {
    let mut families = calico::families(facts);
    let names_node = |sample: &Sample| sample.labels.iter().any(|(name, _)| *name == "node");
    let of_nodes = families.iter().flat_map(|family| &family.samples).filter(|one| names_node(one)).count();
    let left_out = if of_nodes > facts.most_of_nodes { of_nodes } else { 0 };
    if left_out > 0 {
        families.iter_mut().for_each(|family| family.samples.retain(|sample| !names_node(sample)));
    }
    families.extend(own::families(facts, left_out));
    families.retain(|family| !family.samples.is_empty());
    families.sort_by_key(|family| family.name);
    Figures { families, left_out }
}

/// A number as figures have it. Above 2^53 it is rounded.
#[allow(clippy::cast_precision_loss, reason = "figures are floating point numbers")]
fn number(count: u128) -> f64 {
    count as f64
}
