//! The tunnels' addresses, as the plan asks for them.

use std::net::IpAddr;
use std::time::Duration;

use api::{Key, Kind, Use, Value};
use ipam::{AutoAssign, FindTunnel, ReleaseIp, ReleaseIps, assign_tunnel, run};
use rackpoold::node::finding::Reason;
use rackpoold::node::record::Says;
use rackpoold::node::tunnels::{Settled, Task, Tunnels, recorded};
use routes::destination::Destinations;
use routes::tunnel::{Kind as Of, Tunnel};
use routes::{Exported, Known, Options, Racks, Snapshot, node};
use serde_json::json;
use store::{Batch, Depth, Expect, ReadSet, Scope, Store, View};

use crate::home::{Home, WITHIN, block_on};

async fn read(home: &Home) -> View {
    let set = ReadSet::new()
        .scope(Scope::kind(Kind::Node), Depth::Full)
        .scope(Scope::kind(Kind::IPPool), Depth::Full)
        .scope(Scope::Blocks { family: None }, Depth::Full);
    home.store.read(&set, WITHIN).await.unwrap()
}

/// All went well, and the Node was written.
const WRITTEN: Settled = Settled { is_written: true, again: false };

/// The plan's tunnels for a node, of what is stored now.
async fn planned(home: &Home, name: &str) -> Vec<Tunnel> {
    let view = read(home).await;
    let mut snapshot = Snapshot::new(Known::ByBlocks);
    view.all().filter_map(|(_, slot)| slot.record()).for_each(|record| {
        snapshot.take(record);
    });
    let destinations = Destinations::of(&snapshot);
    let racks = Racks::of(&destinations, None, Exported::Plain);
    node::desired(&destinations, &racks, name, &Options::default()).unwrap().tunnels
}

async fn pass(home: &Home, name: &str, tunnels: &mut Tunnels) -> Settled {
    let wanted = planned(home, name).await;
    tunnels.settle(&home.record(name), &wanted).await.unwrap()
}

/// The addresses that blocks note for a node's tunnels, each with its type.
async fn assigned(home: &Home, name: &str) -> Vec<(IpAddr, String)> {
    let view = read(home).await;
    let mut all = Vec::new();
    for (key, slot) in view.all() {
        let (Key::Block(cidr), Some(Value::Block(block))) = (key, slot.record().map(|record| &record.value))
        else {
            continue;
        };
        for ordinal in 0..cidr.size() {
            let attribute = block.attribute(ordinal).filter(|attribute| attribute.released_at.is_none());
            let owner = attribute.map(|attribute| attribute.owner.clone()).unwrap_or_default();
            if owner.get("node").is_some_and(|node| node == name) && owner.contains_key("type") {
                all.push((cidr.addr(ordinal).unwrap(), owner["type"].clone()));
            }
        }
    }
    all
}

async fn names(home: &Home, name: &str) -> Vec<(Of, IpAddr)> {
    let node = home.record(name).read().await.unwrap().node.unwrap();
    recorded(&node).into_iter().collect()
}

async fn revision(home: &Home, name: &str) -> String {
    home.node(name).await["metadata"]["resourceVersion"].to_string()
}

async fn pools(home: &Home) {
    for (name, cidr, field, size) in [
        ("ipip", "10.20.0.0/24", "ipipMode", 28),
        ("vxlan", "10.21.0.0/24", "vxlanMode", 28),
        ("vxlan-v6", "fd00:21::/120", "vxlanMode", 124),
    ] {
        let spec = json!({"cidr": cidr, "blockSize": size, field: "Always", "nodeSelector": "all()"});
        home.put(Kind::IPPool, name, json!({ "spec": spec })).await;
    }
}

async fn disable(home: &Home, name: &str, disabled: bool) {
    let client = resources::Client::new(&home.store, &home.clock, api::Backend::Etcd, WITHIN);
    let id = resources::Identifier::new(Kind::IPPool, None, name);
    client.patch(&id, &json!({"spec": {"disabled": disabled}}).to_string()).await.unwrap();
}

/// A node gets an address of each kind that the pools use, and the Node is written once for all.
pub async fn every_kind_in_one_write(home: &Home) {
    pools(home).await;
    let says = Says { v4: Some("10.1.0.7/24".parse().unwrap()), ..Says::default() };
    home.record("t1").write(&says).await.unwrap();
    let mut tunnels = Tunnels::default();
    assert_eq!(pass(home, "t1", &mut tunnels).await, WRITTEN);
    let told = names(home, "t1").await;
    let expected = [(Of::Ipip, "10.20.0."), (Of::Vxlan, "10.21.0."), (Of::VxlanV6, "fd00:21::")];
    assert_eq!(told.len(), 3, "{told:?}");
    for ((kind, addr), (of, network)) in told.iter().zip(expected) {
        assert!(*kind == of && addr.to_string().starts_with(network), "{told:?}");
    }
    let mut held = assigned(home, "t1").await;
    held.sort_by_key(|(_, kind)| kind.clone());
    let types = ["ipipTunnelAddress", "vxlanTunnelAddress", "vxlanV6TunnelAddress"];
    let told_types: Vec<(IpAddr, String)> =
        told.iter().zip(types).map(|((_, addr), kind)| (*addr, kind.to_string())).collect();
    assert_eq!(held, told_types);

    // Neither the same agent nor a new one writes anything more.
    let before = revision(home, "t1").await;
    assert_eq!(pass(home, "t1", &mut tunnels).await, Settled::default());
    assert_eq!(pass(home, "t1", &mut Tunnels::default()).await, Settled::default());
    assert_eq!(revision(home, "t1").await, before);
}

/// What a new agent makes of a node, once.
#[cfg(feature = "kubernetes")]
pub async fn pass_once(home: &Home, name: &str) -> Vec<(Of, IpAddr)> {
    assert_eq!(pass(home, name, &mut Tunnels::default()).await, WRITTEN);
    names(home, name).await
}

/// What a node with tunnels does while an administrator changes pools: it takes over an empty block of
/// another node for an address of a new pool, beside a count that a crash left, and gives back what no pool
/// gives any more.
#[cfg(feature = "kubernetes")]
pub async fn come_and_go(home: &Home, administrator: &Home, name: &str) {
    let mut tunnels = Tunnels::default();
    let spec =
        json!({"cidr": "10.24.0.0/29", "blockSize": 29, "vxlanMode": "Always", "nodeSelector": "all()"});
    administrator.put(Kind::IPPool, "new", json!({ "spec": spec })).await;
    let block: api::BlockCidr = "10.24.0.0/29".parse().unwrap();
    let other = api::Owner::Host("gone".to_string());
    let claimed = ipam::block::create(block, &other, None, "2026-01-01T00:00:00Z".parse().unwrap());
    let handle = api::Handle { blocks: [(block, 1)].into(), deleted: false };
    let affinity = api::Affinity::new(api::AffinityState::Confirmed);
    let mut batch = Batch::new();
    batch.put(Key::Affinity { owner: other, block }, Expect::Absent, Value::Affinity(affinity));
    batch.put(Key::Block(block), Expect::Absent, Value::Block(claimed));
    assert!(administrator.store.commit(&batch, WITHIN).await.unwrap().is_applied());
    disable(administrator, "vxlan", true).await;
    assert_eq!(pass(home, name, &mut tunnels).await, WRITTEN);
    let addresses = assigned(home, name).await;
    assert!(addresses.iter().any(|(addr, _)| block.cidr().contains(*addr)), "{addresses:?}");

    for pool in ["ipip", "vxlan-v6", "new"] {
        disable(administrator, pool, true).await;
    }
    pass(home, name, &mut tunnels).await;
    assert_eq!(assigned(home, name).await, []);
    let left = Key::Handle(ipam::Tunnel::Vxlan.handle(name).unwrap());
    let mut batch = Batch::new();
    batch.put(left, Expect::Absent, Value::Handle(handle));
    assert!(administrator.store.commit(&batch, WITHIN).await.unwrap().is_applied());
    disable(administrator, "new", false).await;
    assert_eq!(pass(home, name, &mut tunnels).await, WRITTEN);
    assert_eq!(assigned(home, name).await.len(), 1);
}

/// The reasons of what the last pass has found.
fn reasons(tunnels: &Tunnels) -> Vec<Reason> {
    tunnels.findings().map(|finding| finding.reason).collect()
}

async fn home_with_node() -> Home {
    let home = Home::embedded();
    let says = Says { v4: Some("10.1.0.7/24".parse().unwrap()), ..Says::default() };
    home.record("t1").write(&says).await.unwrap();
    home
}

#[test]
fn on_the_embedded_store() {
    block_on(async { every_kind_in_one_write(&Home::embedded()).await });
}

/// The agent is killed after the address is assigned and before the Node names it.
#[test]
fn a_crash_between_block_and_node() {
    block_on(async {
        let home = home_with_node().await;
        pools(&home).await;
        let request = FindTunnel { node: "t1".to_string(), tunnel: ipam::Tunnel::Vxlan, recorded: None };
        let addr = assign_tunnel(&home.store, &home.clock, request, WITHIN).await.unwrap().unwrap();
        assert_eq!(names(&home, "t1").await, []);
        pass(&home, "t1", &mut Tunnels::default()).await;
        assert!(names(&home, "t1").await.contains(&(Of::Vxlan, addr)));
        assert_eq!(assigned(&home, "t1").await.len(), 3);
    });
}

/// What no pool gives any more: the Node names it no more, then it goes back. Killed between the two, the
/// next agent gives it back.
#[test]
fn an_address_is_given_back_after_the_node_names_it_no_more() {
    block_on(async {
        let home = home_with_node().await;
        pools(&home).await;
        let mut tunnels = Tunnels::default();
        pass(&home, "t1", &mut tunnels).await;
        disable(&home, "vxlan", true).await;
        assert_eq!(pass(&home, "t1", &mut tunnels).await, WRITTEN);
        assert_eq!(reasons(&tunnels), [Reason::NO_POOL_FOR_TUNNEL]);
        assert!(!names(&home, "t1").await.iter().any(|(kind, _)| *kind == Of::Vxlan));
        assert_eq!(assigned(&home, "t1").await.len(), 2);

        disable(&home, "vxlan", false).await;
        pass(&home, "t1", &mut tunnels).await;
        assert_eq!((assigned(&home, "t1").await.len(), reasons(&tunnels).len()), (3, 0));
        disable(&home, "vxlan", true).await;
        let cleared = Says { tunnels: [(Of::Vxlan, None)].into(), ..Says::default() };
        home.record("t1").write(&cleared).await.unwrap();
        assert_eq!(assigned(&home, "t1").await.len(), 3);
        pass(&home, "t1", &mut Tunnels::default()).await;
        assert_eq!(assigned(&home, "t1").await.len(), 2);
    });
}

/// Somebody wrote another's address into the Node, or lost ours: the block tells what is right.
#[test]
fn a_wrong_field_is_set_right() {
    block_on(async {
        let home = home_with_node().await;
        pools(&home).await;
        pass(&home, "t1", &mut Tunnels::default()).await;
        let right = names(&home, "t1").await;
        for wrong in [Some("10.21.0.200".parse().unwrap()), None] {
            let says = Says { tunnels: [(Of::Vxlan, wrong)].into(), ..Says::default() };
            home.record("t1").write(&says).await.unwrap();
            pass(&home, "t1", &mut Tunnels::default()).await;
            assert_eq!(names(&home, "t1").await, right, "{wrong:?}");
        }
        assert_eq!(assigned(&home, "t1").await.len(), 3);
    });
}

/// Somebody releases an address of a node that works: the agent, which doubts what it knows now and then,
/// finds that, and the node has an address again that the Node names.
#[test]
fn an_address_that_was_released_by_hand() {
    block_on(async {
        let home = home_with_node().await;
        pools(&home).await;
        let mut tunnels = Tunnels::default();
        pass(&home, "t1", &mut tunnels).await;
        let (_, addr) = names(&home, "t1").await[1];
        let release = ReleaseIps::new(vec![ReleaseIp { addr, handle: None, sequence: None }]);
        run(&home.store, &home.clock, release.planner(), WITHIN).await.unwrap();
        // Somebody else may have it by now.
        let other = AutoAssign { v4: 1, ..AutoAssign::new("t1", Use::Workload) };
        run(&home.store, &home.clock, other.planner(), WITHIN).await.unwrap();
        assert_eq!(assigned(&home, "t1").await.len(), 2);
        assert_eq!(pass(&home, "t1", &mut tunnels).await, Settled::default());
        tunnels.doubt();
        pass(&home, "t1", &mut tunnels).await;
        let mut held: Vec<IpAddr> = assigned(&home, "t1").await.into_iter().map(|(addr, _)| addr).collect();
        held.sort();
        let named: Vec<IpAddr> = names(&home, "t1").await.into_iter().map(|(_, addr)| addr).collect();
        assert_eq!((held.len(), held), (3, named));
    });
}

/// Other nodes use the tunnel, and no pool is there for this one: what each of them lacks is told.
#[test]
fn no_pool_for_this_node() {
    block_on(async {
        let home = home_with_node().await;
        for (at, (name, field, value)) in [
            ("off", "disabled", json!(true)),
            ("pods", "allowedUses", json!(["Workload"])),
            ("rack", "nodeSelector", json!("rack == \"0\"")),
        ]
        .into_iter()
        .enumerate()
        {
            let mut spec =
                json!({"cidr": format!("10.3{at}.0.0/24"), "vxlanMode": "Always", "nodeSelector": "all()"});
            spec[field] = value;
            home.put(Kind::IPPool, name, json!({ "spec": spec })).await;
        }
        let mut tunnels = Tunnels::default();
        // It is told as long as it is so.
        for _ in 0..2 {
            assert_eq!(pass(&home, "t1", &mut tunnels).await, Settled::default());
            let findings: Vec<_> = tunnels.findings().collect();
            let [finding] = findings[..] else { panic!("{findings:?}") };
            assert_eq!(finding.reason, Reason::NO_POOL_FOR_TUNNEL);
            let lacks = "IPPool(off) is disabled; IPPool(pods) has no Tunnel among its allowedUses; \
                         IPPool(rack) does not select the node (nodeSelector rack == \"0\")";
            assert!(finding.text.contains(lacks), "{}", finding.text);
        }
    });
}

/// All of the pool's blocks are other nodes': a tunnel's address is never borrowed, and that is told.
#[test]
fn a_pool_without_room() {
    block_on(async {
        let home = home_with_node().await;
        let spec =
            json!({"cidr": "10.22.0.0/29", "blockSize": 29, "vxlanMode": "Always", "nodeSelector": "all()"});
        home.put(Kind::IPPool, "small", json!({ "spec": spec })).await;
        home.put(Kind::Node, "b", json!({"spec": {}})).await;
        let one = AutoAssign { v4: 1, ..AutoAssign::new("b", Use::Workload) };
        assert!(run(&home.store, &home.clock, one.planner(), WITHIN).await.unwrap().is_whole());
        let mut tunnels = Tunnels::default();
        assert_eq!(pass(&home, "t1", &mut tunnels).await, Settled::default());
        let findings: Vec<_> = tunnels.findings().collect();
        let [finding] = findings[..] else { panic!("{findings:?}") };
        assert_eq!(finding.reason, Reason::POOL_WITHOUT_ROOM);
        for part in ["Node(t1) has no spec.ipv4VXLANTunnelAddr", "of small: "] {
            assert!(finding.text.contains(part), "{}", finding.text);
        }
        assert_eq!(names(&home, "t1").await, []);
        // The allocator is not asked again with each pass, but after a while.
        let (wanted, at) = (planned(&home, "t1").await, tunnels.due().unwrap());
        let is_asked = |tunnels: &Tunnels, now| {
            tunnels.tasks(&wanted, |_| None, now).contains(&(Of::Vxlan, Task::Have(None)))
        };
        assert!(at > home.clock.elapsed() + Duration::from_secs(25), "{at:?}");
        assert!(!is_asked(&tunnels, at - Duration::from_millis(1)) && is_asked(&tunnels, at));
        tunnels.doubt();
        assert!(!is_asked(&tunnels, at - Duration::from_millis(1)));
        // Once there is room, the next pass finds it.
        let spec =
            json!({"cidr": "10.23.0.0/29", "blockSize": 29, "vxlanMode": "Always", "nodeSelector": "all()"});
        home.put(Kind::IPPool, "more", json!({ "spec": spec })).await;
        assert_eq!(pass(&home, "t1", &mut tunnels).await, WRITTEN);
        assert_eq!((names(&home, "t1").await.len(), reasons(&tunnels).len()), (1, 0));
    });
}
