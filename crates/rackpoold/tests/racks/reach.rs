//! Every pod reaches every other one, and the router has one route a rack.

use serde_json::json;

use crate::pod::{Pod, assert_all_reach_all, not_reached};
use crate::world::{Families, OUTSIDE, Shape, World, eventually};

const RACKS: [usize; 4] = [2, 2, 2, 2];

/// In each mode of encapsulation, one after the other on one cluster: the agents change what is there when
/// the pools change.
fn every_pod_reaches_every_other(families: Families) {
    let shape = Shape { racks: &RACKS, families, ..Shape::default() };
    let Some((world, pods)) = World::with_agents(shape, &[]) else { return };
    assert_all_reach_all(&world, &pods);
    for mode in ["CrossSubnet", "Never", "Always"] {
        world.patch_pools(&json!({"vxlanMode": mode, "natOutgoing": mode != "Never"}));
        if mode == "Never" {
            let routes = world.configure_router();
            assert_eq!(routes.len(), world.pools().len(), "{routes:?}");
            assert!(routes.iter().all(|route| route.matches(" via ").count() == 2), "{routes:?}");
        }
        world.wait_until_settled();
        assert_all_reach_all(&world, &pods);
    }
}

#[test]
fn every_pod_reaches_every_other_by_v4() {
    every_pod_reaches_every_other(Families::V4);
}

#[test]
fn every_pod_reaches_every_other_by_v6() {
    every_pod_reaches_every_other(Families::V6);
}

#[test]
fn every_pod_reaches_every_other_by_both() {
    every_pod_reaches_every_other(Families::Both);
}

/// The router sends what is for a rack to two of its nodes. One of them dies, and the router is told: all
/// other pods are reached, those too on a node to which the router has no route.
#[test]
fn a_gateway_dies() {
    let racks = &[3, 2];
    let shape = Shape { racks, vxlan: "Never", is_translated: false, ..Shape::default() };
    let Some((world, mut pods)) = World::with_agents(shape, &[]) else { return };
    let routes = world.configure_router();
    assert_eq!(routes.len(), 4, "one for each rack and family: {routes:?}");
    assert_all_reach_all(&world, &pods);

    let dead = &world.nodes[0];
    assert!(routes.iter().any(|route| route.contains(&dead.v4)), "{routes:?}");
    world.router.sh("ip link set to-0-0 down");
    for route in routes {
        let gone = [format!(" nexthop via {}", dead.v4), format!(" nexthop via {}", dead.v6)];
        let without = gone.iter().fold(route.clone(), |route, hop| route.replace(hop, ""));
        if without != route {
            world.router.sh(&without.replace("nexthop via", "via"));
        }
    }
    pods.remove(0);
    assert_all_reach_all(&world, &pods);
    let all: Vec<String> = pods.iter().flat_map(|pod| &pod.addresses).map(ToString::to_string).collect();
    assert_eq!(not_reached(&world.outside, &all), [""; 0], "{}", world.logs());
    for pod in &pods {
        assert_eq!(not_reached(&pod.inside, &OUTSIDE.map(String::from)), [""; 0], "{}", pod.name);
    }
}

/// Other nodes learn of it from the Node, and send there.
#[test]
fn a_node_gets_another_address() {
    for vxlan in ["Always", "CrossSubnet", "Never"] {
        let Some((world, pods)) = World::with_agents(Shape { vxlan, ..Shape::default() }, &[]) else {
            return;
        };
        world.nodes[1].host.sh("ip addr del 10.70.0.11/24 dev eth0; ip addr add 10.70.0.51/24 dev eth0
             ip route add default via 10.70.0.1
             ip addr del 2001:db8:70::11/64 dev eth0; ip addr add 2001:db8:70::51/64 dev eth0");
        for address in ["10.70.0.51/24", "2001:db8:70::51/64"] {
            eventually("the Node names its new address", || {
                world.calicoctl(&["get", "node", &world.nodes[1].name, "-o", "yaml"], None).contains(address)
            });
        }
        if vxlan == "Never" {
            world.configure_router();
        }
        world.wait_until_settled();
        assert_all_reach_all(&world, &pods);
    }
}

/// A router that knows every block needs nothing of a rack's nodes but their own blocks.
#[test]
fn the_router_may_know_every_block() {
    for who in ["tor", "off"] {
        let shape = Shape { vxlan: "Never", is_translated: false, ..Shape::default() };
        let arguments = ["--aggregation", who];
        let Some((world, pods)) = World::with_agents(shape, &arguments) else { return };
        let routes = world.configure_router_by(who);
        let blocks = routes.iter().filter(|route| !route.contains("unreachable")).count();
        assert_eq!(blocks, 8, "a block of each node in each family: {routes:?}");
        assert_all_reach_all(&world, &pods);
        let all: Vec<String> = pods.iter().flat_map(|pod| &pod.addresses).map(ToString::to_string).collect();
        assert_eq!(not_reached(&world.outside, &all), [""; 0], "{}", world.logs());
    }
}

/// A pool of a single block: the second node of the rack has an address of the first one's block. Its pod is
/// reached wherever the packets come from, and whichever node of the rack gets them from the router.
#[test]
fn a_borrowed_address_is_reached() {
    let shape = Shape { racks: &[3, 1], families: Families::V4, vxlan: "Never", ..Shape::default() };
    let Some((world, mut pods)) = World::with_agents(Shape { is_translated: false, ..shape }, &[]) else {
        return;
    };
    world.create(&json!({
        "apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "small"},
        "spec": {"cidr": "10.60.0.0/26", "nodeSelector": "rack == \"0\"", "natOutgoing": false}
    }));
    let ipam = json!({"ipam": {"type": "calico-ipam", "ipv4_pools": ["small"]}});
    for (node, name) in [(0, "lender"), (1, "borrower")] {
        pods.push(Pod::try_attach(&world, node, name, &ipam).unwrap());
    }
    let borrowed = pods.last().unwrap().address(true);
    assert!(borrowed.starts_with("10.60.0."), "{borrowed}");
    let routes = world.configure_router();
    assert_eq!(routes.len(), 3, "rack 0 has two pools now: {routes:?}");
    world.wait_until_settled();
    assert!(world.nodes[2].host.sh("ip route show proto 81").contains(&format!("{borrowed} via")));
    assert_all_reach_all(&world, &pods);
    assert_eq!(not_reached(&world.outside, std::slice::from_ref(&borrowed)), [""; 0], "{}", world.logs());

    // Affinity becomes strict, and the agents are told at once. Of blocks each knows its own now, so the
    // address is reached by way of the lender.
    world.calicoctl(&["ipam", "configure", "--strictaffinity=true"], None);
    let has_route = |node: usize| {
        world.nodes[node].host.sh("ip route show proto 81").contains(&format!("{borrowed} via"))
    };
    eventually("other nodes have no route for the address", || !has_route(2));
    world.wait_until_settled();
    assert!(has_route(0), "{}", world.logs());
    assert_all_reach_all(&world, &pods);
}

/// An address comes back to the node that lent it, before that node's agent has read so: its route to the
/// borrower gives way to the pod's, and the agent leaves it so.
#[test]
fn a_borrowed_address_comes_home() {
    let shape = Shape { racks: &[2], families: Families::V4, ..Shape::default() };
    let Some((world, _pods)) = World::with_agents(shape, &[]) else { return };
    world.create(&json!({
        "apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "small"},
        "spec": {"cidr": "10.60.0.0/30", "blockSize": 30, "vxlanMode": "Always", "natOutgoing": false,
                 "nodeSelector": "rack == \"0\""}
    }));
    let ipam = json!({"ipam": {"type": "calico-ipam", "ipv4_pools": ["small"]}});
    let attach = |node, name: &str| Pod::try_attach(&world, node, name, &ipam).unwrap();
    let mut kept: Vec<Pod> = (0..3).map(|n| attach(0, &format!("lender-{n}"))).collect();
    let borrower = attach(1, "borrower");
    let address = borrower.address(true);
    let lender = &world.nodes[0];
    let route = || lender.host.sh(&format!("ip route show {address}"));
    eventually("the lender has a route to the borrower", || route().contains("proto 81"));
    lender.agent.as_ref().unwrap().paused(|| {
        borrower.delete(&world);
        kept.push(attach(0, "home"));
        assert_eq!(kept[3].address(true), address, "the pool has no other address left");
        assert!(route().contains("dev cali") && !route().contains("proto 81"), "{}", route());
        assert_eq!(not_reached(&kept[0].inside, std::slice::from_ref(&address)), [""; 0]);
    });
    world.wait_until_settled();
    assert!(route().contains("dev cali") && !route().contains("proto 81"), "{}\n{}", route(), world.logs());
    assert_all_reach_all(&world, &kept);
}
