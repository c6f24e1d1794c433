use std::collections::BTreeMap;

use api::{Metadata, Owner, Record, Resource, Revision, Timestamp, Value};
use ipam::block;
use serde_json::{Map, json};

use super::*;
use crate::witness::{Endpoints, Pod};

const GRACE: Option<Duration> = Some(Duration::from_secs(900));

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A cluster: one block, pods, nodes.
struct World {
    view: View,
    users: Users,
    collector: Collector,
    block: Block,
    revision: u64,
}

impl World {
    fn new(users: Users) -> World {
        let cidr = "10.0.0.0/26".parse().unwrap();
        let block = block::create(cidr, &Owner::Host("n1".into()), None, Timestamp::UNIX_EPOCH);
        let mut view = View::new();
        view.complete(Scope::kind(Kind::Node), store::Depth::Full);
        view.complete(Scope::Blocks { family: None }, store::Depth::Full);
        let mut world = World { view, users, collector: Collector::default(), block, revision: 0 };
        world.node("n1");
        world
    }

    fn kubernetes() -> World {
        World::new(Users::Pods(HashMap::new()))
    }

    fn put(&mut self, key: Key, value: Value) {
        self.revision += 1;
        let revision = Revision::new(self.revision.to_string());
        let record = Arc::new(Record { key: key.clone(), value, revision });
        self.view.fold(&scope_of(&key), &store::Event::Apply(record));
    }

    fn node(&mut self, name: &str) {
        let metadata = Metadata { name: name.to_string(), ..Metadata::default() };
        self.put(
            Key::global(Kind::Node, name),
            Value::Resource(Resource::new(Kind::Node, metadata, Map::new())),
        );
        self.collector.node_changed(name);
    }

    fn delete_node(&mut self, name: &str) {
        self.revision += 1;
        let key = Key::global(Kind::Node, name);
        let revision = Revision::new(self.revision.to_string());
        self.view.fold(&Scope::kind(Kind::Node), &store::Event::Delete(key, revision));
        self.collector.node_changed(name);
    }

    fn assign(&mut self, handle: &str, owner: &[(&str, &str)]) -> IpAddr {
        let owner: BTreeMap<_, _> = owner.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let attribute =
            Arc::new(Attribute { handle_id: Some(handle.to_string()), owner, ..Attribute::default() });
        let none = ipam::reservations::Reserved::default();
        let taken = block::assign(&mut self.block, 1, None, &attribute, &none).unwrap();
        block::bump(&mut self.block);
        self.write();
        taken[0]
    }

    /// Assigns an address to a pod of node n1.
    fn assign_pod(&mut self, pod: &str) -> IpAddr {
        self.assign(&format!("net.{pod}"), &[("namespace", "ns"), ("pod", pod), ("node", "n1")])
    }

    fn write(&mut self) {
        let cidr = self.block.cidr;
        self.put(Key::Block(cidr), Value::Block(self.block.clone()));
        self.collector.block_changed(cidr);
    }

    fn pod(&mut self, name: &str, node: &str, addresses: &[IpAddr]) {
        self.pod_in_phase(name, node, addresses, false);
    }

    fn pod_in_phase(&mut self, name: &str, node: &str, addresses: &[IpAddr], is_finished: bool) {
        let Users::Pods(pods) = &mut self.users else { panic!("no pods here") };
        let key = PodKey::new("ns", name);
        pods.insert(key.clone(), Pod::Seen { node: node.into(), is_finished, addresses: addresses.into() });
        self.collector.pod_changed(&key);
    }

    fn delete_pod(&mut self, name: &str) {
        let Users::Pods(pods) = &mut self.users else { panic!("no pods here") };
        pods.remove(&PodKey::new("ns", name));
        self.collector.pod_changed(&PodKey::new("ns", name));
    }

    /// What is due at that second, by address.
    fn due(&mut self, seconds: u64) -> Vec<(IpAddr, Why)> {
        self.collector.judge(&self.view, &mut self.users, at(seconds));
        let due = self.collector.due(&self.view, &self.users, GRACE, at(seconds));
        due.into_iter().map(|due| (due.ip.addr, due.why)).collect()
    }
}

fn scope_of(key: &Key) -> Scope {
    match key {
        Key::Block(_) => Scope::Blocks { family: None },
        _ => Scope::kind(Kind::Node),
    }
}

#[test]
fn a_leaked_address_is_due_after_its_grace() {
    let mut world = World::kubernetes();
    let addr = world.assign_pod("a");
    assert_eq!(world.due(10), []);
    assert_eq!(world.collector.next_due(GRACE, at(10)), Some(at(910)));
    assert_eq!(world.due(909), []);
    assert_eq!(world.due(910), [(addr, Why::PodGone)]);
    world.pod("a", "n1", &[addr]);
    assert_eq!(world.due(911), []);
    world.delete_pod("a");
    assert_eq!(world.due(912), []);
    assert_eq!(world.due(1_812), [(addr, Why::PodGone)]);
}

/// Pods that die shortly after one another are one write of their block.
#[test]
fn what_is_due_together_goes_together() {
    let mut world = World::kubernetes();
    let [a, b, c] = ["a", "b", "c"].map(|pod| {
        let addr = world.assign_pod(pod);
        world.pod(pod, "n1", &[addr]);
        addr
    });
    for (pod, second) in [("a", 10), ("b", 11), ("c", 12)] {
        world.delete_pod(pod);
        assert_eq!(world.due(second), []);
    }
    assert_eq!(world.due(910), []);
    assert_eq!(world.collector.next_due(GRACE, at(910)), Some(at(911)));
    assert_eq!(world.due(911), [(a, Why::PodGone), (b, Why::PodGone)]);
    assert_eq!(world.collector.next_due(GRACE, at(911)), Some(at(912)));
    let due = world.due(912);
    assert!(due.contains(&(c, Why::PodGone)) && due.len() == 3, "{due:?}");
}

#[test]
fn why_an_address_is_due() {
    let mut world = World::kubernetes();
    let addr = world.assign_pod("a");
    let other: IpAddr = "10.0.0.9".parse().unwrap();
    for (node, addresses, is_finished, why) in [
        ("n1", vec![addr], false, None),
        ("n1", vec![other, addr], false, None),
        ("n1", vec![], false, None),
        ("n1", vec![addr], true, Some(Why::PodFinished)),
        ("n1", vec![other], false, Some(Why::OtherAddresses)),
        ("n2", vec![addr], false, Some(Why::PodElsewhere)),
        ("", vec![], false, Some(Why::PodElsewhere)),
    ] {
        world.collector = Collector::default();
        world.collector.block_changed(world.block.cidr);
        world.pod_in_phase("a", node, &addresses, is_finished);
        world.due(0);
        let wanted: Vec<_> = why.map(|why| (addr, why)).into_iter().collect();
        assert_eq!(world.due(900), wanted, "{node} {addresses:?} {is_finished}");
    }
}

/// A pod that comes back under its name may be given the old address, as long as it has none. It does not
/// begin the grace of the old address anew.
#[test]
fn a_pod_without_an_address_protects_and_does_not_delay() {
    let mut world = World::kubernetes();
    let addr = world.assign_pod("a");
    world.due(0);
    world.pod("a", "n1", &[]);
    assert_eq!(world.due(1_000), []);
    world.pod("a", "n1", &["10.0.0.50".parse().unwrap()]);
    assert_eq!(world.due(1_001), [(addr, Why::OtherAddresses)]);
}

#[test]
fn what_a_gone_node_had_is_due_soon() {
    let mut world = World::kubernetes();
    let (a, b) = (world.assign_pod("a"), world.assign_pod("b"));
    let tunnel = world.assign("vxlan-tunnel-addr-n1", &[("node", "n1"), ("type", "vxlanTunnelAddress")]);
    world.pod("a", "n1", &[a]);
    world.due(0);
    world.delete_node("n1");
    world.due(10);
    // The pod that is still there keeps its address, and the node's tunnel.
    assert_eq!(world.due(11), [(b, Why::PodGone)]);
    world.delete_pod("a");
    world.due(12);
    let mut due = world.due(13);
    due.sort();
    assert_eq!(due, [(a, Why::PodGone), (b, Why::PodGone), (tunnel, Why::NodeGone)]);
}

/// The kubelet of a node that is there again makes its pods known again; meanwhile they have their whole
/// time.
#[test]
fn a_node_that_is_there_again_stops_the_release() {
    let mut world = World::kubernetes();
    let addr = world.assign_pod("a");
    world.pod("a", "n1", &[addr]);
    world.due(0);
    world.delete_node("n1");
    world.delete_pod("a");
    world.due(10);
    world.node("n1");
    assert_eq!(world.due(20), []);
    assert_eq!(world.due(919), []);
    assert_eq!(world.due(920), [(addr, Why::PodGone)]);
}

#[test]
fn a_handle_is_given_back_whole_or_not_at_all() {
    let mut world = World::kubernetes();
    let (a, b) = (world.assign_pod("a"), world.assign_pod("a"));
    world.pod("a", "n1", &[b]);
    world.due(0);
    assert_eq!(world.due(1_000), []);
    world.delete_pod("a");
    world.due(1_001);
    let mut due = world.due(2_000);
    due.sort();
    assert_eq!(due, [(a, Why::PodGone), (b, Why::PodGone)]);
}

/// An address that was given to another handle since has its own time.
#[test]
fn an_address_that_was_assigned_again_is_another_suspect() {
    let mut world = World::kubernetes();
    let addr = world.assign_pod("a");
    world.due(0);
    let ips = [ReleaseIp { addr, handle: None, sequence: None }];
    block::release(&mut world.block, &ips, Timestamp::UNIX_EPOCH, 0).unwrap();
    let fields = [("namespace", "ns"), ("pod", "a"), ("node", "n1")];
    let owner = fields.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let attribute =
        Arc::new(Attribute { handle_id: Some("net.other".into()), owner, ..Attribute::default() });
    block::assign_addr(&mut world.block, addr, None, &attribute).unwrap();
    block::bump(&mut world.block);
    world.write();
    assert_eq!(world.due(950), []);
    assert_eq!(world.due(1_850), [(addr, Why::PodGone)]);
}

#[test]
fn what_nobody_can_judge_stays() {
    let mut world = World::kubernetes();
    world.assign("by-hand", &[]);
    world.assign("by-hand-on-a-node", &[("node", "n1")]);
    world.assign("lb-x", &[("node", "n1"), ("type", "LoadBalancer"), ("service", "s"), ("namespace", "ns")]);
    world.assign("windows-reserved-ipam-handle", &[("node", "n1"), ("note", "windows host rsvd")]);
    world.delete_node("n1");
    world.due(0);
    assert_eq!(world.due(100_000), []);
}

#[test]
fn a_machines_address_waits_longer_and_is_asked_for() {
    let mut world = World::kubernetes();
    let fields = [("namespace", "ns"), ("pod", "virt-launcher-x"), ("node", "n1"), ("vmi-name", "vm")];
    let addr = world.assign("net.vmi.ns.vm", &fields);
    world.due(0);
    // Not even a node that is gone makes it due at once: the machine moves to another.
    world.delete_node("n1");
    assert_eq!(world.due(10), []);
    assert_eq!(world.due(909), []);
    assert_eq!(world.due(910), [(addr, Why::MachineStopped)]);
}

fn endpoint(name: &str, node: &str, addr: &str) -> Resource {
    let json = json!({
        "metadata": {"namespace": "default", "name": name},
        "spec": {"node": node, "orchestrator": "cni", "ipNetworks": [format!("{addr}/32")]},
    });
    Resource::from_json(Kind::WorkloadEndpoint, json).unwrap()
}

/// Without Kubernetes only a network whose plugin makes endpoints is judged by them.
#[test]
fn endpoints_are_witnesses_of_their_networks_alone() {
    let mut endpoints = Endpoints::default();
    endpoints.take(&endpoint("n1-cni-a-eth0", "n1", "10.0.0.0"));
    let mut world = World::new(Users::Endpoints(endpoints));
    world.assign("net.a", &[("node", "n1")]);
    let leaked = world.assign("net.b", &[("node", "n1")]);
    let bare = world.assign("other.c", &[("node", "n1")]);
    world.due(0);
    assert_eq!(world.due(900), [(leaked, Why::NoEndpoint)]);
    // Of a node that is gone, everything that no endpoint has, and not sooner.
    world.delete_node("n1");
    world.due(1_000);
    assert_eq!(world.due(1_899), [(leaked, Why::NoEndpoint)]);
    let mut due = world.due(1_900);
    due.sort();
    assert_eq!(due, [(leaked, Why::NoEndpoint), (bare, Why::NoEndpoint)]);
    let Users::Endpoints(endpoints) = &mut world.users else { unreachable!() };
    endpoints.take_unreadable(&Key::global(Kind::WorkloadEndpoint, "odd"));
    world.collector.all_changed(&world.view);
    assert_eq!(world.due(1_901), []);
}

/// A pod on two networks has a handle on each; its kubelet tells the address on one of them.
#[test]
fn addresses_of_one_sandbox_live_and_die_together() {
    let mut world = World::kubernetes();
    let fields = [("namespace", "ns"), ("pod", "a"), ("node", "n1")];
    let (told, other) = (world.assign("net.c1", &fields), world.assign("net2.c1", &fields));
    let before = world.assign("net2.c0", &fields);
    world.pod("a", "n1", &[told]);
    world.due(0);
    assert_eq!(world.due(1_000), [(before, Why::OtherAddresses)]);
    world.delete_pod("a");
    world.due(1_001);
    let due: BTreeSet<IpAddr> = world.due(2_000).into_iter().map(|(addr, _)| addr).collect();
    assert_eq!(due, BTreeSet::from([told, other, before]));
}

/// A handle with more addresses than are given back at once keeps no other from coming back, nor itself.
#[test]
fn a_large_handle_is_given_back_too() {
    let mut world = World::kubernetes();
    let cidr = "10.1.0.0/18".parse().unwrap();
    world.block = block::create(cidr, &Owner::Host("n1".into()), None, Timestamp::UNIX_EPOCH);
    for _ in 0..MOST + 1 {
        let owner = [("namespace", "ns"), ("pod", "a"), ("node", "n1")].map(|(k, v)| (k.into(), v.into()));
        let attribute = Arc::new(Attribute {
            handle_id: Some("net.a".into()),
            owner: owner.into(),
            ..Attribute::default()
        });
        let none = ipam::reservations::Reserved::default();
        block::assign(&mut world.block, 1, None, &attribute, &none).unwrap();
    }
    let small = world.assign_pod("b");
    world.due(0);
    assert_eq!(world.due(900).len(), MOST + 1);
    world.pod("a", "n1", &[]);
    world.due(901);
    assert_eq!(world.due(902), [(small, Why::PodGone)]);
}

/// Another allocation is told by its handle, too: not every program records sequence numbers.
#[test]
fn an_address_without_sequence_number_has_its_own_time() {
    let mut world = World::kubernetes();
    let addr = world.assign_pod("a");
    world.block.sequence_numbers.clear();
    world.write();
    world.due(0);
    let ordinal = world.block.cidr.ordinal(addr).unwrap();
    let index = world.block.allocations[ordinal as usize].unwrap() as usize;
    let mut attribute = (*world.block.attributes[index]).clone();
    attribute.handle_id = Some("net.again".into());
    world.block.attributes[index] = Arc::new(attribute);
    world.write();
    world.due(899);
    assert_eq!(world.due(900), []);
    assert_eq!(world.due(1_799), [(addr, Why::PodGone)]);
}

/// The last pod of a virtual machine takes its name off the address, which waits for the machine.
#[test]
fn a_machines_address_without_an_owner() {
    let mut world = World::kubernetes();
    let addr = world.assign("net.vmi.ns.vm", &[]);
    for hidden in ["net.vmi._hash", "a.vmi.b.vmi.ns.vm", "net.vmi.ns"] {
        world.assign(hidden, &[]);
    }
    world.due(0);
    assert_eq!(world.due(899), []);
    assert_eq!(world.due(900), [(addr, Why::MachineStopped)]);
    let due = world.collector.due(&world.view, &world.users, GRACE, at(900));
    assert!(!due[0].is_for_gone_node);
    assert_eq!(crate::judge::machine_of(&due[0].attribute), Some(("ns", "vm")));
}
