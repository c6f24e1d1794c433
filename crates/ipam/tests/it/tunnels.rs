//! The addresses of nodes' tunnels.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::{Key, Use};
use ipam::{AssignIp, AutoAssign, FindTunnel, Tunnel, TunnelError, assign_tunnel};
use serde_json::json;
use store::Store;
use store::testing::{CommitFault, Counting, FaultPlan, Faulty, Step};

use crate::world::*;

fn of(tunnel: Tunnel, recorded: Option<IpAddr>) -> FindTunnel {
    FindTunnel { node: "a".to_string(), tunnel, recorded }
}

fn ask(store: &impl Store, world: &World, request: FindTunnel) -> Result<Option<IpAddr>, TunnelError> {
    block_on(assign_tunnel(store, &world.clock, request, WITHIN))
}

fn give(world: &World, request: FindTunnel) -> Option<IpAddr> {
    let answer = ask(&world.store, world, request).unwrap();
    world.check_at_rest();
    answer
}

/// Pools of all encapsulations.
fn world() -> World {
    let world = World::new();
    ["a", "b"].iter().for_each(|name| world.node(name, &[]));
    for (name, cidr, field) in [
        ("ipip", "10.0.0.0/28", "ipipMode"),
        ("vxlan", "10.1.0.0/28", "vxlanMode"),
        ("vxlan-v6", "fd00:1::/124", "vxlanMode"),
    ] {
        let size = if cidr.starts_with("fd") { 126 } else { 30 };
        world.pool_with(name, json!({"cidr": cidr, "blockSize": size, field: "CrossSubnet"}));
    }
    world
}

/// The second pool for IP in IP.
fn second(world: &World) {
    world.pool_with("second", json!({"cidr": "10.2.0.0/28", "blockSize": 30, "ipipMode": "Always"}));
}

fn held(world: &World, tunnel: Tunnel) -> Vec<IpAddr> {
    let id = tunnel.handle("a").unwrap();
    world.assigned().into_iter().filter(|(_, held)| held == id.as_str()).map(|(addr, _)| addr).collect()
}

#[test]
fn a_node_gets_an_address_for_each_tunnel_and_keeps_it() {
    let world = world();
    let rows = [
        (Tunnel::Wireguard, "wireguard-tunnel-addr-a", "wireguardTunnelAddress", "10.0.0.0/15"),
        (Tunnel::WireguardV6, "wireguard-v6-tunnel-addr-a", "wireguardV6TunnelAddress", "fd00:1::/124"),
        (Tunnel::Ipip, "ipip-tunnel-addr-a", "ipipTunnelAddress", "10.0.0.0/28"),
        (Tunnel::Vxlan, "vxlan-tunnel-addr-a", "vxlanTunnelAddress", "10.1.0.0/28"),
        (Tunnel::VxlanV6, "vxlan-v6-tunnel-addr-a", "vxlanV6TunnelAddress", "fd00:1::/124"),
    ];
    assert_eq!(rows.map(|(tunnel, ..)| tunnel), Tunnel::ALL);
    for (tunnel, id, kind, pool) in rows {
        let addr = give(&world, of(tunnel, None)).unwrap();
        assert!(cidr(pool).contains(addr), "{tunnel:?} {addr}");
        assert_eq!(world.assigned()[&addr], id);
        let block = world.blocks().into_iter().find(|block| block.cidr.cidr().contains(addr)).unwrap();
        let attribute = block.attribute(block.cidr.ordinal(addr).unwrap()).unwrap();
        let owner = [("node", "a"), ("type", kind)].map(|(k, v)| (k.to_string(), v.to_string()));
        assert_eq!((&attribute.owner, block.owner()), (&owner.into(), Some(host("a"))));
        // The Node's field may be lost, or name what is another's.
        for recorded in [Some(addr), None, Some(ip("10.9.9.9"))] {
            let counting = Counting::new(world.store.clone());
            assert_eq!(ask(&counting, &world, of(tunnel, recorded)).unwrap(), Some(addr));
            let counts = counting.counts();
            assert_eq!((counts.reads, counts.commits), (2, 0), "{tunnel:?}");
        }
    }
}

#[test]
fn an_address_that_no_longer_fits_is_replaced() {
    type Change = (&'static str, serde_json::Value);
    let changes: [Change; 5] = [
        ("another use", json!({"ipipMode": "Always", "allowedUses": ["Workload"]})),
        ("another encapsulation", json!({"vxlanMode": "Always"})),
        ("no encapsulation", json!({"ipipMode": "Never"})),
        ("other nodes", json!({"ipipMode": "Always", "nodeSelector": "has(no)"})),
        ("disabled", json!({"ipipMode": "Always", "disabled": true})),
    ];
    for (what, mut spec) in changes {
        let world = world();
        let old = give(&world, of(Tunnel::Ipip, None)).unwrap();
        spec["cidr"] = json!("10.0.0.0/28");
        spec["blockSize"] = json!(30);
        world.pool_with("ipip", spec);
        second(&world);
        let addr = give(&world, of(Tunnel::Ipip, Some(old))).unwrap();
        assert!(cidr("10.2.0.0/28").contains(addr), "{what}: {addr}");
        assert_eq!(held(&world, Tunnel::Ipip), [addr], "{what}");
        // No pool is left.
        world.pool_with("second", json!({"cidr": "10.2.0.0/28", "blockSize": 30}));
        assert_eq!(give(&world, of(Tunnel::Ipip, Some(addr))), None, "{what}");
        assert_eq!((world.assigned().len(), world.handles()), (0, 0), "{what}");
    }
}

/// Damage, and a condition that forbids new addresses only, take no address away.
#[test]
fn an_address_stays_where_nobody_can_tell() {
    let spec = |field: &str, value: serde_json::Value| {
        let mut spec = json!({"cidr": "10.0.0.0/28", "blockSize": 30, "ipipMode": "Always"});
        spec[field] = value;
        spec
    };
    let damages = [spec("nodeSelector", json!("a ==")), spec("cidr", json!("no network"))];
    for damage in damages {
        let world = world();
        let addr = give(&world, of(Tunnel::Ipip, None)).unwrap();
        second(&world);
        world.pool_with("ipip", damage);
        assert_eq!(ask(&world.store, &world, of(Tunnel::Ipip, Some(addr))).unwrap(), Some(addr));
    }
}

#[test]
fn what_the_handle_holds_besides_is_released() {
    let world = world();
    second(&world);
    let named = |addr: &str, kind: &str| AssignIp {
        addr: ip(addr),
        host: "a".to_string(),
        intended_use: Some(Use::Tunnel),
        handle: Tunnel::Ipip.handle("a"),
        attributes: [("node", "a"), ("type", kind)].map(|(k, v)| (k.to_string(), v.to_string())).into(),
        max_per_handle: None,
    };
    for (addr, kind) in [
        ("10.0.0.1", "vxlanTunnelAddress"),
        ("10.0.0.2", "ipipTunnelAddress"),
        ("10.1.0.1", "ipipTunnelAddress"),
        ("10.2.0.1", "ipipTunnelAddress"),
    ] {
        world.assign(named(addr, kind)).unwrap();
    }
    world.add("a", "pod");
    assert_eq!(give(&world, of(Tunnel::Ipip, Some(ip("10.2.0.1")))), Some(ip("10.2.0.1")));
    assert_eq!((held(&world, Tunnel::Ipip), world.assigned().len()), (vec![ip("10.2.0.1")], 2));
}

#[test]
fn the_address_of_a_tunnel_is_never_borrowed() {
    let world = World::new();
    ["a", "b"].iter().for_each(|name| world.node(name, &[]));
    world.pool_with("ipip", json!({"cidr": "10.0.0.0/30", "blockSize": 30, "ipipMode": "Always"}));
    world.add("b", "pod");
    let refused = ask(&world.store, &world, of(Tunnel::Ipip, None)).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Assigned 0 out of 1 requested IPv4 addresses; No more free affine blocks, and no Tunnel address is borrowed"
    );
    let free = if world.assigned().contains_key(&ip("10.0.0.1")) { "10.0.0.2" } else { "10.0.0.1" };
    let named = AssignIp { intended_use: Some(Use::Tunnel), ..request_ip("a", "t", free) };
    assert_eq!(world.assign(named), Err("Block host affinity does not match".to_string()));
    assert_eq!((world.assigned().len(), world.handles()), (1, 1));
    // A pod may borrow, and the tunnel of the block's owner has room.
    world.add("a", "borrower");
    let own = FindTunnel { node: "b".to_string(), ..of(Tunnel::Ipip, None) };
    assert!(give(&world, own).is_some());
    // What is empty, and was claimed a while ago, may be claimed.
    world.del("pod");
    world.del("borrower");
    world.run(ipam::ReleaseByHandle::new(vec![Tunnel::Ipip.handle("b").unwrap()], None).planner()).unwrap();
    world.clock.advance(100);
    assert!(give(&world, of(Tunnel::Ipip, None)).is_some());
    assert_eq!(world.blocks()[0].owner(), Some(host("a")));
}

#[test]
fn a_node_that_is_not_there_has_no_tunnel() {
    let world = world();
    let missing = FindTunnel { node: "gone".to_string(), ..of(Tunnel::Ipip, None) };
    let error = ask(&world.store, &world, missing).unwrap_err();
    assert_eq!(error.to_string(), "resource does not exist: Node(gone) with error: <nil>");
    let odd = FindTunnel { node: "a/b".to_string(), ..of(Tunnel::Ipip, None) };
    assert!(ask(&world.store, &world, odd).unwrap_err().to_string().contains("part of no handle"));
    let full = World::with_pool("10.0.0.0/30", 30);
    assert_eq!(give(&full, of(Tunnel::Ipip, None)), None, "the pool has no encapsulation");
}

/// A handle that counts more than it holds, as after a crash, does not keep the node from its address.
#[test]
fn a_count_that_a_crash_left_is_set_right() {
    let world = world();
    let id = Tunnel::Ipip.handle("a").unwrap();
    let mut leaked = api::Handle::default();
    leaked.blocks.insert(block_cidr("10.0.0.4/30"), 1);
    world.store.put(Key::Handle(id.clone()), api::Value::Handle(leaked));
    assert!(give(&world, of(Tunnel::Ipip, None)).is_some());
    assert_eq!(world.handle(id.as_str()).unwrap().blocks.values().sum::<u32>(), 1);
}

/// A node whose address must be replaced.
fn to_replace() -> World {
    let world = world();
    give(&world, of(Tunnel::Ipip, None)).unwrap();
    world.add("a", "pod");
    world.pool_with("ipip", json!({"cidr": "10.0.0.0/28", "blockSize": 30}));
    second(&world);
    world
}

/// Exactly the answer is held, and in the right pool.
fn is_right(world: &World, answer: Option<IpAddr>, what: &str) {
    let addr = answer.unwrap();
    assert!(cidr("10.2.0.0/28").contains(addr), "{what}: {addr}");
    assert_eq!((held(world, Tunnel::Ipip), world.assigned().len()), (vec![addr], 2), "{what}");
}

/// Every reply is lost, of both commits: the release and the assignment.
#[test]
fn lost_replies() {
    for (commit, answered) in (0..3).flat_map(|commit| (0..6).map(move |answered| (commit, answered))) {
        for (landed, lost) in [(false, 1), (true, 1), (false, 20), (true, 20)] {
            let world = to_replace();
            let fault = CommitFault::ReplyLost { answered, lost, landed };
            let store = Faulty::new(world.store.clone(), FaultPlan::one_by_one().fault(commit, fault));
            let what = format!("{commit} {fault:?}");
            is_right(&world, ask(&store, &world, of(Tunnel::Ipip, None)).unwrap(), &what);
            world.check_at_rest();
        }
    }
}

/// A crash after any write leaves a legal state, and the next call finishes.
#[test]
fn crashes() {
    let mut crashed = 0;
    for (commit, writes) in (0..3).flat_map(|commit| (0..6).map(move |writes| (commit, writes))) {
        let world = to_replace();
        let plan = FaultPlan::one_by_one().fault(commit, CommitFault::Crash { writes });
        let store = Faulty::new(world.store.clone(), plan);
        crashed += usize::from(ask(&store, &world, of(Tunnel::Ipip, None)).is_err());
        world.check();
        let again = store.another(FaultPlan::one_by_one());
        let what = format!("{commit} after {writes}");
        is_right(&world, ask(&again, &world, of(Tunnel::Ipip, None)).unwrap(), &what);
        world.check();
    }
    assert!(crashed >= 8, "{crashed}");
}

/// Before any write of the first one, a second agent of the same node does all of it: both answer the same.
#[test]
fn two_agents_of_one_node() {
    for before in 0..6 {
        let world = to_replace();
        let acted = Arc::new(AtomicUsize::new(0));
        let steps = acted.clone();
        let store = stepped(&world, FaultPlan::like_kubernetes(), move |world, step| {
            if matches!(step, Step::BeforeWrite(_)) && steps.fetch_add(1, Ordering::Relaxed) == before {
                ask(&world.store, world, of(Tunnel::Ipip, None)).unwrap();
            }
        });
        let answer = ask(&store, &world, of(Tunnel::Ipip, None));
        world.check();
        assert!(acted.load(Ordering::Relaxed) > before, "{before}");
        // The second one may have found a count of the first one, and the first one then begins again.
        let answer = answer.or_else(|_| ask(&world.store, &world, of(Tunnel::Ipip, None)));
        is_right(&world, answer.unwrap(), &before.to_string());
    }
}

/// Workloads borrow as before.
#[test]
fn only_tunnels_are_strict() {
    let uses = [Use::Workload, Use::Tunnel, Use::LoadBalancer];
    assert_eq!(uses.map(Use::is_never_borrowed), [false, true, false]);
    let world = World::with_pool("10.0.0.0/30", 30);
    world.add("b", "pod");
    let wanted = |intended_use| AutoAssign { intended_use, ..request("a", "x", 1, 0) };
    assert!(!world.auto(wanted(Use::Tunnel)).is_whole());
    assert!(world.auto(wanted(Use::Workload)).is_whole());
}
