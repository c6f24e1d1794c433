//! A cluster in which a node of Calico's was recorded (Calico 87c1590, with its tables at rest): what the
//! plan wants for that node is what that node had, and each node reaches every pod, whoever programs the
//! others.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::Family;
use routes::tunnel::{Address, Kind};
use routes::{Desired, Mac, Options, Target};
use serde_json::json;

use crate::world::{World, addr, lines, lookup};

/// Three nodes, of which the third is in another rack; four pools.
fn world() -> World {
    let mut world = World::new();
    for (name, address, vxlan) in [
        ("n1", "10.77.1.11/24", "10.82.8.128"),
        ("n2", "10.77.1.12/24", "10.82.9.192"),
        ("n3", "10.77.2.13/24", "10.82.2.0"),
    ] {
        let interfaces = json!([{"name": "eth0", "addresses": [address]}]);
        world.node(name, address, "", json!({"ipv4VXLANTunnelAddr": vxlan, "interfaces": interfaces}));
    }
    world.pool("cross", "10.81.0.0/20", json!({"vxlanMode": "CrossSubnet", "natOutgoing": true}));
    world.pool("always", "10.82.0.0/20", json!({"vxlanMode": "Always", "natOutgoing": true}));
    world.pool("plain", "10.83.0.0/20", json!({}));
    world.pool("disabled", "10.84.0.0/16", json!({"disabled": true}));
    world.block("10.81.8.128/26", Some("n1"), &[(0, "n1"), (22, "n2")]);
    world.block("10.81.9.192/26", Some("n2"), &[(0, "n2")]);
    world.block("10.81.2.0/26", Some("n3"), &[(0, "n3")]);
    world.block("10.82.8.128/26", Some("n1"), &[(0, "n1"), (1, "n1"), (23, "n3")]);
    world.block("10.82.9.192/26", Some("n2"), &[(0, "n2")]);
    world.block("10.82.2.0/26", Some("n3"), &[(0, "n3")]);
    world.block("10.83.2.0/26", Some("n3"), &[(0, "n3")]);
    world
}

/// The recorded table, but for the protocol numbers, the pods' own routes, and what `ip` prints of `onlink`.
const RECORDED: [&str; 7] = [
    "10.81.2.0/26 via 10.82.2.0 dev vxlan.calico mtu 1450",
    "blackhole 10.81.8.128/26",
    "10.81.8.150/32 via 10.77.1.12 dev eth0",
    "10.81.9.192/26 via 10.77.1.12 dev eth0",
    "10.82.2.0/26 via 10.82.2.0 dev vxlan.calico mtu 1450",
    "blackhole 10.82.8.128/26",
    "10.82.8.151/32 via 10.82.2.0 dev vxlan.calico mtu 1450",
];

#[test]
fn the_routes_of_a_node_are_those_that_were_recorded() {
    let desired = world().desired("n1", &Options::default());
    let mut expected: Vec<&str> = RECORDED.to_vec();
    expected.push("10.82.9.192/26 via 10.82.9.192 dev vxlan.calico mtu 1450");
    assert_eq!(lines(&desired.routes), expected);
    let tunnel = &desired.tunnels[0];
    assert_eq!((tunnel.kind, tunnel.device, tunnel.mtu), (Kind::Vxlan, "vxlan.calico", 1450));
    assert_eq!(
        (tunnel.local, tunnel.address),
        (Some(addr("10.77.1.11")), Address::Keep(addr("10.82.8.128")))
    );
    assert_eq!(tunnel.mac.unwrap().to_string(), "66:40:b3:ea:b6:3f");
    let n2 = &tunnel.peers["n2"];
    assert_eq!((n2.mac.to_string().as_str(), n2.at), ("66:40:24:34:76:fc", addr("10.77.1.12")));
    assert_eq!(n2.address, addr("10.82.9.192"));
    assert_eq!(tunnel.peers.len(), 2);
    assert_eq!((desired.pod_mtu, desired.mtus["plain"]), (1450, 1500));
}

/// The other direction: the nodes that were programmed beside the recorded one.
#[test]
fn the_other_nodes_have_what_the_recorded_node_expects() {
    let world = world();
    assert_eq!(
        lines(&world.desired("n3", &Options::default()).routes),
        [
            "blackhole 10.81.2.0/26",
            "10.81.8.128/26 via 10.82.8.128 dev vxlan.calico mtu 1450",
            "10.81.8.150/32 via 10.82.9.192 dev vxlan.calico mtu 1450",
            "10.81.9.192/26 via 10.82.9.192 dev vxlan.calico mtu 1450",
            "blackhole 10.82.2.0/26",
            "10.82.8.128/26 via 10.82.8.128 dev vxlan.calico mtu 1450",
            "10.82.9.192/26 via 10.82.9.192 dev vxlan.calico mtu 1450",
            "blackhole 10.83.2.0/26",
        ]
    );
    let n2 = lines(&world.desired("n2", &Options::default()).routes);
    assert!(
        !n2.iter().any(|line| line.contains("10.81.8.150")),
        "an address that is here needs no route: {n2:?}"
    );
    assert!(n2.contains(&"10.81.8.128/26 via 10.77.1.11 dev eth0".to_string()), "{n2:?}");
}

/// Where a packet leaves to, and what carries it.
#[derive(Debug, PartialEq, Eq)]
enum Carried {
    Plain(IpAddr),
    Vxlan { to: IpAddr, mac: Mac },
    Nowhere,
}

fn send(desired: &Desired, to: IpAddr) -> Carried {
    let Some(wanted) = lookup(&desired.routes, to) else { return Carried::Nowhere };
    let Target::Via { gateways, device } = &wanted.route.target else { return Carried::Nowhere };
    let tunnel = desired.tunnels.iter().find(|tunnel| device.as_deref() == Some(tunnel.device));
    let Some(tunnel) = tunnel else { return Carried::Plain(gateways[0]) };
    // As the kernel does it: the gateway's neighbour entry, then the forwarding entry of that address.
    let mac = tunnel.peers.values().find(|peer| peer.address == gateways[0]).unwrap().mac;
    Carried::Vxlan { to: tunnel.peers.values().find(|peer| peer.mac == mac).unwrap().at, mac }
}

/// Every packet arrives at the node that has the address, in a frame for that node's own device.
#[test]
fn every_node_reaches_every_pod_in_both_directions() {
    let world = world();
    let nodes = [("n1", "10.77.1.11"), ("n2", "10.77.1.12"), ("n3", "10.77.2.13")];
    let desired: BTreeMap<&str, Desired> =
        nodes.iter().map(|(name, _)| (*name, world.desired(name, &Options::default()))).collect();
    let pods = [
        ("10.81.8.129", "n1"),
        ("10.81.8.150", "n2"),
        ("10.81.9.200", "n2"),
        ("10.81.2.5", "n3"),
        ("10.82.8.130", "n1"),
        ("10.82.9.193", "n2"),
        ("10.82.2.9", "n3"),
        ("10.82.8.151", "n3"),
    ];
    let mut plain = 0;
    for (pod, holder) in pods {
        let (_, at) = nodes.iter().find(|(name, _)| *name == holder).unwrap();
        for (from, _) in nodes.iter().filter(|(name, _)| *name != holder) {
            match send(&desired[from], addr(pod)) {
                Carried::Plain(to) => {
                    assert_eq!(to, addr(at), "{from} to {pod}");
                    plain += 1;
                }
                Carried::Vxlan { to, mac } => {
                    assert_eq!((to, mac), (addr(at), Mac::derived(holder, Family::V4)), "{from} to {pod}");
                    assert_eq!(desired[holder].tunnels[0].mac, Some(mac), "{from} to {pod}");
                }
                Carried::Nowhere => panic!("{from} does not reach {pod}"),
            }
        }
        // On the holder's node the pod's own route counts, which is narrower than all of these.
        assert!(!desired[holder].routes.contains_key(&api::Cidr::single(addr(pod))), "{holder} has {pod}");
    }
    assert_eq!(plain, 3, "the two nodes of a subnet reach each other's CrossSubnet pods without a tunnel");
    assert_eq!(send(&desired["n1"], addr("10.83.2.1")), Carried::Nowhere, "left to the default route");
}

/// What goes away with a node's address, and comes back with it.
#[test]
fn a_node_without_an_address_is_no_peer() {
    let mut world = world();
    world.node("n3", "", "", json!({"ipv4VXLANTunnelAddr": "10.82.2.0"}));
    let desired = world.desired("n1", &Options::default());
    assert!(!lines(&desired.routes).iter().any(|line| line.contains("10.82.2.0")));
    assert!(!desired.tunnels[0].peers.contains_key("n3"));
}

/// An address that cools down has no owner any more.
#[test]
fn a_released_address_has_no_route() {
    let mut world = world();
    let block: api::BlockCidr = "10.82.10.0/30".parse().unwrap();
    let attribute =
        json!({"handle_id": "h", "secondary": {"node": "n2"}, "releasedAt": "2026-01-01T00:00:00Z"});
    world.put(
        api::Key::Block(block),
        json!({"cidr": "10.82.10.0/30", "affinity": "host:n3", "allocations": [0, null, null, null],
            "unallocated": [1, 2, 3], "attributes": [attribute], "deleted": false}),
    );
    let routes = lines(&world.desired("n1", &Options::default()).routes);
    assert!(routes.contains(&"10.82.10.0/30 via 10.82.2.0 dev vxlan.calico mtu 1450".to_string()));
    assert!(!routes.iter().any(|line| line.starts_with("10.82.10.0/32")), "{routes:?}");
}
