//! A host in a network namespace makes itself known, as its addresses come and go.

use api::Kind;
use rackpoold::node::finding::Reason;
use rackpoold::node::introduce::{IntroduceError, Introduced, Wishes, introduce};
use rackpoold::node::record::{Says, Written};
use serde_json::json;
use setup::Environment;

use crate::home::{Home, block_on};
use crate::namespace::Namespace;
use crate::record::machine;

fn wishes(settings: &[(&str, &str)], hosts: &[&str]) -> Wishes {
    let environment = Environment::from_iter(settings.iter().copied());
    Wishes::read(&environment, Some(machine()), hosts.iter().map(ToString::to_string).collect()).unwrap()
}

fn run(host: &Namespace, home: &Home, wishes: &Wishes) -> Result<Introduced, IntroduceError> {
    host.kernel(async |kernel| introduce(&home.record("n1"), kernel, wishes).await)
}

fn bgp(home: &Home) -> serde_json::Value {
    block_on(home.node("n1"))["spec"]["bgp"].clone()
}

/// A host with two interfaces and a router behind each.
fn host() -> Option<(Namespace, Namespace)> {
    let (host, router) = (Namespace::new()?, Namespace::new()?);
    host.cable("eth0", &router, "left");
    host.cable("eth1", &router, "right");
    router.sh("ip addr add 10.1.0.1/24 dev left; ip addr add 10.2.0.1/24 dev right; ip addr add fd01::1/64 dev left");
    host.sh("ip addr add 10.1.0.100/32 dev eth0
         ip addr add 10.1.0.2/24 dev eth0
         ip addr add fd01::2/64 dev eth0
         ip addr add 10.2.0.2/24 dev eth1
         ip route add default via 10.1.0.1
         ip -6 route add default via fd01::1");
    Some((host, router))
}

#[test]
fn addresses_come_and_go() {
    let Some((host, _router)) = host() else { return };
    let home = Home::embedded();
    let found = run(&host, &home, &wishes(&[("IP6", "autodetect")], &[])).unwrap();
    assert_eq!((found.written, found.findings), (Written::Created, vec![]));
    assert_eq!(bgp(&home), json!({"ipv4Address": "10.1.0.2/24", "ipv6Address": "fd01::2/64"}));
    let interfaces = block_on(home.node("n1"))["spec"]["interfaces"].clone();
    assert_eq!(interfaces[1], json!({"name": "eth1", "addresses": ["10.2.0.2"]}));

    let always = [("IP", "autodetect"), ("IP6", "autodetect")];
    assert_eq!(run(&host, &home, &wishes(&always, &[])).unwrap().written, Written::Nothing);
    // The store is behind the other interface.
    run(&host, &home, &wishes(&always, &["10.2.0.9"])).unwrap();
    assert_eq!(bgp(&home)["ipv4Address"], "10.2.0.2/24");

    host.sh("ip addr del 10.2.0.2/24 dev eth1; ip addr add 10.2.0.3/24 dev eth1");
    // Found once, the address stays as it is, and that no interface has it is told.
    let found = run(&host, &home, &wishes(&[], &["10.2.0.9"])).unwrap();
    assert_eq!(
        found.findings.iter().map(|finding| finding.reason).collect::<Vec<_>>(),
        [Reason::ADDRESS_NOT_HERE]
    );
    assert_eq!(bgp(&home)["ipv4Address"], "10.2.0.2/24");
    run(&host, &home, &wishes(&always, &["10.2.0.9"])).unwrap();
    assert_eq!(bgp(&home)["ipv4Address"], "10.2.0.3/24");

    // A method that fails takes nothing away.
    let settings = [("IP", "autodetect"), ("IP_AUTODETECTION_METHOD", "interface=wlan")];
    let found = run(&host, &home, &wishes(&settings, &[])).unwrap();
    assert_eq!(
        found.findings.iter().map(|finding| finding.reason).collect::<Vec<_>>(),
        [Reason::ADDRESS_UNKNOWN]
    );
    assert_eq!(bgp(&home)["ipv4Address"], "10.2.0.3/24");
}

#[test]
fn what_is_refused() {
    let Some((host, _router)) = host() else { return };
    let home = Home::embedded();
    block_on(home.put(Kind::Node, "other", json!({"spec": {"bgp": {"ipv4Address": "10.1.0.2/24"}}})));
    let error = run(&host, &home, &wishes(&[], &[])).unwrap_err().to_string();
    assert!(error.contains("Node(n1) cannot have the address 10.1.0.2: Node(other) has it"), "{error}");
    assert!(block_on(home.record("n1").read()).unwrap().node.is_none());
    let settings = [("DISABLE_NODE_IP_CHECK", "true"), ("AS", "1.10"), ("CALICO_K8S_NODE_REF", "k1")];
    run(&host, &home, &wishes(&settings, &[])).unwrap();
    assert_eq!(bgp(&home), json!({"ipv4Address": "10.1.0.2/24", "asNumber": 65546}));

    // Another machine has the name, and answers: by a refusal, as the router does.
    let another = rackpoold::node::name::MachineId::of("ffff6789abcdef0123456789abcdef00");
    let says = Says { v4: Some("10.1.0.1/24".parse().unwrap()), machine: another, ..Says::default() };
    block_on(home.record("n1").write(&says)).unwrap();
    let error = run(&host, &home, &wishes(&settings, &[])).unwrap_err();
    assert!(matches!(error, IntroduceError::Name(_)), "{error}");
    // It is gone: this machine takes its place.
    host.sh("ip neigh replace 10.1.0.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent");
    let always = [("IP", "autodetect"), ("DISABLE_NODE_IP_CHECK", "true")];
    run(&host, &home, &wishes(&always, &[])).unwrap();
    assert_eq!(bgp(&home)["ipv4Address"], "10.1.0.2/24");
    let noted = block_on(home.record("n1").read()).unwrap().holder.noted;
    assert_eq!(noted.as_deref(), Some(machine().as_str()));
}

/// A host that has no IPv4 needs no setting for it.
#[test]
fn only_ipv6() {
    let Some((host, _router)) = host() else { return };
    host.sh("ip -4 addr flush dev eth0; ip -4 addr flush dev eth1");
    let home = Home::embedded();
    let found = run(&host, &home, &wishes(&[("IP6", "autodetect")], &[])).unwrap();
    assert_eq!((bgp(&home), found.findings), (json!({"ipv6Address": "fd01::2/64"}), vec![]));
    let error = run(&host, &Home::embedded(), &wishes(&[], &[])).unwrap_err().to_string();
    assert!(error.contains("Node(n1) would have no address"), "{error}");
    let error = Wishes::read(&Environment::from_iter([("AS", "x")]), None, vec![]).unwrap_err().to_string();
    assert!(error.starts_with("AS=\"x\": "), "{error}");
}
