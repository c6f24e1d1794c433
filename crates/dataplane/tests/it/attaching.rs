//! The state after a container was attached.

use std::sync::atomic::{AtomicBool, Ordering};

use dataplane::{Device, HOST_MAC, Mac, Warning, Wiring, attach, check};

use crate::harness::{Machine, Namespace, ip, wiring};

const BOTH: [&str; 2] = ["10.0.0.1", "2001:db8:1::1"];

#[test]
fn the_pair_is_as_wanted() {
    let Some(machine) = Machine::new() else { return };
    let mac = Mac([0x02, 0, 0, 0xab, 0xcd, 1]);
    let wiring = Wiring { mtu: 1440, mac: Some(mac), queues: 3, ..machine.wiring(&BOTH) };
    let attached = machine.attach(&wiring);
    assert_eq!((attached.mac, attached.mtu, attached.device), (mac, 1440, Device::Veth));
    assert_eq!(attached.warnings, []);
    for (link, mac) in [(machine.host.link("cali0"), HOST_MAC), (machine.container.link("eth0"), mac)] {
        assert_eq!((link.mac, link.mtu, link.up), (mac.0.to_vec(), 1440, true), "{}", link.name);
        assert_eq!((link.queues, link.kind.as_str()), ((3, 3), "veth"), "{}", link.name);
    }
    machine.host.run(|| check(&wiring)).unwrap();
}

#[test]
fn the_kernel_chooses_what_is_not_given() {
    let Some(machine) = Machine::new() else { return };
    let attached = machine.attach(&machine.wiring(&["10.0.0.1"]));
    assert_eq!(attached.mtu, 1500);
    assert_eq!(machine.container.link("eth0").mac, attached.mac.0);
    assert_eq!(machine.host.link("cali0").mac, HOST_MAC.0);
}

#[test]
fn the_settings_are_those_of_the_families_given() {
    let Some(machine) = Machine::new() else { return };
    let ipv4 = [("ipv4/conf/cali0/route_localnet", "1"), ("ipv4/neigh/cali0/proxy_delay", "0")];
    let ipv4 =
        ipv4.into_iter().chain([("ipv4/conf/cali0/proxy_arp", "1"), ("ipv4/conf/cali0/forwarding", "1")]);
    let ipv6 = [("ipv6/conf/cali0/proxy_ndp", "1"), ("ipv6/conf/cali0/accept_dad", "0")];
    let (ipv4, ipv6): (Vec<_>, Vec<_>) = (ipv4.collect(), ipv6.into());
    machine.host.set_sysctl("ipv4/conf/default/forwarding", "0");
    let has =
        |settings: &[(&str, &str)]| settings.iter().all(|(file, value)| machine.host.sysctl(file) == *value);
    for (addresses, four, six) in [(&BOTH[..1], true, false), (&BOTH[1..], false, true), (&BOTH, true, true)]
    {
        machine.attach(&machine.wiring(addresses));
        assert_eq!((has(&ipv4), has(&ipv6)), (four, six), "{addresses:?}");
        assert_eq!(machine.host.sysctl("ipv6/conf/cali0/accept_ra"), "0", "{addresses:?}");
    }
}

#[test]
fn forwarding_in_the_container_follows_the_wiring() {
    let Some(machine) = Machine::new() else { return };
    for ip_forward in [true, false, true] {
        machine.attach(&Wiring { ip_forward, ..machine.wiring(&BOTH) });
        for file in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            assert_eq!(machine.container.sysctl(file), u8::from(ip_forward).to_string(), "{file}");
        }
    }
}

#[test]
fn a_container_without_ipv6_gets_it() {
    let Some(machine) = Machine::new() else { return };
    machine.container.set_sysctl("ipv6/conf/all/disable_ipv6", "1");
    let wiring = machine.wiring(&BOTH);
    machine.attach(&wiring);
    machine.host.run(|| check(&wiring)).unwrap();
}

#[test]
fn attaching_again_makes_everything_anew() {
    let Some(machine) = Machine::new() else { return };
    let wiring = machine.wiring(&BOTH);
    machine.attach(&wiring);
    let first = machine.host.link("cali0").index;
    machine.attach(&wiring);
    machine.host.run(|| check(&wiring)).unwrap();
    assert_ne!(machine.host.link("cali0").index, first);

    let moved = Namespace::new().unwrap();
    let wiring = crate::harness::wiring(&moved, "cali0", &BOTH);
    machine.attach(&wiring);
    machine.host.run(|| check(&wiring)).unwrap();
    assert!(!machine.container.has("eth0"), "the sandbox before still has its interface");
}

#[test]
fn the_thread_that_attaches_stays_where_it_is() {
    let Some(machine) = Machine::new() else { return };
    machine.host.run(|| {
        let here = || std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let before = here();
        attach(&machine.wiring(&BOTH)).unwrap();
        assert_eq!(here(), before);
    });
}

#[test]
fn without_host_routes_another_host_may_still_have_the_address() {
    let Some(machine) = Machine::new() else { return };
    let other = Namespace::new().unwrap();
    machine.attach(&wiring(&other, "cali9", &["10.0.0.1"]));
    let target = Wiring { want_host_routes: false, ..machine.wiring(&["10.0.0.1"]) };
    machine.attach(&target);
    machine.host.run(|| check(&target)).unwrap();
    machine.host.run(|| check(&wiring(&other, "cali9", &["10.0.0.1"]))).unwrap();
}

#[test]
fn netkit_is_made_where_the_kernel_has_it_and_veth_elsewhere() {
    let Some(machine) = Machine::new() else { return };
    let wiring = Wiring { device: Device::Netkit, mtu: 1400, ..machine.wiring(&BOTH) };
    let attached = machine.attach(&wiring);
    let kind = machine.container.link("eth0").kind;
    match attached.device {
        Device::Netkit => assert_eq!((kind.as_str(), attached.warnings), ("netkit", vec![])),
        Device::Veth => {
            assert_eq!(kind, "veth");
            assert!(matches!(attached.warnings[..], [Warning::NoNetkit { .. }]), "{:?}", attached.warnings);
        }
    }
    machine.host.run(|| check(&wiring)).unwrap();
}

#[test]
fn many_at_once_are_independent() {
    let Some(machine) = Machine::new() else { return };
    let containers: Vec<_> = (0..20).map(|_| Namespace::new().unwrap()).collect();
    let wirings: Vec<Wiring> = containers
        .iter()
        .enumerate()
        .map(|(at, container)| {
            let addresses = [format!("10.0.0.{at}"), format!("2001:db8:1::{}", at + 1)];
            wiring(container, &format!("cali{at}"), &addresses.each_ref().map(String::as_str))
        })
        .collect();
    std::thread::scope(|scope| {
        for wiring in &wirings {
            scope.spawn(|| machine.attach(wiring));
        }
    });
    for wiring in &wirings {
        machine.host.run(|| check(wiring)).unwrap();
    }
    assert!(
        machine
            .host
            .run(|| check(&Wiring { addresses: vec![ip("10.0.0.99")], ..wirings[0].clone() }))
            .is_err()
    );
}

/// A node agent that watches interfaces makes the same route, sometimes before this program.
#[test]
fn a_route_that_another_program_made_first_is_fine() {
    let Some(machine) = Machine::new() else { return };
    let wiring = machine.wiring(&BOTH);
    for _ in 0..200 {
        machine.host.run(|| dataplane::detach(&wiring.netns, "eth0", None, dataplane::DETACH_LIMIT)).unwrap();
        let done = AtomicBool::new(false);
        let first = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| machine.host.route_as_soon_as_up("cali0", ip(BOTH[0]), &done));
            machine.attach(&wiring);
            done.store(true, Ordering::Relaxed);
            watcher.join().unwrap()
        });
        machine.host.run(|| check(&wiring)).unwrap();
        if first {
            return;
        }
    }
    panic!("the other program was never first");
}
