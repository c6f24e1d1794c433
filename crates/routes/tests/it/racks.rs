//! One route for a rack: eight nodes in four racks, two blocks each, as a router and a node see them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::Cidr;
use proptest::prelude::*;
use routes::destination::Destinations;
use routes::{Aggregation, Exported, Options, Racks, Router, Target, budget, findings, rack};
use serde_json::json;

use crate::world::{World, addr, cidr, lines, lookup};

fn world() -> World {
    let mut world = World::new();
    for rack in 0..4 {
        world.pool(
            &format!("rack-{rack}"),
            &format!("10.{rack}.0.0/16"),
            json!({"nodeSelector": format!("rack == \"{rack}\"")}),
        );
        for node in 0..2 {
            let name = format!("n{}", rack * 2 + node);
            world.node(&name, &format!("10.100.{rack}.{}/24", node + 1), &rack.to_string(), json!({}));
            for block in 0..2 {
                // One address of the first block of rack 0 is on the other node of the rack.
                let held: &[(u32, &str)] = if (rack, node, block) == (0, 0, 0) { &[(9, "n1")] } else { &[] };
                world.block(&format!("10.{rack}.{}.0/26", node * 2 + block), Some(&name), held);
            }
        }
    }
    world
}

fn router(racks: &[&str], aggregation: Aggregation, via: &[&str]) -> Router {
    let beside = racks.iter().map(|rack| Some(rack.to_string())).collect();
    Router { beside, via: via.iter().map(|text| addr(text)).collect(), aggregation, gateways: 2 }
}

#[test]
fn a_router_beside_all_racks_has_one_route_a_rack() {
    let routes = world().router(&router(&["0", "1", "2", "3"], Aggregation::Node, &[]));
    assert_eq!(
        lines(&routes),
        [
            "10.0.0.0/16 nexthop via 10.100.0.1 nexthop via 10.100.0.2",
            "10.1.0.0/16 nexthop via 10.100.1.1 nexthop via 10.100.1.2",
            "10.2.0.0/16 nexthop via 10.100.2.1 nexthop via 10.100.2.2",
            "10.3.0.0/16 nexthop via 10.100.3.1 nexthop via 10.100.3.2",
        ]
    );
}

/// How many routes lead somewhere.
fn forwarding(routes: &BTreeMap<Cidr, routes::Wanted>) -> usize {
    routes.values().filter(|wanted| wanted.route.target.forwards()).count()
}

#[test]
fn counts_are_those_of_the_design() {
    let world = world();
    for (aggregation, tor, core) in
        [(Aggregation::Node, 4, 4), (Aggregation::Tor, 8, 4), (Aggregation::Off, 17, 17)]
    {
        let routes = world.router(&router(&["0"], aggregation, &["10.200.0.1"]));
        assert_eq!(forwarding(&routes), tor, "{aggregation:?}: {:?}", lines(&routes));
        let routes = world.router(&router(&[], aggregation, &["10.200.0.1"]));
        assert_eq!(forwarding(&routes), core, "{aggregation:?}");
        let budgets =
            budget::of(&Destinations::of(&world.snapshot), &world.racks(Exported::Plain), aggregation);
        assert_eq!((budgets[0].total(), budgets[0].calico), (tor, 17), "{aggregation:?}");
        assert_eq!((budgets[4].total(), &budgets[4].rack), (core, &None), "{aggregation:?}");
    }
    let node = |name: &str, via: &[&str]| {
        let options = Options { via: via.iter().map(|text| addr(text)).collect(), ..Options::default() };
        world.desired(name, &options).routes
    };
    for (name, with_router, alone) in [("n0", 6, 3), ("n1", 5, 2), ("n2", 5, 2)] {
        assert_eq!(forwarding(&node(name, &["10.100.0.254"])), with_router, "{name}");
        assert_eq!(forwarding(&node(name, &[])), alone, "{name}");
    }
}

/// What the router sends to a rack's node must not come back to the router.
#[test]
fn what_no_block_holds_ends_at_the_rack() {
    let world = world();
    let options = Options { via: vec![addr("10.100.0.254")], ..Options::default() };
    let routes = world.desired("n0", &options).routes;
    assert_eq!(lookup(&routes, addr("10.0.99.1")).unwrap().route.target, Target::Unreachable);
    assert_eq!(lookup(&routes, addr("10.0.2.1")).unwrap().route.to_string(), "10.0.2.0/26 via 10.100.0.2");
    assert_eq!(lookup(&routes, addr("10.3.99.1")).unwrap().route.to_string(), "10.3.0.0/16 via 10.100.0.254");
    let tor = Options { aggregation: Aggregation::Tor, ..options };
    assert!(lookup(&world.desired("n0", &tor).routes, addr("10.0.99.1")).is_none(), "the router ends it");
}

#[test]
fn what_is_not_the_racks_own_has_a_route_of_its_own() {
    let mut world = world();
    world.pool("shared", "10.50.0.0/16", json!({}));
    world.block("10.50.0.0/26", Some("n0"), &[]);
    world.block("10.50.0.64/26", Some("n1"), &[(3, "n7")]);
    world.block("10.50.0.128/26", Some("n2"), &[]);
    // The node had another label when it claimed the block.
    world.block("10.3.77.0/26", Some("n0"), &[]);
    let racks = world.racks(Exported::Plain);
    let rack = |name: &str| &racks.racks[&Some(name.to_string())];
    assert_eq!(
        (&rack("0").pools, &rack("0").blocks),
        (&vec![cidr("10.0.0.0/16")], &vec![cidr("10.50.0.0/25")])
    );
    assert_eq!(rack("0").exceptions, [cidr("10.3.77.0/26")]);
    assert_eq!(rack("3").exceptions, [cidr("10.50.0.67/32")]);
    let found = findings::of_records(&Destinations::of(&world.snapshot), &racks, Aggregation::Node);
    let found: Vec<(&str, &str)> =
        found.iter().map(|finding| (finding.kind, finding.about.as_str())).collect();
    assert_eq!(
        found,
        [
            ("CrossRackBorrowing", "10.50.0.67/32"),
            ("InAnotherRack", "10.3.77.0/26"),
            ("InAnotherRack", "10.50.0.67/32"),
            ("OutsideRackPools", "10.50.0.0/25"),
            ("OutsideRackPools", "10.50.0.128/26"),
        ]
    );
}

#[test]
fn the_label_is_found_in_the_pools() {
    assert_eq!(rack::label(&world().snapshot), Ok(Some("rack".to_string())));
    let mut world = World::new();
    assert_eq!(rack::label(&world.snapshot), Ok(None));
    world.pool("p", "10.1.0.0/16", json!({"nodeSelector": "rack == \"0\" && zone == \"a\""}));
    assert!(rack::label(&world.snapshot).unwrap_err().to_string().contains("rack, zone"));
    world.pool("q", "10.2.0.0/16", json!({"nodeSelector": "zone == \"b\" && rack in {\"1\", \"2\"}"}));
    assert_eq!(rack::label(&world.snapshot), Ok(Some("zone".to_string())));
}

/// Pools that encapsulate, and pools that hide, are nothing to a router, unless it is asked for.
#[test]
fn only_pools_that_routers_see_count() {
    let mut world = world();
    world.pool("rack-1", "10.1.0.0/16", json!({"nodeSelector": "rack == \"1\"", "vxlanMode": "Always"}));
    world.pool("rack-2", "10.2.0.0/16", json!({"nodeSelector": "rack == \"2\"", "disableBGPExport": true}));
    let networks = |exported| -> Vec<Cidr> {
        let racks = world.racks(exported);
        racks.racks.values().flat_map(|rack| rack.networks().collect::<Vec<_>>()).collect()
    };
    assert_eq!(networks(Exported::Plain), [cidr("10.0.0.0/16"), cidr("10.3.0.0/16")]);
    assert_eq!(networks(Exported::All), [cidr("10.0.0.0/16"), cidr("10.1.0.0/16"), cidr("10.3.0.0/16")]);
}

/// A cluster by chance: blocks of rack pools and of a shared pool, on any node, with borrowed addresses.
#[derive(Clone, Debug)]
struct Drawn {
    blocks: Vec<DrawnBlock>,
}

/// The block's number, its owner, and who has which of its addresses.
type DrawnBlock = (u8, u8, Vec<(u32, u8)>);

fn drawn() -> impl Strategy<Value = Drawn> {
    let held = prop::collection::vec((0..4u32, 0..6u8), 0..3);
    prop::collection::vec((0..32u8, 0..7u8, held), 0..24).prop_map(|blocks| Drawn { blocks })
}

/// Node 6 does not exist; node 5 is in no rack.
fn build(drawn: &Drawn) -> (World, BTreeMap<IpAddr, u8>) {
    let mut world = World::new();
    for node in 0..6 {
        let rack = if node == 5 { String::new() } else { (node / 2).to_string() };
        world.node(&format!("n{node}"), &format!("10.100.{}.{}/24", node / 2, node + 1), &rack, json!({}));
    }
    for rack in 0..3 {
        let selector = json!({"nodeSelector": format!("rack == \"{rack}\""), "blockSize": 30});
        world.pool(&format!("rack-{rack}"), &format!("10.0.0.{}/27", rack * 32), selector);
    }
    world.pool("shared", "10.0.0.96/27", json!({"blockSize": 30}));
    let mut holders = BTreeMap::new();
    for (block, owner, held) in &drawn.blocks {
        let names: Vec<(u32, String)> = held.iter().map(|(at, node)| (*at, format!("n{node}"))).collect();
        let names: Vec<(u32, &str)> = names.iter().map(|(at, name)| (*at, name.as_str())).collect();
        world.block(&format!("10.0.0.{}/30", block * 4), Some(&format!("n{owner}")), &names);
        for ordinal in 0..4 {
            let last = held.iter().rev().find(|(at, _)| *at == ordinal);
            let holder = last.map_or(*owner, |(_, node)| *node);
            holders.insert(IpAddr::from([10, 0, 0, block * 4 + ordinal as u8]), holder);
        }
    }
    (world, holders)
}

/// The rack that the narrowest network of any rack leads to.
fn leads_to(racks: &Racks, to: IpAddr) -> Option<&rack::RackName> {
    let all = racks.racks.iter().flat_map(|(name, rack)| rack.networks().map(move |network| (name, network)));
    let around = all.filter(|(_, network)| network.contains(to));
    around.max_by_key(|(_, network)| network.prefix()).map(|(name, _)| name)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// The networks of all racks lead each address to the rack of the node that has it, and no two racks have
    /// one network.
    #[test]
    fn racks_lead_every_address_to_its_node(drawn in drawn()) {
        let (world, holders) = build(&drawn);
        let racks = world.racks(Exported::Plain);
        let mut all: Vec<Cidr> = racks.racks.values().flat_map(|rack| rack.networks().collect::<Vec<_>>()).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        prop_assert_eq!(all.len(), count);
        for last in 0..128u8 {
            let to = IpAddr::from([10, 0, 0, last]);
            let pool = (last < 96).then(|| Some((last / 32).to_string()));
            let expected = match holders.get(&to) {
                // A node that does not exist has nothing: what is left is the pool.
                Some(6) | None => pool,
                Some(5) => Some(None),
                Some(node) => Some(Some((node / 2).to_string())),
            };
            prop_assert_eq!(leads_to(&racks, to), expected.as_ref(), "{}", to);
        }
    }

    /// A router beside all racks sends each address to a node of the rack of its holder, or, of a node
    /// without a rack, to that node itself.
    #[test]
    fn a_router_sends_every_address_to_its_rack(drawn in drawn(), tor in any::<bool>()) {
        let (world, holders) = build(&drawn);
        let aggregation = if tor { Aggregation::Tor } else { Aggregation::Node };
        let beside = BTreeSet::from([None, Some("0".to_string()), Some("1".to_string()), Some("2".to_string())]);
        let routes = world.router(&Router { beside, via: Vec::new(), aggregation, gateways: 2 });
        for (to, node) in holders.iter().filter(|(_, node)| **node < 6) {
            let found = lookup(&routes, *to).map(|wanted| &wanted.route.target);
            let Some(Target::Via { gateways, .. }) = found else { panic!("{to}: {found:?}") };
            let allowed: Vec<IpAddr> = match (tor, node) {
                (true, node) | (_, node @ 5) => vec![IpAddr::from([10, 100, node / 2, node + 1])],
                // Node 4 is alone in its rack: node 5 has no rack.
                (_, 4) => vec![IpAddr::from([10, 100, 2, 5])],
                (_, node) => [0, 1].map(|at| IpAddr::from([10, 100, node / 2, node / 2 * 2 + at + 1])).to_vec(),
            };
            prop_assert_eq!(gateways, &allowed, "{}", to);
        }
    }
}
