//! Which interfaces and addresses are found, and from which address the host speaks.

use api::Family;
use host::{Address, HostError, Interface};

use crate::namespace::Namespace;

fn find<'a>(all: &'a [Interface], name: &str) -> &'a Interface {
    all.iter().find(|interface| interface.name == name).unwrap_or_else(|| panic!("no {name} in {all:?}"))
}

/// A host with two interfaces, and a router that both lead to.
fn host() -> Option<(Namespace, Namespace)> {
    let (host, router) = (Namespace::new()?, Namespace::new()?);
    host.cable("eth0", &router, "left");
    host.cable("eth1", &router, "right");
    router.sh("ip addr add 10.1.0.1/24 dev left; ip addr add 10.2.0.1/24 dev right; ip addr add fd01::1/64 dev left");
    host.sh("ip link set eth0 mtu 1400
         ip addr add 10.1.0.2/24 dev eth0
         ip addr add 10.1.0.3/24 dev eth0
         ip addr add 10.9.0.1/32 dev eth0 scope link
         ip addr add fd01::2/64 dev eth0
         ip addr add 10.2.0.2/24 dev eth1
         ip link add idle0 type veth peer name idle1");
    Some((host, router))
}

#[test]
fn interfaces_are_told_with_their_addresses() {
    let Some((host, _router)) = host() else { return };
    let all = host.kernel(async |kernel| kernel.interfaces().await.unwrap());
    let eth0 = find(&all, "eth0");
    assert_eq!((eth0.mtu, eth0.is_up), (1400, true));
    assert!(!find(&all, "idle0").is_up);
    assert_eq!(find(&all, "lo").addresses[0].net, "127.0.0.1/8".parse().unwrap());
    let told =
        |net: &str, is_secondary, is_global| Address { net: net.parse().unwrap(), is_secondary, is_global };
    let v4: Vec<Address> =
        eth0.addresses.iter().copied().filter(|found| found.net.addr().is_ipv4()).collect();
    assert_eq!(
        v4,
        [
            told("10.9.0.1/32", false, false),
            told("10.1.0.2/24", false, true),
            told("10.1.0.3/24", true, true)
        ]
    );
    assert!(eth0.addresses.contains(&told("fd01::2/64", false, true)), "{eth0:?}");
    assert!(all.windows(2).all(|pair| pair[0].index < pair[1].index));
}

#[test]
fn the_source_is_that_of_the_route() {
    let Some((host, _router)) = host() else { return };
    let source = |addr: &str| {
        let addr = addr.parse().unwrap();
        host.kernel(async |kernel| kernel.source_to(addr).await.unwrap())
    };
    let default = |of| host.kernel(async |kernel| kernel.default_source(of).await.unwrap());
    let all = host.kernel(async |kernel| kernel.interfaces().await.unwrap());
    let [eth0, eth1, lo] = ["eth0", "eth1", "lo"].map(|name| find(&all, name).index);
    let at = |addr: &str, index| Some((addr.parse().unwrap(), index));
    // Nobody knows the way yet.
    assert_eq!(source("192.0.2.7"), None);
    assert_eq!((default(Family::V4), default(Family::V6)), (None, None));
    // The default route of the lower metric counts, and what it says about the source.
    host.sh("ip route add default via 10.2.0.1 metric 20; ip route add default via 10.1.0.1 metric 10");
    assert_eq!(default(Family::V4), at("10.1.0.2", eth0));
    host.sh("ip route replace default via 10.1.0.1 metric 10 src 10.1.0.3");
    assert_eq!(default(Family::V4), at("10.1.0.3", eth0));
    host.sh("ip route del default metric 10; ip route add blackhole 198.51.100.0/24");
    assert_eq!(default(Family::V4), at("10.2.0.2", eth1));
    assert_eq!(source("192.0.2.7"), at("10.2.0.2", eth1));
    assert_eq!(source("10.1.0.9"), at("10.1.0.2", eth0));
    assert_eq!(source("198.51.100.1"), None);
    assert_eq!(source("10.1.0.2"), at("10.1.0.2", lo));
    host.sh("ip -6 route add default via fd01::1");
    assert_eq!(default(Family::V6), at("fd01::2", eth0));
    assert_eq!(source("2001:db8::7"), at("fd01::2", eth0));
    // Several gateways: the first one's interface.
    host.sh("ip route replace default metric 20 nexthop via 10.1.0.1 nexthop via 10.2.0.1");
    assert_eq!(default(Family::V4), at("10.1.0.2", eth0));
    let by = host.kernel(async |kernel| kernel.advertised_defaults().await.unwrap());
    assert!(by.is_empty(), "{by:?}");
    host.sh("ip -6 route replace default via fd01::1 proto ra");
    let by = host.kernel(async |kernel| kernel.advertised_defaults().await.unwrap());
    assert_eq!(by, [eth0]);
}

#[test]
fn errors_say_what_was_tried() {
    let error = HostError::System { doing: "open a netlink socket", source: std::io::Error::other("why") };
    assert_eq!(
        error.to_string(),
        "cannot open a netlink socket: why; look at the limits of the process (ulimit -a)"
    );
}
