//! Attachments that are refused: the errors, and that nothing is left behind.

use std::path::Path;

use dataplane::{AccessError, AttachError, Mac, Wiring, attach, check};

use crate::harness::{Machine, Namespace, ip, wiring};

const BOTH: [&str; 2] = ["10.0.0.1", "2001:db8:1::1"];

fn refused(machine: &Machine, wiring: &Wiring) -> AttachError {
    machine.host.run(|| attach(wiring)).unwrap_err()
}

#[test]
fn a_wiring_that_no_machine_can_make_is_refused_before_anything_is_touched() {
    let good = || Wiring { addresses: vec![ip("10.0.0.1")], ..Wiring::new("cali0", "eth0", "/nowhere") };
    let cases = [
        (
            Wiring { host_interface: "cali0123456789ab".into(), ..good() },
            "invalid host interface \"cali0123456789ab\"",
        ),
        (Wiring { host_interface: String::new(), ..good() }, "invalid host interface \"\""),
        (Wiring { host_interface: "all".into(), ..good() }, "invalid host interface \"all\""),
        (
            Wiring { container_interface: "../eth0".into(), ..good() },
            "invalid container interface \"../eth0\"",
        ),
        (Wiring { container_interface: "..".into(), ..good() }, "invalid container interface \"..\""),
        (Wiring { container_interface: "eth 0".into(), ..good() }, "invalid container interface \"eth 0\""),
        (Wiring { mtu: 67, ..good() }, "invalid MTU \"67\""),
        (Wiring { mtu: 65536, ..good() }, "invalid MTU \"65536\""),
        (Wiring { mtu: 1279, addresses: vec![ip("2001:db8::1")], ..good() }, "invalid MTU \"1279\""),
        (Wiring { queues: 4097, ..good() }, "invalid number of queues \"4097\""),
        (
            Wiring { mac: Some(Mac([1, 0, 0, 0, 0, 0])), ..good() },
            "invalid MAC address \"01:00:00:00:00:00\"",
        ),
        (Wiring { mac: Some(Mac([0; 6])), ..good() }, "invalid MAC address \"00:00:00:00:00:00\""),
        (Wiring { addresses: vec![ip("0.0.0.0")], ..good() }, "invalid address \"0.0.0.0\""),
        (Wiring { addresses: vec![ip("ff02::1")], ..good() }, "invalid address \"ff02::1\""),
        (Wiring { addresses: vec![ip("::ffff:10.0.0.1")], ..good() }, "invalid address \"::ffff:10.0.0.1\""),
        (
            Wiring { addresses: vec![ip("10.0.0.1"); 2], ..good() },
            "invalid address \"10.0.0.1\": it was given twice",
        ),
    ];
    for (wiring, text) in cases {
        let error = attach(&wiring).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
    let error = attach(&good()).unwrap_err();
    assert!(
        matches!(error, AttachError::Access(AccessError::NoNamespace(ref path)) if path == Path::new("/nowhere"))
    );
}

#[test]
fn a_taken_route_is_named_and_nothing_is_left() {
    let Some(machine) = Machine::new() else { return };
    for address in ["10.0.0.2", "2001:db8:1::2"] {
        let other = Namespace::new().unwrap();
        let first = wiring(&other, "cali9", &[address]);
        machine.attach(&first);
        machine.container.set_sysctl("ipv6/conf/all/disable_ipv6", "1");
        let before = (machine.host.state(), machine.container.state());
        let mut second = Wiring { ip_forward: true, ..machine.wiring(&BOTH) };
        second.addresses.push(ip(address));
        let error = refused(&machine, &second);
        let AttachError::RouteTaken { destination, device, interface } = &error else { panic!("{error}") };
        assert_eq!(
            (destination.addr(), device.as_str(), interface.as_str()),
            (ip(address), "cali9", "cali0")
        );
        assert_eq!((machine.host.state(), machine.container.state()), before, "{address}");
        machine.host.run(|| check(&first)).unwrap();
        machine.host.run(|| dataplane::detach(&first.netns, "eth0", None, dataplane::DETACH_LIMIT)).unwrap();
        machine.attach(&second);
        machine.host.run(|| dataplane::detach(&second.netns, "eth0", None, dataplane::DETACH_LIMIT)).unwrap();
    }
}

#[test]
fn what_the_kernel_refuses_half_way_leaves_nothing() {
    let Some(machine) = Machine::new() else { return };
    let before = (machine.host.state(), machine.container.state());
    let gateway = Wiring { routes: vec!["169.254.1.1/32".parse().unwrap()], ..machine.wiring(&BOTH) };
    // The route to the gateway exists already when the same route is added again.
    let error = refused(&machine, &Wiring { routes: [&gateway.routes[..]; 2].concat(), ..gateway.clone() })
        .to_string();
    assert!(error.contains("refused to route 169.254.1.1/32 through 169.254.1.1 by eth0"), "{error}");
    assert_eq!((machine.host.state(), machine.container.state()), before);

    machine.host.set_sysctl("ipv6/conf/default/addr_gen_mode", "1");
    let error = refused(&machine, &machine.wiring(&BOTH));
    assert!(matches!(error, AttachError::NoLinkLocal { .. }), "{error}");
    assert_eq!((machine.host.state(), machine.container.state()), before);
}

#[test]
fn taken_names_are_told_apart() {
    let Some(machine) = Machine::new() else { return };
    machine.container.pair("eth0", ip("192.0.2.2"), (ip("198.51.100.0"), 24));
    let before = (machine.host.state(), machine.container.state());
    let error = refused(&machine, &machine.wiring(&BOTH));
    let AttachError::NameTaken { interface, namespace } = &error else { panic!("{error}") };
    assert_eq!(
        (interface.as_str(), namespace.as_str()),
        ("eth0", machine.container.path().to_str().unwrap())
    );
    assert_eq!((machine.host.state(), machine.container.state()), before);

    if !machine.host.bridge("cali0") {
        return eprintln!("skipped the host's half: the kernel has no bridges");
    }
    let before = (machine.host.state(), machine.container.state());
    let error = refused(&machine, &machine.wiring(&BOTH));
    let AttachError::NameTaken { interface, namespace } = &error else { panic!("{error}") };
    assert_eq!((interface.as_str(), namespace.as_str()), ("cali0", "the host"));
    assert_eq!((machine.host.state(), machine.container.state()), before);
}

#[test]
fn the_hosts_own_namespace_and_plain_files_are_no_container() {
    let Some(machine) = Machine::new() else { return };
    let before = machine.host.state();
    let error = refused(&machine, &Wiring::new("cali0", "eth0", machine.host.path()));
    assert!(matches!(error, AttachError::Access(AccessError::SameNamespace(_))), "{error}");
    let error = refused(&machine, &Wiring::new("cali0", "eth0", "/proc/version"));
    assert!(matches!(error, AttachError::Access(AccessError::NotANamespace(_))), "{error}");
    assert_eq!(machine.host.state(), before);
}

#[test]
fn without_the_right_it_says_which_is_missing() {
    let Some(machine) = Machine::new() else { return };
    let none = rustix::thread::CapabilitySet::empty();
    let error = machine.host.run(|| {
        let mut capabilities = rustix::thread::capabilities(None).unwrap();
        (capabilities.effective, capabilities.permitted) = (none, none);
        rustix::thread::set_capabilities(None, capabilities).unwrap();
        attach(&machine.wiring(&BOTH)).unwrap_err()
    });
    assert!(matches!(error, AttachError::Access(AccessError::NotPermitted { .. })), "{error}");
    assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
}
