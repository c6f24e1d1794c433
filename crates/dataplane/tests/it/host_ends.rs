//! Finding out to whom a host's end belongs, and removing only that end.

use std::path::Path;

use dataplane::{
    AttachError, DETACH_LIMIT, HostEnd, Replaces, Wiring, attach, check, detach, host_end, host_end_of,
    host_ends_to, remove,
};

use crate::harness::{Machine, Namespace, ip, wiring};

const BOTH: [&str; 2] = ["10.0.0.1", "2001:db8:1::1"];

fn noted(machine: &Machine, alias: &str) -> Wiring {
    Wiring { alias: Some(alias.into()), ..machine.wiring(&BOTH) }
}

fn end(machine: &Machine, name: &str) -> Option<HostEnd> {
    machine.host.run(|| host_end(name)).unwrap()
}

#[test]
fn an_end_tells_whose_it_is_and_what_leads_to_it() {
    let Some(machine) = Machine::new() else { return };
    assert_eq!(end(&machine, "cali0"), None);
    for name in ["lo", "", "a-name-of-more-than-15-bytes"] {
        assert_eq!(end(&machine, name), None, "{name}");
    }
    machine.attach(&noted(&machine, "c1"));
    let found = end(&machine, "cali0").unwrap();
    assert_eq!((found.interface.as_str(), found.alias.as_deref()), ("cali0", Some("c1")));
    assert_eq!(found.index, machine.host.link("cali0").index);
    assert_eq!((found.addresses.clone(), found.other_side.as_deref()), (BOTH.map(ip).to_vec(), Some("eth0")));
    let inside = |name: &str| machine.host.run(|| host_end_of(&machine.container.path(), name)).unwrap();
    assert_eq!(inside("eth0"), Some(found));
    assert_eq!(inside("eth1"), None);
    assert_eq!(machine.host.run(|| host_end_of(Path::new("/nowhere"), "eth0")).unwrap(), None);

    let mute = Wiring { want_host_routes: false, ..machine.wiring(&BOTH) };
    machine.attach(&mute);
    let found = end(&machine, "cali0").unwrap();
    assert_eq!((found.alias, found.addresses), (None, vec![]));
}

/// An end is removed by its index: another interface that has taken its name stays.
#[test]
fn an_end_goes_by_its_number() {
    let Some(machine) = Machine::new() else { return };
    machine.attach(&noted(&machine, "c1"));
    let first = end(&machine, "cali0").unwrap();
    machine.attach(&noted(&machine, "c2"));
    assert!(!machine.host.run(|| remove(&first, DETACH_LIMIT)).unwrap());
    let second = end(&machine, "cali0").unwrap();
    assert_eq!(second.alias.as_deref(), Some("c2"));
    assert!(machine.host.run(|| remove(&second, DETACH_LIMIT)).unwrap());
    assert!(!machine.host.has("cali0") && !machine.container.has("eth0"));
    assert!(!machine.host.run(|| remove(&second, DETACH_LIMIT)).unwrap());
}

#[test]
fn only_the_pair_that_is_meant_is_replaced() {
    let Some(machine) = Machine::new() else { return };
    let wiring_of =
        |container: &Namespace, replaces| Wiring { replaces, ..wiring(container, "cali0", &BOTH) };
    machine.attach(&wiring_of(&machine.container, Replaces::None));
    let first = end(&machine, "cali0").unwrap();
    let next = Namespace::new().unwrap();
    for replaces in [Replaces::None, Replaces::Index(first.index + 1000)] {
        let error = machine.host.run(|| attach(&wiring_of(&next, replaces))).unwrap_err();
        assert!(
            matches!(&error, AttachError::NameTaken { interface, .. } if interface == "cali0"),
            "{error}"
        );
        assert_eq!(end(&machine, "cali0"), Some(first.clone()));
        assert!(!next.has("eth0"));
    }
    machine.attach(&wiring_of(&next, Replaces::Index(first.index)));
    assert!(next.has("eth0") && !machine.container.has("eth0"));
}

/// Ends are found by the addresses that are routed to them, whatever their names. A route to an interface
/// that is no pair does not count.
#[test]
fn ends_are_found_by_what_is_routed_to_them() {
    let Some(machine) = Machine::new() else { return };
    let next = Namespace::new().unwrap();
    machine.attach(&noted(&machine, "c1"));
    machine.attach(&wiring(&next, "cali1", &["10.0.0.2"]));
    let to = |addresses: &[&str]| {
        let addresses: Vec<_> = addresses.iter().map(|text| ip(text)).collect();
        let ends = machine.host.run(|| host_ends_to(&addresses)).unwrap();
        ends.into_iter().map(|end| end.interface).collect::<Vec<_>>()
    };
    assert_eq!(to(&BOTH), ["cali0"]);
    assert_eq!(to(&["10.0.0.3", "10.0.0.2", BOTH[1]]), ["cali1", "cali0"]);
    assert!(to(&[]).is_empty() && to(&["10.0.0.3"]).is_empty());
}

/// The request is refused before the pair that it would replace is removed.
#[test]
fn an_address_that_leads_elsewhere_is_refused_before_anything_goes() {
    let Some(machine) = Machine::new() else { return };
    let (other, next) = (Namespace::new().unwrap(), Namespace::new().unwrap());
    machine.attach(&noted(&machine, "c1"));
    // With an IPv6 address, whose gateway is waited for: no address of the interface comes later.
    machine.attach(&wiring(&other, "cali1", &["10.0.0.2", "2001:db8:1::2"]));
    let before = machine.host.state();
    let error = machine.host.run(|| attach(&wiring(&next, "cali0", &["10.0.0.2"]))).unwrap_err();
    assert!(matches!(&error, AttachError::RouteTaken { device, .. } if device == "cali1"), "{error}");
    assert_eq!(machine.host.state(), before);
}

/// A node agent may not have read yet that an address is here now. Its route gives way; nobody else's does.
#[test]
fn only_a_node_agents_route_gives_way() {
    let Some(machine) = Machine::new() else { return };
    let wiring = machine.wiring(&BOTH);
    let route = |family: &str, rest: &str| format!("ip -{family} route add {rest}");
    machine.host.sh("ip link add vxlan.calico type vxlan id 4096 dstport 4789
         ip link set vxlan.calico addrgenmode none; ip link set vxlan.calico up");
    let ways = [
        ["10.0.0.1 via 192.0.2.9 dev uplink onlink", "2001:db8:1::1 via 2001:db8::9 dev uplink6 onlink"],
        ["10.0.0.1 dev vxlan.calico scope link", "2001:db8:1::1 dev vxlan.calico"],
        ["blackhole 10.0.0.1", "blackhole 2001:db8:1::1"],
        ["unreachable 10.0.0.1", "unreachable 2001:db8:1::1"],
    ];
    for way in ways {
        for stale in [false, true] {
            if stale {
                machine.attach(&Wiring { want_host_routes: false, ..wiring.clone() });
            }
            for (family, rest) in ["4", "6"].into_iter().zip(way) {
                machine.host.sh(&route(family, &format!("{rest} proto 81")));
            }
            machine.attach(&wiring);
            machine.host.run(|| check(&wiring)).unwrap();
            let left = machine.host.sh("ip route show proto 81; ip -6 route show proto 81");
            assert_eq!(left, "", "{way:?} {stale}");
            machine.host.run(|| detach(&wiring.netns, "eth0", None, DETACH_LIMIT)).unwrap();
        }
        for (family, rest) in ["4", "6"].into_iter().zip(way) {
            machine.host.sh(&route(family, &format!("{rest} proto static")));
            let before = machine.host.state();
            let error = machine.host.run(|| attach(&wiring)).unwrap_err();
            assert!(matches!(&error, AttachError::RouteTaken { .. }), "{error}");
            assert_eq!(machine.host.state(), before, "{way:?}");
            machine.host.sh(&route(family, &format!("{rest} proto static")).replace(" add ", " del "));
        }
    }
    // Whoever marks a route to a container so, the container keeps its address.
    let other = Namespace::new().unwrap();
    machine.attach(&Wiring { want_host_routes: false, ..self::wiring(&other, "cali9", &BOTH[..1]) });
    machine.host.sh("ip route add 10.0.0.1 dev cali9 proto 81");
    let error = machine.host.run(|| attach(&wiring)).unwrap_err();
    assert!(matches!(&error, AttachError::RouteTaken { device, .. } if device == "cali9"), "{error}");
}
