//! Packets through a whole cluster: nodes and the router beside them, each with the routes and tunnels that
//! the plan gives it, and nodes with a default route to the router.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::{Cidr, Family};
use proptest::prelude::*;
use routes::{Aggregation, Desired, Exported, Options, Router, Target, Wanted};
use serde_json::json;

use crate::world::{World, lookup};

/// Where each node is: its subnet and its rack. Two racks share subnet 1; node 5 is in no rack.
const NODES: [(u8, &str); 6] = [(0, "0"), (0, "0"), (1, "1"), (1, "1"), (1, "2"), (9, "")];

type DrawnBlock = (u8, u8, Vec<(u32, u8)>);

fn blocks() -> impl Strategy<Value = Vec<DrawnBlock>> {
    let held = prop::collection::vec((0..4u32, 0..6u8), 0..3);
    prop::collection::vec((0..32u8, 0..6u8, held), 0..24)
}

/// The address with these last four bytes, in one family or the other.
fn addr(family: Family, bytes: [u8; 4]) -> IpAddr {
    let [a, b, c, d] = bytes;
    match family {
        Family::V4 => IpAddr::from(bytes),
        Family::V6 => IpAddr::from([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]),
    }
}

/// The network of that many bits of an IPv4 address, in one family or the other.
fn network(family: Family, bytes: [u8; 4], bits: u8) -> String {
    format!("{}/{}", addr(family, bytes), family.bits() - 32 + bits)
}

fn at(family: Family, node: u8) -> IpAddr {
    addr(family, [10, 100, NODES[usize::from(node)].0, node + 1])
}

/// How the packets of a pool travel.
const MODES: [(&str, &str); 4] =
    [("Never", "Never"), ("Always", "Never"), ("CrossSubnet", "Never"), ("Never", "CrossSubnet")];

struct Cluster {
    family: Family,
    nodes: Vec<Desired>,
    router: BTreeMap<Cidr, Wanted>,
    /// Who has an address, or the block of a free one.
    holders: BTreeMap<IpAddr, u8>,
    held: BTreeSet<IpAddr>,
}

fn cluster(
    family: Family,
    drawn: &[DrawnBlock],
    aggregation: Aggregation,
    is_router_named: bool,
    modes: (usize, usize),
    exported: Exported,
) -> Cluster {
    let fields = |mode: usize, selector: &str| {
        let (vxlan, ipip) = MODES[mode];
        json!({"nodeSelector": selector, "blockSize": family.bits() - 2, "vxlanMode": vxlan, "ipipMode": ipip})
    };
    let mut world = World::new();
    for (node, (_, rack)) in (0..).zip(NODES) {
        let field = if family == Family::V4 { "ipv4VXLANTunnelAddr" } else { "ipv6VXLANTunnelAddr" };
        let tunnel = json!({field: addr(family, [10, 9, 0, node]).to_string()});
        world.node(&format!("n{node}"), &format!("{}/{}", at(family, node), family.bits() - 8), rack, tunnel);
    }
    for rack in 0..3u8 {
        let fields = fields(modes.0, &format!("rack == \"{rack}\""));
        world.pool(&format!("rack-{rack}"), &network(family, [10, 0, 0, rack * 32], 27), fields);
    }
    world.pool("shared", &network(family, [10, 0, 0, 96], 27), fields(modes.1, ""));
    world.pool("tunnels", &network(family, [10, 9, 0, 0], 24), json!({"vxlanMode": "Always"}));
    let (mut holders, mut held) = (BTreeMap::new(), BTreeSet::new());
    for (block, owner, lent) in drawn {
        let names: Vec<(u32, String)> = lent.iter().map(|(at, node)| (*at, format!("n{node}"))).collect();
        let names: Vec<(u32, &str)> = names.iter().map(|(at, name)| (*at, name.as_str())).collect();
        world.block(&network(family, [10, 0, 0, block * 4], 30), Some(&format!("n{owner}")), &names);
        for ordinal in 0..4 {
            let to = addr(family, [10, 0, 0, block * 4 + ordinal as u8]);
            let last = lent.iter().rev().find(|(at, _)| *at == ordinal);
            holders.insert(to, last.map_or(*owner, |(_, node)| *node));
            match last {
                Some(_) => held.insert(to),
                None => held.remove(&to),
            };
        }
    }
    let node = |node: u8| {
        let gateway = addr(family, [10, 100, NODES[usize::from(node)].0, 254]);
        let via = if is_router_named { vec![gateway] } else { Vec::new() };
        world.desired_where(
            &format!("n{node}"),
            &Options { aggregation, via, ..Options::default() },
            exported,
        )
    };
    let beside = ["0", "1", "2"].map(|rack| Some(rack.to_string())).into_iter().chain([None]).collect();
    Cluster {
        family,
        nodes: (0..6).map(node).collect(),
        router: world.router_where(&Router { beside, via: Vec::new(), aggregation, gateways: 2 }, exported),
        holders,
        held,
    }
}

/// Where a packet ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    At(u8),
    Dropped,
    Loop,
}

/// Sends a packet from a node, or from outside by way of the router. Of several gateways `choice` takes one.
fn send(cluster: &Cluster, from: Option<u8>, to: IpAddr, choice: usize) -> End {
    let mut place = from;
    for _ in 0..8 {
        let table = match place {
            Some(node) if cluster.held.contains(&to) && cluster.holders[&to] == node => return End::At(node),
            Some(node) => &cluster.nodes[usize::from(node)].routes,
            None => &cluster.router,
        };
        place = match (lookup(table, to).map(|wanted| &wanted.route.target), place) {
            (Some(Target::Via { gateways, device }), _) => {
                let gateway = gateways[choice % gateways.len()];
                let tunnel = place.zip(device.as_deref()).filter(|(_, device)| device.starts_with("vxlan"));
                let at_node = match tunnel {
                    // The other side of the tunnel.
                    Some((node, _)) => {
                        let tunnels = &cluster.nodes[usize::from(node)].tunnels;
                        let mut peers = tunnels.iter().flat_map(|tunnel| tunnel.peers.values());
                        peers.find(|peer| peer.address == gateway).unwrap().at
                    }
                    None => gateway,
                };
                (0..6).find(|node| at(cluster.family, *node) == at_node)
            }
            (Some(_), _) | (None, None) => return End::Dropped,
            // The node's default route.
            (None, Some(_)) => None,
        };
    }
    End::Loop
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every assigned address is reached from every node, and from outside where routers count its pool,
    /// by whichever gateway. A packet to any other address ends somewhere.
    #[test]
    fn every_address_is_reached_and_no_packet_goes_round(
        drawn in blocks(),
        mode in 0..3usize,
        is_router_named in any::<bool>(),
        choice in 0..2usize,
        modes in (0..MODES.len(), 0..MODES.len()),
        are_all_exported in any::<bool>(),
        is_six in any::<bool>(),
    ) {
        let family = if is_six { Family::V6 } else { Family::V4 };
        let exported = if are_all_exported { Exported::All } else { Exported::Plain };
        let aggregation = [Aggregation::Node, Aggregation::Tor, Aggregation::Off][mode];
        let cluster = cluster(family, &drawn, aggregation, is_router_named, modes, exported);
        for last in 0..=128u8 {
            let to = addr(family, [10, 0, 0, last]);
            let mode = MODES[if last < 96 { modes.0 } else { modes.1 }];
            // IPIP exists for IPv4 only.
            let is_plain = mode.0 == "Never" && (is_six || mode.1 == "Never");
            let is_seen = are_all_exported || is_plain;
            for from in (0..6).map(Some).chain(is_seen.then_some(None)) {
                let end = send(&cluster, from, to, choice);
                match cluster.held.contains(&to) {
                    true => prop_assert_eq!(end, End::At(cluster.holders[&to]), "{:?} to {}", from, to),
                    false => prop_assert_eq!(end, End::Dropped, "{:?} to {}", from, to),
                }
            }
        }
    }
}
