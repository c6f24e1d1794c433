//! What a node must have to reach every address of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use api::{Cidr, Family};

use crate::cover;
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

/// What a node must have. `racks` are those that its router goes by: the node ends what the router sends to
/// its rack in vain.
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
    let (mut own_blocks, mut left) = (Vec::new(), Vec::new());
    for (to, destination) in &destinations.all {
        if destination.node == name {
            own_blocks.push((*to, destination));
        } else if let Some(wanted) = here.to_other(destinations, *to, destination) {
            routes.insert(*to, wanted);
        } else if here.is_left_to_the_default_route(destination) {
            left.push(*to);
        }
    }
    let mut narrow: Vec<Cidr> = routes.keys().copied().collect();
    narrow.extend(own_blocks.iter().map(|(to, _)| *to));
    let mut ends: Vec<Wanted> =
        own_blocks.into_iter().flat_map(|(to, own)| own_block(to, own, &left)).collect();
    ends.extend(here.to_racks(destinations, |pool| holes(pool, &left, &narrow)));
    for wanted in ends {
        // What has a route of its own keeps it: a block that is all of a rack, an address beside a hole.
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

/// What ends packets to free addresses of an own block. What the default route leads to does not end here.
fn own_block(to: Cidr, own: &Destination<'_>, left: &[Cidr]) -> Vec<Wanted> {
    // An address that is here is reached by its pod's route; a block of one address would hide it.
    if own.lent.is_some() || own.block.size() == 1 {
        return Vec::new();
    }
    let reason = Reason::OwnBlock { pool: own.pool.pool.name.clone() };
    let end = |to| Wanted { route: Route::new(to, Target::Blackhole), reason: reason.clone() };
    cover::without(to, &inside(to, left)).into_iter().map(end).collect()
}

/// The parts of a rack's network that must not end here: what the default route leads to. What lies in a
/// block that has a route here is left out together with the block: the parts around it would hide that
/// route.
fn holes(pool: Cidr, left: &[Cidr], narrow: &[Cidr]) -> Vec<Cidr> {
    let widest =
        |hole: Cidr| narrow.iter().copied().filter(|block| block.covers(&hole)).min_by_key(Cidr::prefix);
    inside(pool, left).into_iter().map(|hole| widest(hole).unwrap_or(hole)).collect()
}

/// The networks of a sorted list that lie in `network`.
fn inside(network: Cidr, list: &[Cidr]) -> Vec<Cidr> {
    let from = list.partition_point(|other| other.first() < network.first());
    let rest = list[from..].iter().take_while(|other| other.first() <= network.last());
    rest.copied().filter(|other| network.covers(other)).collect()
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
    /// The route to a destination on another node; `None` where nobody knows one, or the default route leads
    /// there.
    fn to_other(
        &self,
        destinations: &Destinations<'_>,
        to: Cidr,
        destination: &Destination<'_>,
    ) -> Option<Wanted> {
        let other = destinations.snapshot.nodes.get(destination.node)?;
        let route = self.to_node(to, destination, other)?;
        let pool = destination.pool.pool.name.clone();
        let (block, node) = (destination.block.cidr(), destination.node.to_string());
        let reason = match destination.lent {
            None => Reason::Block { pool, block, node },
            Some(lent) => Reason::Borrowed { pool, block, node, handle: lent.handle.clone() },
        };
        Some(Wanted { route, reason })
    }

    /// Whether the router knows the way to a destination that has no route here. Where the rack's nodes have
    /// all of it, the router sends back to them what is for their rack.
    fn is_left_to_the_default_route(&self, destination: &Destination<'_>) -> bool {
        let rack = self.racks.of_node(destination.node);
        let is_of_own_rack = rack.is_some_and(|rack| rack.is_some()) && rack == self.racks.of_node(self.name);
        destination.pool.encapsulation == Encapsulation::None
            && rack.is_some()
            && !(is_of_own_rack && self.options.aggregation == Aggregation::Node)
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
    fn to_racks(&self, destinations: &Destinations<'_>, holes: impl Fn(Cidr) -> Vec<Cidr>) -> Vec<Wanted> {
        let aggregation = self.options.aggregation;
        let Some(own) = self.racks.of_node(self.name).filter(|_| aggregation != Aggregation::Off) else {
            return Vec::new();
        };
        let mut wanted = Vec::new();
        let mut by_router = |name: &RackName, rack: &Rack| {
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
        };
        self.racks.others(&BTreeSet::from([own.clone()])).for_each(|(name, rack)| by_router(name, rack));
        let Some(rack) = self.own_rack(own) else { return wanted };
        if aggregation == Aggregation::Tor {
            // The router has every block of the rack, those of other subnets too.
            by_router(own, rack);
            return wanted;
        }
        // The router sends here whatever is for the rack, so what no block holds must not go back to it.
        let reason = Reason::OwnRack { rack: rack::shown(own).to_string() };
        let end = |to| Wanted { route: Route::new(to, Target::Unreachable), reason: reason.clone() };
        let ends = rack.pools.iter().flat_map(|pool| cover::without(*pool, &holes(*pool)));
        wanted.extend(ends.map(end));
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
