//! How many routes the routers of a cluster need.

use crate::destination::Destinations;
use crate::rack::{Aggregation, RackName, Racks};

/// How many routes a router needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The rack whose router it is; `None` stands for a router that is beside no rack.
    pub rack: Option<RackName>,
    /// Routes to the rack's own blocks, or to all of the rack.
    pub own: usize,
    /// Routes to addresses that the rack's nodes have borrowed from each other.
    pub exceptions: usize,
    /// Routes to other racks.
    pub others: usize,
    /// How many routes the router has where every block and every borrowed address is announced.
    pub calico: usize,
}

impl Budget {
    /// All routes. Those that only end a packet's way do not count.
    pub fn total(&self) -> usize {
        self.own + self.exceptions + self.others
    }
}

/// The budget of each rack's router, and that of a router beside no rack.
pub fn of(destinations: &Destinations<'_>, racks: &Racks, aggregation: Aggregation) -> Vec<Budget> {
    let counted = || {
        let counted = destinations.all.values().filter(|destination| racks.exported.counts(destination.pool));
        counted.filter_map(|destination| Some((racks.of_node(destination.node)?, destination)))
    };
    let calico = counted().count();
    // Nodes without a rack have nothing in common, so nothing of theirs is merged beside them.
    let mut own = std::collections::BTreeMap::<&RackName, (usize, usize)>::new();
    for (rack, destination) in counted() {
        let count = own.entry(rack).or_default();
        match destination.lent {
            None => count.0 += 1,
            Some(_) => count.1 += 1,
        }
    }
    let outside = |rack: &RackName| match aggregation {
        Aggregation::Off => own.get(rack).map_or(0, |(blocks, lent)| blocks + lent),
        Aggregation::Node | Aggregation::Tor => {
            racks.racks.get(rack).map_or(0, |rack| rack.networks().count())
        }
    };
    let all: usize = racks.racks.keys().map(outside).sum();
    let of_rack = |rack: &RackName| {
        let is_whole = aggregation == Aggregation::Node && rack.is_some();
        let (own, exceptions) = match is_whole {
            true => (outside(rack), 0),
            false => own.get(rack).copied().unwrap_or_default(),
        };
        Budget { rack: Some(rack.clone()), own, exceptions, others: all - outside(rack), calico }
    };
    let core = Budget { rack: None, own: 0, exceptions: 0, others: all, calico };
    racks.racks.keys().map(of_rack).chain([core]).collect()
}
