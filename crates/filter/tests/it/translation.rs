//! What the outside sees of pods and of the node.

use filter::{Exclusions, Interfaces, Nft, Settings};

use crate::lab::{Lab, NODE, OUTSIDE, POD1, POD2, caller, datagram, socket};
use crate::world::addr;

/// As whom a pod is seen at an address of the outside.
fn seen(lab: &Lab, pod: usize, at: &str) -> String {
    let pod = [&lab.pod1, &lab.pod2][pod];
    let caller = caller(pod, &lab.outside, at).unwrap_or_else(|| panic!("nobody comes through to {at}"));
    caller.ip().to_string()
}

#[test]
fn packets_that_leave_the_cluster_get_the_nodes_address() {
    let Some(lab) = Lab::new() else { return };
    // Addresses of the outside in a pool, and of other nodes.
    lab.outside.sh("ip addr add 10.84.0.9/32 dev eth0; ip -6 addr add 2001:db8:82:9::9/128 dev eth0 nodad
         ip addr add 10.77.1.2/32 dev eth0; ip -6 addr add 2001:db8:77::2/128 dev eth0 nodad
         ip addr add 10.85.0.9/32 dev eth0");
    lab.node.sh("ip route add 10.84.0.9 via 10.77.1.9; ip -6 route add 2001:db8:82:9::9 via 2001:db8:77::9
         ip route add 10.85.0.9 via 10.77.1.9");
    let mut nft = Nft::default();
    let mut rules = lab.rules();
    lab.keep(&mut nft, &rules);
    let (in_pools, nodes) = (["10.84.0.9", "2001:db8:82:9::9"], ["10.77.1.2", "2001:db8:77::2"]);
    for family in 0..2 {
        assert_eq!(seen(&lab, 0, OUTSIDE[family]), NODE[family]);
        assert_eq!(seen(&lab, 1, OUTSIDE[family]), POD2[family]);
        assert_eq!(seen(&lab, 0, in_pools[family]), POD1[family]);
        assert_eq!(seen(&lab, 0, nodes[family]), NODE[family]);
    }
    // A pool of services is not part of the cluster's pods.
    assert_eq!(seen(&lab, 0, "10.85.0.9"), NODE[0]);

    rules.settings.exclusions = Exclusions::PoolsAndNodes;
    lab.keep(&mut nft, &rules);
    for family in 0..2 {
        assert_eq!(seen(&lab, 0, OUTSIDE[family]), NODE[family]);
        assert_eq!(seen(&lab, 0, nodes[family]), POD1[family]);
    }

    rules.settings = Settings { nat_interfaces: Interfaces::parse("eth1").unwrap(), ..Settings::default() };
    lab.keep(&mut nft, &rules);
    assert_eq!(seen(&lab, 0, OUTSIDE[0]), POD1[0]);
    rules.settings.nat_interfaces = Interfaces::parse("et+").unwrap();
    lab.keep(&mut nft, &rules);
    assert_eq!(seen(&lab, 0, OUTSIDE[0]), NODE[0]);
}

#[test]
fn an_address_and_ports_are_chosen() {
    let Some(lab) = Lab::new() else { return };
    lab.node.sh("ip addr add 10.77.1.100/32 dev eth0; ip -6 addr add 2001:db8:77::100/128 dev eth0 nodad preferred_lft 0");
    let mut nft = Nft::default();
    let mut rules = lab.rules();
    for (chosen, family) in [(["10.77.1.100", NODE[1]], 0), ([NODE[0], "2001:db8:77::100"], 1)] {
        rules.settings.nat_address = Some(addr(chosen[family]));
        rules.settings.nat_ports = Some((33_000, 33_007));
        lab.keep(&mut nft, &rules);
        for family in 0..2 {
            for _ in 0..4 {
                let caller = caller(&lab.pod1, &lab.outside, OUTSIDE[family]).unwrap();
                assert_eq!(caller.ip(), addr(chosen[family]));
                assert!((33_000..=33_007).contains(&caller.port()), "{caller}");
            }
            let from = datagram(
                &socket(&lab.pod1, POD1[family], 0),
                &socket(&lab.outside, OUTSIDE[family], 0),
                true,
            );
            assert!((33_000..=33_007).contains(&from.unwrap().port()), "{from:?}");
        }
        // Ports are for TCP and UDP; others are translated, too.
        lab.pod1.sh(&format!("ping -c 1 -W 5 {}", OUTSIDE[family]));
    }
    rules.settings.nat_address = None;
    lab.keep(&mut nft, &rules);
    let caller = caller(&lab.pod1, &lab.outside, OUTSIDE[0]).unwrap();
    assert!(caller.ip() == addr(NODE[0]) && (33_000..=33_007).contains(&caller.port()), "{caller}");
}

/// A process of the node that speaks from the node's address into a tunnel gets the tunnel's address, and for
/// UDP a port by which the answer comes through.
#[test]
fn the_nodes_own_packets_into_a_tunnel_get_the_tunnels_address() {
    let Some(lab) = Lab::new() else { return };
    let Some(other) = crate::harness::Namespace::new() else { return };
    for (device, tunnel, pod, family) in [
        ("vxlan.calico", "10.81.1.1", "10.81.9.9", ""),
        ("vxlan-v6.calico", "2001:db8:81:1::1", "2001:db8:81:9::9", "-6"),
    ] {
        lab.node.cable(device, &other, device);
        let (bits, nodad) = if family.is_empty() { (32, "") } else { (128, "nodad") };
        lab.node.sh(&format!(
            "ip {family} addr add {tunnel}/{bits} dev {device} {nodad}; ip {family} route add {pod} dev {device}"
        ));
        other.sh(&format!(
            "ip {family} addr add {pod}/{bits} dev {device} {nodad}; ip {family} route add {tunnel} dev {device}"
        ));
    }
    lab.node.sh("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0");
    let mut nft = Nft::default();
    lab.keep(&mut nft, &lab.rules());
    for (tunnel, pod, own) in
        [("10.81.1.1", "10.81.9.9", NODE[0]), ("2001:db8:81:1::1", "2001:db8:81:9::9", NODE[1])]
    {
        for own in [own, tunnel] {
            let from = datagram(&socket(&lab.node, own, 0), &socket(&other, pod, 0), true).unwrap();
            assert_eq!(from.ip(), addr(tunnel));
            assert!(own == tunnel || from.port() > 4789, "{from}");
        }
        // The kernel's own choice is the tunnel's address, and stays.
        assert_eq!(caller(&lab.node, &other, pod).unwrap().ip(), addr(tunnel));
    }
}
