//! What a router outside of the cluster must have to reach every address of the cluster's pods.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::{Cidr, Family};

use crate::destination::{Destination, Destinations};
use crate::rack::{self, Aggregation, Rack, RackName, Racks};
use crate::route::{Reason, Route, Target, Wanted};

/// A router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// The racks whose nodes it reaches directly.
    pub beside: BTreeSet<RackName>,
    /// The way to all other racks, an address in each family. Where there is none, they are left to the
    /// router's default route.
    pub via: Vec<IpAddr>,
    /// Who holds the routes to a rack's blocks.
    pub aggregation: Aggregation,
    /// To how many nodes of a rack the router sends what is for all of the rack.
    pub gateways: usize,
}

/// The routes of a router, by destination.
pub fn routes(destinations: &Destinations<'_>, racks: &Racks, router: &Router) -> BTreeMap<Cidr, Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for (name, rack) in &racks.racks {
        let reason = Reason::Rack { rack: rack::shown(name).to_string() };
        let is_beside = router.beside.contains(name);
        // Nodes without a rack have nothing in common: each gets its own routes.
        let has_blocks = router.aggregation == Aggregation::Off
            || is_beside && (router.aggregation == Aggregation::Tor || name.is_none());
        if has_blocks {
            wanted.extend(blocks(destinations, racks, router, name));
        }
        for network in rack.networks().filter(|_| !has_blocks) {
            let target = match is_beside {
                true => to_gateways(destinations, rack, network.family(), router.gateways),
                false => router.uplink(network.family()),
            };
            wanted.extend(
                target.map(|target| Wanted { route: Route::new(network, target), reason: reason.clone() }),
            );
        }
        if has_blocks && is_beside && router.aggregation == Aggregation::Tor && name.is_some() {
            let reason = Reason::OwnRack { rack: rack::shown(name).to_string() };
            let end = |network: &Cidr| Wanted {
                route: Route::new(*network, Target::Unreachable),
                reason: reason.clone(),
            };
            // A block that is the whole network has its own route.
            wanted.splice(0..0, rack.pools.iter().map(end));
        }
    }
    wanted.into_iter().map(|wanted| (wanted.route.to, wanted)).collect()
}

impl Router {
    fn uplink(&self, family: Family) -> Option<Target> {
        let addr = self.via.iter().copied().find(|addr| Family::of(*addr) == family)?;
        Some(Target::Via { gateways: vec![addr], device: None })
    }
}

/// The nodes of a rack that take everything for it: the first by name that have an address. Without any, what
/// is for the rack ends at the router.
fn to_gateways(destinations: &Destinations<'_>, rack: &Rack, family: Family, count: usize) -> Option<Target> {
    let mut gateways: Vec<IpAddr> =
        gateways(destinations, rack, family, count).into_iter().map(|(_, addr)| addr).collect();
    gateways.sort();
    match gateways.is_empty() {
        true => Some(Target::Unreachable),
        false => Some(Target::Via { gateways, device: None }),
    }
}

/// The gateways of a rack in a family: name and address.
pub fn gateways(
    destinations: &Destinations<'_>,
    rack: &Rack,
    family: Family,
    count: usize,
) -> Vec<(String, IpAddr)> {
    let address = |name: &String| {
        let (addr, _) = destinations.snapshot.nodes.get(name)?.ends(family).address?;
        Some((name.clone(), addr))
    };
    rack.nodes.iter().filter_map(address).take(count.max(1)).collect()
}

/// A route to each block and borrowed address of a rack's nodes.
fn blocks<'a>(
    destinations: &'a Destinations<'_>,
    racks: &'a Racks,
    router: &'a Router,
    rack: &'a RackName,
) -> impl Iterator<Item = Wanted> + 'a {
    let of_rack = move |destination: &Destination<'_>| {
        racks.exported.counts(destination.pool) && racks.of_node(destination.node) == Some(rack)
    };
    destinations.all.iter().filter(move |(_, destination)| of_rack(destination)).filter_map(
        move |(to, destination)| {
            let target = match router.beside.contains(rack) {
                true => {
                    let node = destinations.snapshot.nodes.get(destination.node)?;
                    let (addr, _) = node.ends(to.family()).address?;
                    Target::Via { gateways: vec![addr], device: None }
                }
                false => router.uplink(to.family())?,
            };
            let (pool, block) = (destination.pool.pool.name.clone(), destination.block.cidr());
            let node = destination.node.to_string();
            let reason = match destination.lent {
                None => Reason::Block { pool, block, node },
                Some(lent) => Reason::Borrowed { pool, block, node, handle: lent.handle.clone() },
            };
            Some(Wanted { route: Route::new(*to, target), reason })
        },
    )
}
