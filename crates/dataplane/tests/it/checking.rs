//! A check finds everything that was changed, and nothing else.

use std::net::IpAddr;

use dataplane::{CheckError, DETACH_LIMIT, Mac, Wiring, attach, check, detach};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily::{self, Inet, Inet6};
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::route::{RouteAttribute, RouteHeader};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use crate::harness::{Machine, Namespace, ip};

fn change(
    space: &Namespace,
    link: &str,
    what: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec> + Send,
) {
    let message = what(LinkUnspec::new_with_index(space.link(link).index)).build();
    space.netlink(async |handle| handle.link().change(message).execute().await.unwrap());
}

/// Deletes the route to a destination from the main table; `None` stands for the default route.
fn delete_route(space: &Namespace, family: AddressFamily, destination: Option<&str>) {
    let wanted = destination.map(|destination| ip(destination).into());
    let found = space.routes(family).into_iter().find(|route| {
        let to = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Destination(to) => Some(to.clone()),
            _ => None,
        });
        to == wanted && route.header.table == RouteHeader::RT_TABLE_MAIN
    });
    space.netlink(async |handle| handle.route().del(found.unwrap()).execute().await.unwrap());
}

fn delete_address(space: &Namespace, address: IpAddr) {
    space.netlink(async |handle| {
        let found: Vec<_> = handle.address().get().execute().try_collect().await.unwrap();
        let is =
            |attribute: &AddressAttribute| matches!(attribute, AddressAttribute::Address(a) if *a == address);
        let message = found.into_iter().find(|message| message.attributes.iter().any(is)).unwrap();
        handle.address().del(message).execute().await.unwrap();
    });
}

#[test]
fn each_deviation_is_named() {
    let Some(machine) = Machine::new() else { return };
    let (host, container) = (&machine.host, &machine.container);
    let netns = container.path().display().to_string();
    let mac = Mac([2, 0, 0, 0, 0, 1]);
    let wiring = Wiring { mtu: 1400, mac: Some(mac), ..machine.wiring(&["10.0.0.1", "2001:db8:1::1"]) };
    type Damage<'a> = Box<dyn Fn() + 'a>;
    let setting = |space: &'static str, file: &'static str, value: &'static str| -> Damage<'_> {
        Box::new(move || if space == "host" { host } else { container }.set_sysctl(file, value))
    };
    let cases: Vec<(Damage<'_>, String)> = vec![
        (
            Box::new(|| delete_route(container, Inet, None)),
            format!("no route to 0.0.0.0/0 via 169.254.1.1 dev eth0 in {netns}"),
        ),
        (
            Box::new(|| delete_route(container, Inet6, None)),
            format!("no route to ::/0 via fe80::ecee:eeff:feee:eeee dev eth0 in {netns}"),
        ),
        (
            Box::new(|| delete_route(host, Inet, Some("10.0.0.1"))),
            "no route to 10.0.0.1/32 dev cali0 in the host".into(),
        ),
        (
            Box::new(|| delete_route(host, Inet6, Some("2001:db8:1::1"))),
            "no route to 2001:db8:1::1/128 dev cali0 in the host".into(),
        ),
        (
            Box::new(|| delete_address(container, ip("2001:db8:1::1"))),
            "eth0 lacks address 2001:db8:1::1/128".into(),
        ),
        (
            Box::new(|| delete_address(host, ip("fe80::ecee:eeff:feee:eeee"))),
            "cali0 has no IPv6 link-local address".into(),
        ),
        (
            Box::new(|| change(container, "eth0", |link| link.mtu(1300))),
            "eth0 has MTU 1300 instead of 1400".into(),
        ),
        (
            Box::new(|| change(host, "cali0", |link| link.mtu(1300))),
            "cali0 has MTU 1300 instead of 1400".into(),
        ),
        (
            Box::new(|| change(host, "cali0", |link| link.address(vec![2, 0, 0, 0, 0, 9]))),
            "cali0 has hardware address 02:00:00:00:00:09 instead of ee:ee:ee:ee:ee:ee".into(),
        ),
        (
            Box::new(|| change(container, "eth0", |link| link.address(vec![2, 0, 0, 0, 0, 9]))),
            "eth0 has hardware address 02:00:00:00:00:09 instead of 02:00:00:00:00:01".into(),
        ),
        (
            setting("host", "ipv4/conf/cali0/route_localnet", "0"),
            "/proc/sys/net/ipv4/conf/cali0/route_localnet is 0 instead of 1 in the host".into(),
        ),
        (
            setting("host", "ipv4/conf/cali0/proxy_arp", "0"),
            "/proc/sys/net/ipv4/conf/cali0/proxy_arp is 0 instead of 1 in the host".into(),
        ),
        (
            setting("host", "ipv4/conf/cali0/forwarding", "0"),
            "/proc/sys/net/ipv4/conf/cali0/forwarding is 0 instead of 1 in the host".into(),
        ),
        (
            setting("host", "ipv6/conf/cali0/proxy_ndp", "0"),
            "/proc/sys/net/ipv6/conf/cali0/proxy_ndp is 0 instead of 1 in the host".into(),
        ),
        (
            setting("host", "ipv6/conf/cali0/forwarding", "0"),
            "/proc/sys/net/ipv6/conf/cali0/forwarding is 0 instead of 1 in the host".into(),
        ),
        (
            setting("host", "ipv6/conf/cali0/accept_ra", "2"),
            "/proc/sys/net/ipv6/conf/cali0/accept_ra is 2 instead of 0 in the host".into(),
        ),
        (
            setting("container", "ipv4/ip_forward", "1"),
            format!("/proc/sys/net/ipv4/ip_forward is 1 instead of 0 in {netns}"),
        ),
        (
            setting("container", "ipv6/conf/all/forwarding", "1"),
            format!("/proc/sys/net/ipv6/conf/all/forwarding is 1 instead of 0 in {netns}"),
        ),
    ];
    for (damage, expected) in cases {
        machine.attach(&wiring);
        host.run(|| check(&wiring)).unwrap();
        damage();
        let Err(CheckError::Deviates(found)) = host.run(|| check(&wiring)) else {
            panic!("not found: {expected}")
        };
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, [expected]);
    }
}

/// Damage that destroys other parts, too, is also reported.
#[test]
fn greater_damage_is_named_too() {
    let Some(machine) = Machine::new() else { return };
    let wiring = machine.wiring(&["10.0.0.1"]);
    let found = || machine.host.run(|| check(&wiring)).map_err(|error| error.to_string());
    machine.attach(&wiring);

    delete_address(&machine.container, ip("10.0.0.1"));
    assert!(found().unwrap_err().contains("eth0 lacks address 10.0.0.1/32"));

    machine.attach(&wiring);
    change(&machine.host, "cali0", LinkMessageBuilder::down);
    assert!(found().unwrap_err().contains("cali0 is down"));

    machine.attach(&wiring);
    machine.host.run(|| detach(&wiring.netns, "eth0", None, DETACH_LIMIT)).unwrap();
    let error = found().unwrap_err();
    assert!(
        error.contains("no interface cali0 in the host") && error.contains("no interface eth0 in"),
        "{error}"
    );

    let other = Namespace::new().unwrap();
    machine.attach(&crate::harness::wiring(&other, "cali0", &["10.0.0.1"]));
    machine
        .host
        .run(|| attach(&Wiring { host_interface: "cali1".into(), want_host_routes: false, ..wiring.clone() }))
        .unwrap();
    assert!(found().unwrap_err().contains("cali0 of the host is not the other side of the container's eth0"));
}
