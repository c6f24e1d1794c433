//! Records that are odd, contradict each other, or cannot be read.

use api::{Key, Kind};
use routes::destination::Destinations;
use routes::tunnel::Address;
use routes::{
    Aggregation, Difference, Exported, Known, List, NodeError, Options, Present, Racks, Snapshot, findings,
    node,
};
use serde_json::json;

use crate::world::{World, addr, lines};

fn world() -> World {
    let mut world = World::new();
    world.node("a", "10.0.0.1/24", "", json!({"ipv4VXLANTunnelAddr": "10.1.0.0"}));
    world.node("b", "10.0.0.2/24", "", json!({"ipv4VXLANTunnelAddr": "10.1.0.64"}));
    world.node("c", "10.9.0.3/24", "", json!({"ipv4VXLANTunnelAddr": "10.1.0.128"}));
    world.pool("p", "10.1.0.0/16", json!({"vxlanMode": "CrossSubnet"}));
    world.block("10.1.0.0/26", Some("a"), &[(0, "a")]);
    world.block("10.1.0.64/26", Some("b"), &[(0, "b")]);
    world.block("10.1.0.128/26", Some("c"), &[(0, "c")]);
    world
}

/// What is there once all wanted steps were taken.
fn installed(world: &World) -> Present {
    let mut present = Present::default();
    let difference = Difference::between(&present, &world.desired("a", &Options::default()));
    difference.steps(List::Fresh).0.iter().for_each(|step| present.apply(step));
    present
}

#[test]
fn what_cannot_be_read_is_not_taken_for_absent() {
    let keys = [
        Key::Block("10.1.0.128/26".parse().unwrap()),
        Key::global(Kind::Node, "c"),
        Key::global(Kind::IPPool, "p"),
    ];
    for key in keys {
        let mut world = world();
        let present = installed(&world);
        world.snapshot.take_unreadable(&key);
        let difference = Difference::between(&present, &world.desired("a", &Options::default()));
        assert_eq!(difference.removals, [], "{key}");
        let found = findings::of_records(
            &Destinations::of(&world.snapshot),
            &world.racks(Exported::Plain),
            Aggregation::Node,
        );
        assert!(found.iter().any(|finding| finding.kind == "Unreadable"), "{key}: {found:?}");
        world.snapshot.forget(&key);
        let difference = Difference::between(&present, &world.desired("a", &Options::default()));
        assert!(!difference.removals.is_empty(), "{key} is gone");
    }
}

#[test]
fn a_node_that_is_unknown_has_no_plan() {
    let mut world = world();
    world.snapshot.take_unreadable(&Key::global(Kind::Node, "b"));
    let destinations = Destinations::of(&world.snapshot);
    let racks = Racks::of(&destinations, None, Exported::Plain);
    let plan = |name: &str| node::desired(&destinations, &racks, name, &Options::default()).map(|_| ());
    assert_eq!(plan("b"), Err(NodeError::Unreadable("b".to_string())));
    assert_eq!(plan("x"), Err(NodeError::Missing("x".to_string())));
    assert_eq!(plan("a"), Ok(()));
}

/// A packet that carries others must not be carried itself.
#[test]
fn a_nodes_own_address_is_in_no_route() {
    let mut world = world();
    world.node("d", "10.1.0.130/24", "", json!({}));
    let routes = world.desired("a", &Options::default()).routes;
    let leads = routes.keys().filter(|to| to.contains(addr("10.1.0.130"))).count();
    assert_eq!(leads, 0, "{:?}", lines(&routes));
    for other in ["10.1.0.129", "10.1.0.131", "10.1.0.191"] {
        assert_eq!(routes.keys().filter(|to| to.contains(addr(other))).count(), 1, "{other}");
    }
}

/// A block of one address: its holder counts, its owner gets no blackhole, and a tunnel address is on the
/// other side of the tunnel.
#[test]
fn blocks_of_one_address() {
    let mut world = world();
    world.pool("q", "10.2.0.0/24", json!({"vxlanMode": "Always", "blockSize": 32}));
    world.block("10.2.0.1/32", Some("a"), &[(0, "a")]);
    world.block("10.2.0.2/32", Some("b"), &[(0, "c")]);
    world.block("10.2.0.3/32", Some("b"), &[(0, "b")]);
    world.node("b", "10.0.0.2/24", "", json!({"ipv4VXLANTunnelAddr": "10.2.0.3"}));
    let routes = lines(&world.desired("a", &Options::default()).routes);
    let own: Vec<&String> = routes.iter().filter(|line| line.contains("10.2.0")).collect();
    assert_eq!(
        own,
        [
            "10.2.0.2/32 via 10.1.0.128 dev vxlan.calico mtu 1450",
            "10.2.0.3/32 dev vxlan.calico scope link mtu 1450"
        ]
    );
}

/// Where no address is borrowed, affinities alone say where blocks are.
#[test]
fn affinities_alone_make_the_same_routes() {
    let full = world();
    let mut lean = world();
    lean.snapshot = Snapshot::new(Known::ByAffinities);
    for (name, address, vxlan) in [
        ("a", "10.0.0.1/24", "10.1.0.0"),
        ("b", "10.0.0.2/24", "10.1.0.64"),
        ("c", "10.9.0.3/24", "10.1.0.128"),
    ] {
        lean.node(name, address, "", json!({"ipv4VXLANTunnelAddr": vxlan}));
    }
    lean.pool("p", "10.1.0.0/16", json!({"vxlanMode": "CrossSubnet"}));
    lean.block("10.1.0.0/26", Some("a"), &[(0, "a")]);
    lean.affinity("a", "10.1.0.0/26", "confirmed");
    lean.affinity("b", "10.1.0.64/26", "confirmed");
    lean.affinity("c", "10.1.0.128/26", "confirmed");
    lean.affinity("c", "10.1.0.192/26", "pending");
    let options = Options::default();
    assert_eq!(lean.desired("a", &options).routes, full.desired("a", &options).routes);
    // Where the blocks are read, they alone count.
    let mut full = full;
    full.affinity("c", "10.1.0.192/26", "confirmed");
    assert_eq!(lean.desired("a", &options).routes, full.desired("a", &options).routes);
}

#[test]
fn findings_name_what_is_wrong() {
    let kinds = |world: &World| -> Vec<(&'static str, String)> {
        let destinations = Destinations::of(&world.snapshot);
        let found = findings::of_records(&destinations, &world.racks(Exported::Plain), Aggregation::Node);
        found.into_iter().map(|finding| (finding.kind, finding.about)).collect()
    };
    assert_eq!(kinds(&world()), []);
    type Change = fn(&mut World);
    let rows: [(Change, &[(&str, &str)]); 9] = [
        (
            |w| w.node("b", "10.0.0.2/32", "", json!({"ipv4VXLANTunnelAddr": "10.1.0.64"})),
            &[("NoSubnet", "b")],
        ),
        (|w| w.node("b", "10.0.0.2", "", json!({"ipv4VXLANTunnelAddr": "10.1.0.64"})), &[("NoAddress", "b")]),
        (|w| w.node("b", "10.0.0.2/24", "", json!({})), &[("NoTunnelAddress", "b")]),
        (
            |w| w.node("b", "10.0.0.1/24", "", json!({"ipv4VXLANTunnelAddr": "10.1.0.128"})),
            &[("Duplicate", "10.0.0.1"), ("Duplicate", "10.1.0.128")],
        ),
        (
            |w| w.node("b", "10.1.0.65/24", "", json!({"ipv4VXLANTunnelAddr": "10.1.0.64"})),
            &[("NodeInPool", "b")],
        ),
        (|w| w.block("10.7.0.0/26", Some("b"), &[]), &[("NoPool", "10.7.0.0/26")]),
        (|w| w.block("10.1.7.0/26", Some("gone"), &[]), &[("NoNode", "10.1.7.0/26")]),
        (|w| w.affinity("a", "10.1.0.64/26", "confirmed"), &[("Affinity", "10.1.0.64/26")]),
        (|w| w.affinity("a", "10.1.7.0/26", "confirmed"), &[("Affinity", "10.1.7.0/26")]),
    ];
    for (change, expected) in rows {
        let mut world = world();
        change(&mut world);
        let found = kinds(&world);
        let found: Vec<(&str, &str)> = found.iter().map(|(kind, about)| (*kind, about.as_str())).collect();
        assert_eq!(found, expected);
    }
}

/// IPv6 alone, both families, and IPIP.
#[test]
fn every_family_and_every_encapsulation() {
    let mut world = World::new();
    let fields = |v4: &str, v6: &str, ipip: &str| json!({"ipv6Address": v6, "ipv6VXLANTunnelAddr": v4, "ipv4IPIPTunnelAddr": ipip});
    world.node("a", "10.0.0.1/24", "", fields("fd01::", "fd00::1/64", "10.3.0.0"));
    world.node("b", "10.0.1.2/24", "", fields("fd01::40", "fd00:0:0:1::2/64", "10.3.0.64"));
    world.node("six", "fd00::6/64", "", json!({"ipv6VXLANTunnelAddr": "fd01::80"}));
    world.pool("v6", "fd01::/112", json!({"vxlanMode": "CrossSubnet"}));
    world.pool("plain6", "fd02::/112", json!({"ipipMode": "Always"}));
    world.pool("ipip", "10.3.0.0/16", json!({"ipipMode": "CrossSubnet"}));
    for (block, owner) in [
        ("fd01::/122", "a"),
        ("fd01::40/122", "b"),
        ("fd01::80/122", "six"),
        ("fd02::80/122", "six"),
        ("10.3.0.64/26", "b"),
    ] {
        world.block(block, Some(owner), &[]);
    }
    let a =
        world.desired("a", &Options { uplink: Some("eth0".to_string()), mtu: 9000, ..Options::default() });
    assert_eq!(
        lines(&a.routes),
        [
            "10.3.0.64/26 via 10.0.1.2 dev tunl0 mtu 8980",
            "blackhole fd01::/122",
            "fd01::40/122 via fd01::40 dev vxlan-v6.calico mtu 8930",
            "fd01::80/122 via fd00::6 dev eth0",
            "fd02::80/122 via fd00::6 dev eth0",
        ]
    );
    assert_eq!((a.mtus["v6"], a.mtus["plain6"], a.mtus["ipip"], a.pod_mtu), (8930, 9000, 8980, 8930));
    let six = world.desired("six", &Options::default());
    assert_eq!(lines(&six.routes).len(), 4, "an IPv6 node has no IPv4 routes: {:?}", lines(&six.routes));
}

/// Which pool a block counts for, and what its routes are then.
#[test]
fn pools_decide_about_routes() {
    let mut world = world();
    world.pool("services", "10.4.0.0/24", json!({"allowedUses": ["LoadBalancer"]}));
    world.pool("closed", "10.5.0.0/24", json!({"disabled": true, "vxlanMode": "Always"}));
    world.pool("outer", "10.6.0.0/16", json!({"vxlanMode": "CrossSubnet"}));
    world.pool("inner", "10.6.1.0/24", json!({"vxlanMode": "Always"}));
    world.pool("always", "10.7.0.0/16", json!({"vxlanMode": "Always"}));
    for block in ["10.4.0.0/26", "10.5.0.0/26", "10.6.0.0/26", "10.6.1.0/26"] {
        world.block(block, Some("b"), &[]);
    }
    // The address of c's tunnel is borrowed from b.
    world.block("10.7.0.0/26", Some("b"), &[(5, "c")]);
    world.node("c", "10.9.0.3/24", "", json!({"ipv4VXLANTunnelAddr": "10.7.0.5"}));
    let routes = lines(&world.desired("a", &Options::default()).routes);
    let others: Vec<&String> =
        routes.iter().filter(|line| !line.contains("10.1.0.") || line.contains(" via 10.1.0.64 ")).collect();
    assert_eq!(
        others,
        [
            "10.5.0.0/26 via 10.1.0.64 dev vxlan.calico mtu 1450",
            "10.6.0.0/26 via 10.0.0.2",
            "10.6.1.0/26 via 10.0.0.2",
            "10.7.0.0/26 via 10.1.0.64 dev vxlan.calico mtu 1450",
            "10.7.0.5/32 dev vxlan.calico scope link mtu 1450",
        ],
        "{routes:?}"
    );
}

/// What becomes of a tunnel's address: kept inside of a pool that gives the node one, replaced outside of it,
/// and given up where no pool gives one.
#[test]
fn addresses_of_tunnels() {
    let address = |fields: serde_json::Value, vxlan: &str| {
        let mut world = world();
        world.node("a", "10.0.0.1/24", "0", json!({"ipv4VXLANTunnelAddr": vxlan}));
        world.pool("p", "10.1.0.0/16", fields);
        let tunnel = world.desired("a", &Options::default()).tunnels.remove(0);
        (tunnel.address, tunnel.is_complete(), tunnel.pools.len())
    };
    let (inside, outside) = (addr("10.1.0.0"), addr("10.3.0.0"));
    for (fields, vxlan, expected) in [
        (json!({"vxlanMode": "Always"}), "10.1.0.0", (Address::Keep(inside), true, 1)),
        (json!({"vxlanMode": "Always"}), "", (Address::Take(None), false, 1)),
        (json!({"vxlanMode": "Always"}), "10.3.0.0", (Address::Take(Some(outside)), true, 1)),
        (
            json!({"vxlanMode": "Always", "nodeSelector": "rack == '0'"}),
            "10.1.0.0",
            (Address::Keep(inside), true, 1),
        ),
        (
            json!({"vxlanMode": "Always", "nodeSelector": "rack == '1'"}),
            "10.1.0.0",
            (Address::GiveUp(Some(inside)), true, 0),
        ),
        (json!({"vxlanMode": "Always", "disabled": true}), "", (Address::GiveUp(None), false, 0)),
        (json!({"vxlanMode": "Always", "allowedUses": ["Workload"]}), "", (Address::GiveUp(None), false, 0)),
    ] {
        assert_eq!(address(fields.clone(), vxlan), expected, "{fields} {vxlan:?}");
    }
}
