//! What a node must have to reach every address of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use api::{Cidr, Family};

use crate::destination::{Destination, Destinations};
use crate::encapsulation::Encapsulation;
use crate::rack::{self, Aggregation, Rack, RackName, Racks};
use crate::route::{Reason, Route, Target, Wanted};
use crate::snapshot::NodeFacts;
use crate::tunnel::{self, Kind, Tunnel};

/// What the records do not say about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Who holds the routes to a rack's blocks.
    pub aggregation: Aggregation,
    /// The node's router, an address in each family, by which other racks are reached. Where there is none,
    /// they are left to the default route.
    pub via: Vec<IpAddr>,
    /// The name of the interface that carries the node's address. `None`: the one that the Node names.
    pub uplink: Option<String>,
    /// The largest packet of that interface.
    pub mtu: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options { aggregation: Aggregation::default(), via: Vec::new(), uplink: None, mtu: 1500 }
    }
}

/// Why it is not known what a node must have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// There is no such Node. Look for the right name, or create it.
    #[error("Node({0}) does not exist: `calicoctl get nodes` shows those that do")]
    Missing(String),
    /// The Node cannot be read. Mend it; until then, leave the node's routes as they are.
    #[error(
        "Node({0}) cannot be read, so it is not known what routes it needs: mend it by `calicoctl replace -f FILE`"
    )]
    Unreadable(String),
}

/// What a node must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desired {
    /// The routes, by destination.
    pub routes: BTreeMap<Cidr, Wanted>,
    /// The tunnels.
    pub tunnels: Vec<Tunnel>,
    /// For each pool the largest packet that pods with its addresses may send here.
    pub mtus: BTreeMap<String, u32>,
    /// The smallest of these: for pods of which it is not known which pool they will get an address from.
    pub pod_mtu: u32,
    /// What may be anywhere, because a record about it cannot be read: routes into it stay as they are.
    pub unknown: Vec<Cidr>,
    /// Whether other nodes may be there that cannot be read: the other sides of tunnels stay as they are.
    pub has_unknown_peers: bool,
}

/// What a node must have.
///
/// # Errors
/// See [`NodeError`].
pub fn desired(
    destinations: &Destinations<'_>,
    racks: &Racks,
    name: &str,
    options: &Options,
) -> Result<Desired, NodeError> {
    let snapshot = destinations.snapshot;
    let Some(own) = snapshot.nodes.get(name) else {
        return Err(match snapshot.is_unreadable_node(name) {
            true => NodeError::Unreadable(name.to_string()),
            false => NodeError::Missing(name.to_string()),
        });
    };
    let tunnels = tunnel::of(destinations, name, own, options.mtu);
    let uplink = options.uplink.as_deref().or_else(|| own.uplink()).map(Arc::from);
    let here = Here { name, own, racks, options, uplink, tunnels: &tunnels };
    let mut routes = BTreeMap::new();
    for (to, destination) in &destinations.all {
        if let Some(wanted) = here.route(destinations, *to, destination) {
            routes.insert(*to, wanted);
        }
    }
    for wanted in here.to_racks(destinations) {
        // A block that is all of a rack's network has its own route.
        routes.entry(wanted.route.to).or_insert(wanted);
    }
    let has_routes = snapshot.pools.values().filter(|pool| pool.has_routes());
    let mtu = |family, encapsulation: Encapsulation| encapsulation.mtu(family, options.mtu);
    let mtus: BTreeMap<String, u32> = has_routes
        .map(|facts| (facts.pool.name.clone(), mtu(facts.pool.family(), facts.encapsulation)))
        .collect();
    let mut unknown = destinations.unknown.clone();
    if snapshot.has_unreadable_pool() {
        unknown.extend(Family::BOTH.into_iter().filter_map(everything));
    }
    Ok(Desired {
        routes,
        pod_mtu: mtus.values().min().copied().unwrap_or(options.mtu),
        mtus,
        unknown,
        has_unknown_peers: snapshot.has_unreadable_node() || snapshot.has_unreadable_pool(),
        tunnels,
    })
}

fn everything(family: Family) -> Option<Cidr> {
    let zero: IpAddr = match family {
        Family::V4 => IpAddr::from([0; 4]),
        Family::V6 => IpAddr::from([0; 16]),
    };
    Cidr::of(zero, 0)
}

/// A node, as its routes see it.
struct Here<'a> {
    name: &'a str,
    own: &'a NodeFacts,
    racks: &'a Racks,
    options: &'a Options,
    uplink: Option<Arc<str>>,
    tunnels: &'a [Tunnel],
}

impl Here<'_> {
    /// The route to a destination; `None` where there must be none, or nobody knows one.
    fn route(
        &self,
        destinations: &Destinations<'_>,
        to: Cidr,
        destination: &Destination<'_>,
    ) -> Option<Wanted> {
        let pool = destination.pool.pool.name.clone();
        if destination.node == self.name {
            // An address that is here is reached by its pod's route; a block of one address would hide it.
            let ends_here = destination.lent.is_none() && destination.block.size() > 1;
            let wanted =
                || Wanted { route: Route::new(to, Target::Blackhole), reason: Reason::OwnBlock { pool } };
            return ends_here.then(wanted);
        }
        let other = destinations.snapshot.nodes.get(destination.node)?;
        let route = self.to_node(to, destination, other)?;
        let (block, node) = (destination.block.cidr(), destination.node.to_string());
        let reason = match destination.lent {
            None => Reason::Block { pool, block, node },
            Some(lent) => Reason::Borrowed { pool, block, node, handle: lent.handle.clone() },
        };
        Some(Wanted { route, reason })
    }

    fn to_node(&self, to: Cidr, destination: &Destination<'_>, other: &NodeFacts) -> Option<Route> {
        let family = to.family();
        let (own, subnet) = self.own.ends(family).address?;
        // A node that says it has our address cannot be reached.
        let theirs = other.ends(family).address.map(|(addr, _)| addr).filter(|addr| *addr != own);
        let neighbour = theirs.filter(|addr| subnet.contains(*addr));
        let encapsulation = destination.pool.encapsulation;
        let direct = |addr| Route::new(to, self.via(addr));
        if encapsulation == Encapsulation::None || destination.is_cross_subnet && neighbour.is_some() {
            return neighbour.map(direct).or_else(|| self.by_router(to));
        }
        let tunnel = self.tunnels.iter().find(|tunnel| {
            tunnel.kind.encapsulation() == encapsulation
                && tunnel.kind.family() == family
                && tunnel.is_complete()
        })?;
        let device: Arc<str> = tunnel.device.into();
        let gateway = match tunnel.kind {
            Kind::Ipip => theirs?,
            Kind::Vxlan | Kind::VxlanV6 => tunnel.peers.get(destination.node)?.address,
        };
        let target = match to == Cidr::single(gateway) {
            true => Target::Link { device },
            false => Target::Via { gateways: vec![gateway], device: Some(device) },
        };
        Some(Route { mtu: Some(tunnel.mtu), ..Route::new(to, target) })
    }

    /// The route to a single block of another subnet, where the router must be told of each.
    fn by_router(&self, to: Cidr) -> Option<Route> {
        let gateway = self.router(to.family()).filter(|_| self.options.aggregation == Aggregation::Off)?;
        Some(Route::new(to, self.via(gateway)))
    }

    fn router(&self, family: Family) -> Option<IpAddr> {
        self.options.via.iter().copied().find(|addr| Family::of(*addr) == family)
    }

    fn via(&self, gateway: IpAddr) -> Target {
        Target::Via { gateways: vec![gateway], device: self.uplink.clone() }
    }

    /// The routes to whole racks.
    fn to_racks(&self, destinations: &Destinations<'_>) -> Vec<Wanted> {
        let aggregation = self.options.aggregation;
        let Some(own) = self.racks.of_node(self.name).filter(|_| aggregation != Aggregation::Off) else {
            return Vec::new();
        };
        let mut wanted = Vec::new();
        for (name, rack) in self.racks.others(&BTreeSet::from([own.clone()])) {
            let reason = Reason::Rack { rack: rack::shown(name).to_string() };
            for network in
                rack.networks().filter(|network| !self.reaches_all(destinations, rack, network.family()))
            {
                if let Some(gateway) = self.router(network.family()) {
                    wanted.push(Wanted {
                        route: Route::new(network, self.via(gateway)),
                        reason: reason.clone(),
                    });
                }
            }
        }
        // The router sends here whatever is for the rack, so what no block holds must not go back to it.
        if let (Aggregation::Node, Some(rack)) = (aggregation, self.own_rack(own)) {
            let reason = Reason::OwnRack { rack: rack::shown(own).to_string() };
            let end =
                |network| Wanted { route: Route::new(network, Target::Unreachable), reason: reason.clone() };
            wanted.extend(rack.pools.iter().copied().map(end));
        }
        wanted
    }

    fn own_rack(&self, own: &RackName) -> Option<&Rack> {
        own.as_ref().and_then(|_| self.racks.racks.get(own))
    }

    /// Whether all of a rack's nodes are in this node's subnet, so that each block has a route of its own.
    fn reaches_all(&self, destinations: &Destinations<'_>, rack: &Rack, family: Family) -> bool {
        let Some((_, subnet)) = self.own.ends(family).address else { return false };
        let nodes = rack.nodes.iter().filter_map(|name| destinations.snapshot.nodes.get(name));
        let mut addresses = nodes.map(|node| node.ends(family).address);
        !rack.nodes.is_empty()
            && addresses.all(|address| address.is_some_and(|(addr, _)| subnet.contains(addr)))
    }
}
