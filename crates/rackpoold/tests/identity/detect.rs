//! Which address a host with these interfaces takes.

use std::net::IpAddr;

use api::{Family, Kind, Resource};
use host::{Address, Interface};
use ipnet::IpNet;
use rackpoold::node::detect::{
    Both, DetectError, Found, Question, Request, judge, refuse_taken, stored_addresses,
};
use serde_json::json;
use setup::Environment;

/// An interface with its addresses: `10.0.0.1/24`, and ` s` after it for a secondary one, ` l` for one of a
/// narrow scope. A name that begins with `-` is that of an interface that is down.
pub fn interfaces(all: &[(&str, &[&str])]) -> Vec<Interface> {
    let address = |text: &&str| {
        let (net, flags) = text.split_once(' ').unwrap_or((text, ""));
        Address {
            net: net.parse().unwrap(),
            is_secondary: flags.contains('s'),
            is_global: !flags.contains('l'),
        }
    };
    let interface = |(at, (name, addresses)): (usize, &(&str, &[&str]))| Interface {
        index: at as u32 + 1,
        name: name.trim_start_matches('-').to_string(),
        mtu: 1500,
        is_up: !name.starts_with('-'),
        addresses: addresses.iter().map(address).collect(),
    };
    all.iter().enumerate().map(interface).collect()
}

fn request(family: Family, address: &str, method: &str) -> Request {
    let names = match family {
        Family::V4 => ["IP", "IP_AUTODETECTION_METHOD"],
        Family::V6 => ["IP6", "IP6_AUTODETECTION_METHOD"],
    };
    Request::read(&Environment::from_iter([(names[0], address), (names[1], method)]), family).unwrap()
}

fn find(family: Family, method: &str, host: &[Interface], answers: &[&str]) -> Result<String, String> {
    let answers: Vec<IpAddr> = answers.iter().map(|addr| addr.parse().unwrap()).collect();
    let found = request(family, "autodetect", method).find(host, &answers, None);
    found.map(|found| found.unwrap().to_string()).map_err(|error| error.to_string())
}

/// A host as they are: bridges of containers, tunnels of Calico's, a virtual address, both families.
fn host() -> Vec<Interface> {
    interfaces(&[
        ("lo", &["127.0.0.1/8 l", "::1/128 l"]),
        (
            "eth0",
            &[
                "10.1.0.100/32",
                "10.1.0.5/24",
                "10.1.0.6/24 s",
                "2001:db8::5/64",
                "2001:db8::99/64 s",
                "fe80::1/64 l",
            ],
        ),
        ("eth1", &["192.168.7.5/16", "169.254.3.3/16 l"]),
        ("-eth2", &["172.20.0.1/16"]),
        ("docker0", &["172.17.0.1/16"]),
        ("virbr0", &["192.168.122.1/24"]),
        ("vxlan.calico", &["10.82.8.128/32"]),
        ("tunl0", &["10.83.8.128/32"]),
        ("cali1234", &["fe80::ee/64 l"]),
    ])
}

#[test]
fn each_method_on_a_host_with_everything() {
    use Family::{V4, V6};
    let rows: &[(Family, &str, &[&str], &str)] = &[
        // Ours: where the host's packets come from, but rather no virtual address.
        (V4, "", &["10.1.0.5"], "10.1.0.5/24 of eth0"),
        (V4, "", &["10.1.0.100"], "10.1.0.5/24 of eth0"),
        (V4, "default-route", &["10.1.0.6"], "10.1.0.5/24 of eth0"),
        (V4, "", &["192.168.7.5"], "192.168.7.5/16 of eth1"),
        (V6, "", &["2001:db8::99"], "2001:db8::5/64 of eth0"),
        // The store is on this host, or behind a tunnel or a bridge: then the default route counts.
        (V4, "", &["127.0.0.1", "192.168.7.5"], "192.168.7.5/16 of eth1"),
        (V4, "", &["10.82.8.128", "10.1.0.5"], "10.1.0.5/24 of eth0"),
        (V4, "", &["172.17.0.1", "10.1.0.5"], "10.1.0.5/24 of eth0"),
        // Calico's, in the order of numbers backwards.
        (V4, "first-found", &[], "192.168.7.5/16 of eth1"),
        (V6, "first-found", &[], "2001:db8::5/64 of eth0"),
        (V4, "interface=eth.*", &[], "192.168.7.5/16 of eth1"),
        (V4, "interface=eth0", &[], "10.1.0.5/24 of eth0"),
        (V4, "interface=nothing, eth0", &[], "10.1.0.5/24 of eth0"),
        (V4, "interface=docker", &[], "172.17.0.1/16 of docker0"),
        (V4, "skip-interface=eth1", &[], "10.1.0.5/24 of eth0"),
        (V4, "skip-interface=wlan,^eth1$", &[], "10.1.0.5/24 of eth0"),
        (V4, "cidr=10.0.0.0/8", &[], "10.83.8.128/32 of tunl0"),
        (V4, "cidr=10.1.0.0/16", &[], "10.1.0.5/24 of eth0"),
        (V4, "cidr=10.1.0.100/32", &[], "10.1.0.100/32 of eth0"),
        (V4, "cidr=1.0.0.0/8,192.168.0.0/20", &[], "192.168.7.5/16 of eth1"),
        (V6, "cidr=2001:db8::/32", &[], "2001:db8::5/64 of eth0"),
        (V4, "can-reach=example.org", &["10.1.0.6"], "10.1.0.6/24 of eth0"),
        (V4, "kubernetes-internal-ip", &["192.168.7.5"], "192.168.7.5/16 of eth1"),
    ];
    for (family, method, answers, expected) in rows {
        assert_eq!(find(*family, method, &host(), answers), Ok(expected.to_string()), "{method} {answers:?}");
    }
}

#[test]
fn other_hosts() {
    // A cloud's machine has only a /32.
    let cloud = interfaces(&[("lo", &["127.0.0.1/8 l"]), ("ens4", &["10.128.0.3/32"])]);
    assert_eq!(find(Family::V4, "", &cloud, &["10.128.0.3"]), Ok("10.128.0.3/32 of ens4".to_string()));
    // A single interface needs no route to tell.
    assert_eq!(find(Family::V4, "", &cloud, &[]), Ok("10.128.0.3/32 of ens4".to_string()));
    let only_v6 = interfaces(&[("eth0", &["2001:db8::1/64", "fe80::1/64 l"])]);
    assert_eq!(find(Family::V6, "", &only_v6, &["2001:db8::1"]), Ok("2001:db8::1/64 of eth0".to_string()));
    let error = find(Family::V4, "", &only_v6, &[]).unwrap_err();
    assert!(error.contains("eth0 (no address)"), "{error}");
}

#[test]
fn what_is_not_found_is_told() {
    let error = find(Family::V4, "", &host(), &[]).unwrap_err();
    for part in [
        "no IPv4 address was found for this node by default-route",
        "eth0 (10.1.0.100/32, 10.1.0.5/24, 10.1.0.6/24), eth1 (192.168.7.5/16, 169.254.3.3/16)",
        "eth2 (172.20.0.1/16, down)",
        "docker0 (172.17.0.1/16, left out by its name)",
        "name the interface by interface=NAME",
        "IP_AUTODETECTION_METHOD chooses another way, IP names the address",
    ] {
        assert!(error.contains(part), "{part:?} is not in {error}");
    }
    for (method, answers) in [
        ("interface=wlan", &[][..]),
        ("skip-interface=eth", &[]),
        ("cidr=1.0.0.0/8", &[]),
        ("can-reach=1.1.1.1", &[]),
        ("can-reach=1.1.1.1", &["9.9.9.9"]),
        ("kubernetes-internal-ip", &["9.9.9.9"]),
    ] {
        let error = find(Family::V4, method, &host(), answers).unwrap_err();
        assert!(error.contains(&format!("by {method}, which is ")), "{error}");
    }
}

#[test]
fn settings_that_cannot_be_understood() {
    for (variable, value, reason) in [
        ("IP", "10.0.0", "it is no address"),
        ("IP", "2001:db8::1", "it is no IPv4 address"),
        ("IP6", "10.0.0.1", "it is no IPv6 address"),
        ("IP_AUTODETECTION_METHOD", "last-found", "it is none of first-found, interface=NAME"),
        ("IP_AUTODETECTION_METHOD", "interface=", "it names no interface"),
        ("IP_AUTODETECTION_METHOD", "interface=eth[", "it is no list of regular expressions"),
        ("IP_AUTODETECTION_METHOD", "cidr=10.0.0.0/8,x", "\"x\" is no network"),
        ("IP6_AUTODETECTION_METHOD", "can-reach=", "it is none of"),
    ] {
        let family = if variable.starts_with("IP6") { Family::V6 } else { Family::V4 };
        let error = Request::read(&Environment::from_iter([(variable, value)]), family).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with(&format!("{variable}={value:?}: ")) && text.contains(reason), "{text}");
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[test]
fn when_the_host_is_asked() {
    let stored = Some(net("10.9.9.9/24"));
    let sources = Some(Question::Sources);
    for (family, address, stored, expected) in [
        (Family::V4, "", None, sources.clone()),
        (Family::V4, "", stored, None),
        (Family::V4, "autodetect", stored, sources.clone()),
        (Family::V4, "none", None, None),
        (Family::V4, "10.1.0.5", stored, Some(Question::Interfaces)),
        (Family::V6, "", None, None),
        (Family::V6, "autodetect", None, sources),
    ] {
        assert_eq!(request(family, address, "").question(stored), expected, "{address:?}");
    }
    let to = request(Family::V4, "", "can-reach=h").question(None);
    assert_eq!(to, Some(Question::SourceTo("h".to_string())));
    assert_eq!(request(Family::V4, "", "kubernetes-internal-ip").question(None), Some(Question::InternalIps));
    assert_eq!(request(Family::V4, "", "first-found").question(None), Some(Question::Interfaces));
}

#[test]
fn an_address_that_is_named() {
    let named = |text: &str| request(Family::V4, text, "").find(&host(), &[], None);
    let found = |text: &str, interface: Option<&str>| {
        Ok(Some(Found { net: net(text), interface: interface.map(str::to_string) }))
    };
    assert_eq!(named("10.1.0.5"), found("10.1.0.5/24", Some("eth0")));
    // As with Calico, /32 is no length.
    assert_eq!(named("10.1.0.5/32"), found("10.1.0.5/24", Some("eth0")));
    assert_eq!(named("10.1.0.5/20"), found("10.1.0.5/20", Some("eth0")));
    assert_eq!(named("5.5.5.5/20"), found("5.5.5.5/20", None));
    let error = named("5.5.5.5").unwrap_err().to_string();
    assert!(error.starts_with("IP=5.5.5.5: no interface of this host has that address"), "{error}");
}

/// What fails never takes the stored address away; a node without any address is refused.
#[test]
fn both_families_together() {
    let both = |v4: &str, v6: &str| Both { v4: request(Family::V4, v4, ""), v6: request(Family::V6, v6, "") };
    let failure = |family| request(family, "autodetect", "interface=none").find(&host(), &[], None);
    let found = Found { net: net("2001:db8::5/64"), interface: Some("eth0".to_string()) };
    let none = Both::default();
    let stored = Both { v4: Some(net("10.1.0.5/24")), v6: None };

    let results = || Both { v4: failure(Family::V4), v6: Ok(None) };
    let kept = judge("n", &both("autodetect", ""), results(), &stored).unwrap();
    assert_eq!((kept.found.v4, kept.doubts.len()), (None, 1));
    let error = judge("n", &both("autodetect", ""), results(), &none).unwrap_err().to_string();
    assert!(error.starts_with("Node(n) would have no address"), "{error}");

    // A host without IPv4 need not say IP=none.
    let results = || Both { v4: failure(Family::V4), v6: Ok(Some(found.clone())) };
    let only_v6 = judge("n", &both("", "autodetect"), results(), &none).unwrap();
    assert_eq!((only_v6.found.v6, only_v6.doubts.len()), (Some(found.clone()), 0));
    assert_eq!(judge("n", &both("autodetect", "autodetect"), results(), &none).unwrap().doubts.len(), 1);

    let error = judge("n", &both("none", ""), Both { v4: Ok(None), v6: Ok(None) }, &none).unwrap_err();
    assert!(
        matches!(&error, DetectError::NoAddress { reason, .. } if reason.contains("IP and IP6")),
        "{error}"
    );
}

#[test]
fn an_address_of_another_node_is_refused() {
    let node = |name: &str, v4: &str, v6: &str| {
        let json =
            json!({"metadata": {"name": name}, "spec": {"bgp": {"ipv4Address": v4, "ipv6Address": v6}}});
        Resource::from_json(Kind::Node, json).unwrap()
    };
    let nodes = [node("a", "10.0.0.1/24", "2001:db8::1/64"), node("b", "10.0.0.2/24", "2001:db8::2")];
    assert_eq!(refuse_taken("a", net("10.0.0.1/16"), &nodes), Ok(()));
    assert_eq!(refuse_taken("a", net("10.0.0.3/24"), &nodes), Ok(()));
    // Without a length it is no node's.
    assert_eq!(refuse_taken("a", net("2001:db8::2/64"), &nodes), Ok(()));
    assert_eq!(stored_addresses(&nodes[1]), Both { v4: Some(net("10.0.0.2/24")), v6: None });
    let error = refuse_taken("c", net("10.0.0.2/32"), &nodes).unwrap_err().to_string();
    for part in ["Node(c) cannot have the address 10.0.0.2: Node(b) has it", "DISABLE_NODE_IP_CHECK=true"] {
        assert!(error.contains(part), "{error}");
    }
    let error = refuse_taken("c", net("2001:db8::1/64"), &nodes).unwrap_err().to_string();
    assert!(error.contains("by IP6;"), "{error}");
}
