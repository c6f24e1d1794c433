//! A container that already has an interface in another network: its routes keep their precedence over the
//! new ones.

use std::net::IpAddr;

use dataplane::{AttachError, DETACH_LIMIT, Warning, Wiring, attach, check, detach};
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{RouteAttribute, RouteHeader, RouteType};

use crate::harness::{Machine, Namespace, ip, wiring};

const BOTH: [&str; 2] = ["10.0.0.1", "2001:db8:1::1"];
const FAMILIES: [AddressFamily; 2] = [AddressFamily::Inet, AddressFamily::Inet6];

impl Namespace {
    /// Gives the container another network: interfaces with addresses of both families, and default routes
    /// with these metrics. The metric 0 stands for the kernel's default.
    fn other_network(&self, metrics: [u32; 2]) {
        for (name, addr, to, metric) in [
            ("net0", "192.0.2.10", "203.0.113.0", metrics[0]),
            ("net6", "2001:db8:2::10", "2001:db8:3::", metrics[1]),
        ] {
            let bits = if ip(to).is_ipv4() { 24 } else { 64 };
            self.pair(name, ip(addr), (ip(to), bits));
            self.default_by(name, ip(to).is_ipv4(), metric);
        }
    }

    fn default_by(&self, name: &str, v4: bool, metric: u32) {
        let index = self.link(name).index;
        let anywhere = if v4 { ip("0.0.0.0") } else { ip("::") };
        let route = RouteMessageBuilder::<IpAddr>::new().destination_prefix(anywhere, 0).unwrap();
        let route = route.output_interface(index).priority(metric).build();
        self.netlink(async |handle| handle.route().add(route).execute().await.unwrap());
    }

    /// The metric and the interface of each default route of a family, in the order of precedence.
    fn defaults(&self, family: AddressFamily) -> Vec<(u32, String)> {
        let links = self.links();
        let mut found = Vec::new();
        for route in self.routes(family) {
            let header = route.header;
            let is_main = header.table == RouteHeader::RT_TABLE_MAIN && header.kind == RouteType::Unicast;
            if !is_main || header.destination_prefix_length != 0 {
                continue;
            }
            let (mut metric, mut name) = (0, String::new());
            for attribute in route.attributes {
                match attribute {
                    RouteAttribute::Priority(priority) => metric = priority,
                    RouteAttribute::Oif(index) => {
                        name = links.iter().find(|link| link.index == index).unwrap().name.clone();
                    }
                    _ => {}
                }
            }
            found.push((metric, name));
        }
        found.sort();
        found
    }
}

#[test]
fn the_default_routes_that_are_there_stay_first() {
    for (metrics, ours) in [([0, 0], [1, 1025]), ([100, 2048], [101, 2049]), ([7, 512], [8, 1024])] {
        let Some(machine) = Machine::new() else { return };
        machine.container.other_network(metrics);
        let before = FAMILIES.map(|family| machine.container.defaults(family));
        let wiring = machine.wiring(&BOTH);
        let attached = machine.attach(&wiring);
        for ((family, before), ours) in FAMILIES.iter().zip(&before).zip(ours) {
            let mut wanted = before.clone();
            wanted.push((ours, "eth0".to_owned()));
            assert_eq!(machine.container.defaults(*family), wanted, "{metrics:?}");
        }
        let told: Vec<_> = attached.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].contains("0.0.0.0/0 already (dev net0 metric")
                && told[1].contains("::/0 already (dev net6 metric"),
            "{told:?}"
        );
        machine.host.run(|| check(&wiring)).unwrap();

        machine.host.run(|| detach(&wiring.netns, "eth0", None, DETACH_LIMIT)).unwrap();
        assert_eq!(FAMILIES.map(|family| machine.container.defaults(family)), before);
    }
}

#[test]
fn a_failure_leaves_the_other_networks_routes() {
    let Some(machine) = Machine::new() else { return };
    let other = Namespace::new().unwrap();
    machine.attach(&wiring(&other, "cali9", &[BOTH[0]]));
    machine.container.other_network([0, 0]);
    let before = (machine.host.state(), machine.container.state());
    let error = machine.host.run(|| attach(&machine.wiring(&BOTH))).unwrap_err();
    assert!(matches!(error, AttachError::RouteTaken { .. }), "{error}");
    assert_eq!((machine.host.state(), machine.container.state()), before);
}

/// No route can come after one with the highest metric. This is reported before an existing pair is removed.
#[test]
fn a_route_that_none_can_be_behind_is_named() {
    let Some(machine) = Machine::new() else { return };
    machine.attach(&wiring(&machine.container, "cali0", &[BOTH[0]]));
    machine.container.other_network([u32::MAX, 0]);
    let state = || (machine.host.state(), machine.container.state());
    let before = state();
    let error = machine.host.run(|| attach(&machine.wiring(&BOTH))).unwrap_err();
    assert!(matches!(error, AttachError::NoneBehind { .. }), "{error}");
    assert!(error.to_string().contains("0.0.0.0/0 (dev net0 metric 4294967295)"), "{error}");
    assert_eq!(state(), before);
}

/// Both interfaces have a gateway with the same address, each on its own link.
#[test]
fn two_attachments_of_one_container() {
    let Some(machine) = Machine::new() else { return };
    let first = machine.wiring(&BOTH);
    let second = Wiring {
        container_interface: "eth1".into(),
        ..wiring(&machine.container, "cali1", &["10.0.0.2", "2001:db8:1::2"])
    };
    assert_eq!(machine.attach(&first).warnings, []);
    let warnings = machine.attach(&second).warnings;
    assert!(matches!(warnings[..], [Warning::Behind { .. }, Warning::Behind { .. }]), "{warnings:?}");
    for wiring in [&first, &second] {
        machine.host.run(|| check(wiring)).unwrap();
    }
    assert_eq!(machine.container.defaults(AddressFamily::Inet), [(0, "eth0".into()), (1, "eth1".into())]);
    // After the first interface is removed, the second one is complete.
    machine.host.run(|| detach(&first.netns, "eth0", None, DETACH_LIMIT)).unwrap();
    machine.host.run(|| check(&second)).unwrap();
    assert_eq!(machine.container.defaults(AddressFamily::Inet), [(1, "eth1".into())]);
    // The first interface is attached again. Now its routes come after those of the second.
    assert_eq!(machine.attach(&first).warnings.len(), 2);
    assert_eq!(machine.container.defaults(AddressFamily::Inet), [(1, "eth1".into()), (2, "eth0".into())]);
    for wiring in [&first, &second] {
        machine.host.run(|| check(wiring)).unwrap();
    }
}
