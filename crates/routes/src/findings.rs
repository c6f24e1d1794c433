//! What keeps somebody from being reached, or makes routers hold more routes than they need.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::IpAddr;

use api::{AffinityState, Cidr, Family};

use crate::destination::{Destinations, host};
use crate::encapsulation::Encapsulation;
use crate::kernel::Found;
use crate::rack::{self, Aggregation, Racks};
use crate::route::Wanted;
use crate::snapshot::Known;
use crate::tunnel::{self, Kind};

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The sort of finding, one word for programs.
    pub kind: &'static str,
    /// What it is about: a node, a network, an address.
    pub about: String,
    /// What is wrong, what follows, and what to do.
    pub text: String,
}

fn finding(kind: &'static str, about: impl Display, text: impl Into<String>) -> Finding {
    Finding { kind, about: about.to_string(), text: text.into() }
}

/// What the records alone tell.
pub fn of_records(destinations: &Destinations<'_>, racks: &Racks, aggregation: Aggregation) -> Vec<Finding> {
    let mut found = unreadable(destinations);
    found.extend(addresses(destinations));
    found.extend(twice(destinations));
    found.extend(blocks(destinations));
    found.extend(affinities(destinations));
    found.extend(of_racks(destinations, racks, aggregation));
    found.sort();
    found
}

fn unreadable(destinations: &Destinations<'_>) -> Vec<Finding> {
    let text = "cannot be read, so routes that it may ask for stay as they are: mend it by `calicoctl replace -f FILE`";
    destinations.snapshot.unreadable.iter().map(|key| finding("Unreadable", key, text)).collect()
}

/// Nodes that say too little about where they are.
fn addresses(destinations: &Destinations<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let pools = || destinations.snapshot.pools.values().filter(|pool| pool.has_routes());
    let families =
        Family::BOTH.into_iter().filter(|family| pools().any(|pool| pool.pool.family() == *family));
    for family in families {
        let is_split = pools().any(|pool| {
            let in_subnets = pool.is_cross_subnet || pool.encapsulation == Encapsulation::None;
            pool.pool.family() == family && in_subnets
        });
        for (name, node) in &destinations.snapshot.nodes {
            let field = match family {
                Family::V4 => "spec.bgp.ipv4Address",
                Family::V6 => "spec.bgp.ipv6Address",
            };
            match node.ends(family).address {
                None => found.push(finding(
                    "NoAddress",
                    name,
                    format!("{field} holds no address with prefix length: no node has a route to this one's {family} addresses"),
                )),
                Some((addr, subnet)) if subnet.prefix() == family.bits() && is_split => found.push(finding(
                    "NoSubnet",
                    name,
                    format!("{field} is {addr}/{}: it has no neighbours, so nothing reaches or leaves it without encapsulation; set its true prefix length", subnet.prefix()),
                )),
                Some((addr, _)) => {
                    if let Some(pool) = pools().find(|pool| pool.pool.cidr.contains(addr)) {
                        found.push(finding(
                            "NodeInPool",
                            name,
                            format!("{field} {addr} lies in IPPool({}): choose another network for the pool", pool.pool.name),
                        ));
                    }
                }
            }
        }
    }
    for kind in Kind::ALL.into_iter().filter(|kind| destinations.uses(kind.encapsulation(), kind.family())) {
        let lacking = destinations.snapshot.nodes.iter().filter(|(_, node)| kind.address_of(node).is_none());
        for (name, _) in lacking {
            let text = format!(
                "{} is empty: no {} tunnel can lead there. The node's agent sets it, from a pool that selects the node and allows the use Tunnel",
                kind.field(),
                kind.encapsulation()
            );
            found.push(finding("NoTunnelAddress", name, text));
        }
    }
    found
}

/// Two nodes that say the same of themselves.
fn twice(destinations: &Destinations<'_>) -> Vec<Finding> {
    let mut names: BTreeMap<(&'static str, String), Vec<&str>> = BTreeMap::new();
    for (name, node) in &destinations.snapshot.nodes {
        let mut note = |what, value: Option<String>| {
            if let Some(value) = value {
                names.entry((what, value)).or_default().push(name);
            }
        };
        for family in Family::BOTH {
            note("address", node.ends(family).address.map(|(addr, _)| addr.to_string()));
            let peer = tunnel::peer(name, node, family);
            note("tunnel address", peer.map(|peer| peer.address.to_string()));
            note("hardware address", peer.map(|peer| peer.mac.to_string()));
        }
        note("IPIP tunnel address", node.ipip.map(|addr| addr.to_string()));
    }
    let doubled = names.into_iter().filter(|(_, names)| names.len() > 1);
    let told = |((what, value), names): ((&str, String), Vec<&str>)| {
        let text = format!(
            "is the {what} of {}: only one of them is reached; give the others one of their own",
            names.join(" and ")
        );
        finding("Duplicate", value, text)
    };
    doubled.map(told).collect()
}

/// Blocks and addresses that lead nowhere.
fn blocks(destinations: &Destinations<'_>) -> Vec<Finding> {
    let without_pool = destinations.without_pool.iter().map(|block| {
        finding("NoPool", block, "lies in no pool, so no other node has a route to it: create its pool again, disabled, until its addresses are given back")
    });
    let missing = destinations.all.iter().filter(|(_, destination)| {
        !destinations.snapshot.nodes.contains_key(destination.node)
            && !destinations.snapshot.is_unreadable_node(destination.node)
    });
    let missing = missing.map(|(to, destination)| {
        finding(
            "NoNode",
            to,
            format!("belongs to Node({}), which does not exist: nobody has a route to it", destination.node),
        )
    });
    without_pool.chain(missing).collect()
}

/// Affinities that contradict the blocks. Programs that go by affinities send packets astray.
fn affinities(destinations: &Destinations<'_>) -> Vec<Finding> {
    let snapshot = destinations.snapshot;
    let mut found = Vec::new();
    for (block, owners) in &snapshot.affinities {
        if snapshot.unreadable.contains(&api::Key::Block(*block)) {
            continue;
        }
        let confirmed: Vec<&str> = owners
            .iter()
            .filter(|(_, state)| **state == AffinityState::Confirmed)
            .filter_map(|(owner, _)| host(owner))
            .collect();
        if confirmed.len() > 1 {
            let text = format!(
                "{} have confirmed affinities to it: only the owner that the block names may have one",
                confirmed.join(" and ")
            );
            found.push(finding("Affinity", block, text));
        }
        let owner = snapshot.blocks.get(block).map(|facts| facts.owner.as_ref().and_then(host));
        for claimed in confirmed {
            let text = match owner {
                Some(owner) if owner == Some(claimed) => continue,
                None if snapshot.known == Known::ByAffinities => continue,
                Some(owner) => format!(
                    "{claimed} has a confirmed affinity, and the block belongs to {}",
                    owner.unwrap_or("nobody")
                ),
                None => format!("{claimed} has a confirmed affinity, and there is no such block"),
            };
            found.push(finding(
                "Affinity",
                block,
                text + ": the allocator mends it at the node's next request",
            ));
        }
    }
    found
}

/// What makes routers hold more than one route a rack, and what one route a rack does not reach.
fn of_racks(destinations: &Destinations<'_>, racks: &Racks, aggregation: Aggregation) -> Vec<Finding> {
    let mut found = Vec::new();
    if aggregation == Aggregation::Off || racks.label.is_none() {
        return found;
    }
    for (to, destination) in destinations.all.iter().filter(|(_, found)| racks.exported.counts(found.pool)) {
        let (Some(owner), Some(lent)) = (destination.owner, destination.lent) else { continue };
        let (Some(from), Some(rack)) = (racks.of_node(owner), racks.of_node(&lent.node)) else { continue };
        if from != rack {
            let text = format!(
                "is in use on {}, rack {}, and comes from a block of {owner}, rack {}: every router needs a route for it; start its pod anew, and let `calicoctl ipam configure --strictaffinity=true` keep it from happening again",
                lent.node,
                rack::shown(rack),
                rack::shown(from)
            );
            found.push(finding("CrossRackBorrowing", to, text));
        }
    }
    for (name, rack) in &racks.racks {
        let shown = rack::shown(name);
        for block in &rack.blocks {
            let text = format!(
                "is rack {shown}'s, and lies in no pool that only this rack can use: routers need a route for it"
            );
            found.push(finding("OutsideRackPools", block, text));
        }
        for exception in &rack.exceptions {
            let text = format!(
                "is rack {shown}'s, and lies in another rack's network: routers need a route for it until its pods are started anew"
            );
            found.push(finding("InAnotherRack", exception, text));
        }
        if name.is_some() && aggregation == Aggregation::Node && rack.networks().next().is_some() {
            found.extend(apart(destinations, shown, &rack.nodes, rack.networks().collect()));
        }
    }
    found
}

/// Nodes of a rack that are in different subnets: without the router's help they do not reach each other.
fn apart(destinations: &Destinations<'_>, rack: &str, nodes: &[String], networks: Vec<Cidr>) -> Vec<Finding> {
    let families: BTreeSet<Family> = networks.iter().map(Cidr::family).collect();
    let subnets = |family| -> BTreeSet<Cidr> {
        let facts = nodes.iter().filter_map(|name| destinations.snapshot.nodes.get(name));
        facts.filter_map(|node| Some(node.ends(family).address?.1)).collect()
    };
    let apart = families.into_iter().map(subnets).filter(|subnets| subnets.len() > 1);
    let told = |subnets: BTreeSet<Cidr>| {
        let subnets: Vec<String> = subnets.iter().map(Cidr::to_string).collect();
        let text = format!(
            "has nodes in the subnets {}: they do not reach each other's blocks without encapsulation; make each subnet a rack, or take --aggregation=tor",
            subnets.join(", ")
        );
        finding("RackApart", rack, text)
    };
    apart.map(told).collect()
}

/// How a table differs from the routes that are wanted. `all_ours` says that every route of the table that
/// leads into a pool counts as ours, as in a router, where an administrator writes the routes.
pub fn of_table(
    destinations: &Destinations<'_>,
    wanted: &BTreeMap<Cidr, Wanted>,
    table: &[Found],
    all_ours: bool,
) -> Vec<Finding> {
    let pools = || destinations.snapshot.pools.values().filter(|pool| pool.has_routes());
    // A route to a pod of this host, and to the host's own subnet, is not of this plan.
    let is_own = |found: &Found| found.protocol == "kernel" || found.route.target.leads_to_pod();
    let into_pool = |to: &Cidr| pools().find(|pool| pool.pool.cidr.covers(to));
    let mut findings = Vec::new();
    for (to, wanted) in wanted {
        let same = |found: &&Found| found.route.to == *to && (all_ours || found.is_ours());
        let there: Vec<&Found> = table.iter().filter(same).collect();
        if there.is_empty() {
            findings.push(finding(
                "Missing",
                to,
                format!("has no route; wanted: {} ({})", wanted.route, wanted.reason),
            ));
        } else if !there.iter().any(|found| wanted.route.is_met_by(&found.route)) {
            let text =
                format!("leads elsewhere: {}; wanted: {} ({})", there[0].route, wanted.route, wanted.reason);
            findings.push(finding("Different", to, text));
        }
    }
    for found in table.iter().filter(|found| !is_own(found)) {
        let to = &found.route.to;
        let is_wanted = wanted.contains_key(to);
        let ours = found.is_ours() || all_ours;
        match into_pool(to) {
            _ if ours && is_wanted => {}
            Some(_) if ours => findings.push(finding(
                "Unwanted",
                to,
                format!("has a route that nothing asks for: {}", found.route),
            )),
            None if found.is_ours() => findings.push(finding(
                "Unwanted",
                to,
                format!("has a route that nothing asks for: {}", found.route),
            )),
            Some(pool) => {
                let text = format!(
                    "has a route of another program (protocol {}) into IPPool({}): {}",
                    api::fault::printable(&found.protocol),
                    pool.pool.name,
                    found.route
                );
                findings.push(finding("Foreign", to, text));
            }
            None => {}
        }
    }
    findings.sort();
    findings
}

/// Whether a node's address is known: what a table of its routes is compared by.
pub fn address_of(destinations: &Destinations<'_>, node: &str, family: Family) -> Option<IpAddr> {
    Some(destinations.snapshot.nodes.get(node)?.ends(family).address?.0)
}
