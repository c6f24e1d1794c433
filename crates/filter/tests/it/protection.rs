//! What pods and strangers may send.

use std::net::{IpAddr, UdpSocket};
use std::os::fd::OwnedFd;

use filter::{Nft, Rules};
use rustix::net::{self, AddressFamily, SocketType};

use crate::harness::Namespace;
use crate::lab::{Lab, NODE, OUTSIDE, POD1, POD2, datagram, foreign_socket, patience, socket};
use crate::world::addr;

#[test]
fn a_pod_sends_from_its_own_addresses_only() {
    let Some(lab) = Lab::new() else { return };
    let mut nft = Nft::default();
    let mut rules = lab.rules();
    let foreign = ["10.82.7.7", "2001:db8:82:7::7"];
    let spoofers = foreign.map(|at| foreign_socket(&lab.pod2, at));
    let comes = |family: usize, from: &UdpSocket, is_expected| {
        datagram(from, &socket(&lab.outside, OUTSIDE[family], 0), is_expected).is_some()
    };
    let passes = |family, from: &UdpSocket| comes(family, from, true);
    let stays = |family, from: &UdpSocket| !comes(family, from, false);
    // Without the table, the host lets them pass. IPv6 has no check of the way back.
    assert!(passes(1, &spoofers[1]));
    lab.keep(&mut nft, &rules);
    for family in 0..2 {
        assert!(passes(family, &socket(&lab.pod2, POD2[family], 0)));
        assert!(stays(family, &spoofers[family]));
        // Nor to the node itself.
        let node = socket(&lab.node, NODE[family], 0);
        assert!(datagram(&spoofers[family], &node, false).is_none());
        assert!(datagram(&socket(&lab.pod2, POD2[family], 0), &node, true).is_some());
    }

    // A pod may be given more, and nobody else has it then.
    let name = filter::Interface::parse("cali2").unwrap();
    let networks = rules.pods.get_mut(&name).unwrap();
    networks.extend(["10.82.7.0/24", "2001:db8:82:7::/64"].map(crate::world::cidr));
    lab.node.sh("ip route add 10.82.7.7 dev cali2");
    lab.keep(&mut nft, &rules);
    for (family, spoofer) in spoofers.iter().enumerate() {
        assert!(passes(family, spoofer));
        assert!(stays(family, &foreign_socket(&lab.pod1, foreign[family])));
    }

    // Where no rule names the interface, the host's routes by it alone say which addresses are the pod's.
    rules.pods.remove(&name);
    lab.node.sh("ip route del 10.82.7.7 dev cali2");
    lab.keep(&mut nft, &rules);
    for family in 0..2 {
        assert!(passes(family, &socket(&lab.pod2, POD2[family], 0)));
        assert!(stays(family, &spoofers[family]));
        assert!(passes(family, &socket(&lab.pod1, POD1[family], 0)));
    }
    lab.pod2.sh("ip -6 neigh flush dev eth0; ping -c 1 -W 5 fe80::1%eth0");
}

/// A packet of VXLAN with a network's number.
pub fn vxlan(number: u32) -> Vec<u8> {
    [&[8, 0, 0, 0][..], &(number << 8).to_be_bytes(), &[0; 20]].concat()
}

/// Whether a packet arrives, which ought to or not.
pub fn arrives(from: &UdpSocket, to: &UdpSocket, packet: &[u8], is_expected: bool) -> bool {
    from.send_to(packet, to.local_addr().unwrap()).unwrap();
    to.set_read_timeout(Some(patience(is_expected))).unwrap();
    to.recv(&mut [0; 64]).is_ok()
}

/// A socket for packets of IPIP.
fn raw(space: &Namespace, at: &str) -> OwnedFd {
    space.run(|| {
        let ipip = std::num::NonZeroU32::new(4).map(net::Protocol::from_raw);
        let socket = net::socket(AddressFamily::INET, SocketType::RAW, ipip).unwrap();
        let IpAddr::V4(at) = addr(at) else { panic!("{at}") };
        net::bind(&socket, &std::net::SocketAddrV4::new(at, 0)).unwrap();
        socket
    })
}

fn raw_arrives(from: &OwnedFd, to: &OwnedFd, at: &str, is_expected: bool) -> bool {
    let timeout = Some(patience(is_expected));
    net::sockopt::set_socket_timeout(to, net::sockopt::Timeout::Recv, timeout).unwrap();
    let IpAddr::V4(at) = addr(at) else { panic!("{at}") };
    let flags = net::SendFlags::empty();
    net::sendto(from, &[0x45; 40], flags, &std::net::SocketAddrV4::new(at, 0)).unwrap();
    net::recv(to, &mut [0u8; 128][..], net::RecvFlags::empty()).is_ok()
}

#[test]
fn a_pod_encapsulates_nothing() {
    let Some(lab) = Lab::new() else { return };
    let (from, to) = (raw(&lab.pod2, POD2[0]), raw(&lab.outside, OUTSIDE[0]));
    assert!(raw_arrives(&from, &to, OUTSIDE[0], true));
    let mut nft = Nft::default();
    let mut rules: Rules = lab.rules();
    for is_allowed in [false, true] {
        rules.settings.pods_send_vxlan = is_allowed;
        rules.settings.pods_send_ipip = is_allowed;
        lab.keep(&mut nft, &rules);
        for family in 0..2 {
            let from = socket(&lab.pod2, POD2[family], 0);
            assert_eq!(
                arrives(&from, &socket(&lab.outside, OUTSIDE[family], 4789), &vxlan(4096), is_allowed),
                is_allowed
            );
            assert!(arrives(&from, &socket(&lab.outside, OUTSIDE[family], 4790), &vxlan(4096), true));
        }
        assert_eq!(raw_arrives(&from, &to, OUTSIDE[0], is_allowed), is_allowed);
    }
}

#[test]
fn only_nodes_send_into_tunnels() {
    let Some(lab) = Lab::new() else { return };
    lab.outside.sh("ip addr add 10.77.1.2/24 dev eth0; ip -6 addr add 2001:db8:77::2/64 dev eth0 nodad");
    let mut nft = Nft::default();
    lab.keep(&mut nft, &lab.rules());
    for (family, node) in [(0, "10.77.1.2"), (1, "2001:db8:77::2")] {
        let to = socket(&lab.node, NODE[family], 4789);
        let (stranger, node) = (socket(&lab.outside, OUTSIDE[family], 0), socket(&lab.outside, node, 0));
        assert!(!arrives(&stranger, &to, &vxlan(4096), false));
        assert!(arrives(&node, &to, &vxlan(4096), true));
        // Another VXLAN on the same port is none of ours.
        assert!(arrives(&stranger, &to, &vxlan(4097), true));
    }
    let to = raw(&lab.node, NODE[0]);
    assert!(!raw_arrives(&raw(&lab.outside, OUTSIDE[0]), &to, NODE[0], false));
    assert!(raw_arrives(&raw(&lab.outside, "10.77.1.2"), &to, NODE[0], true));
    // Nothing of the cluster's own VXLAN was tracked.
    let tracked = lab.node.sh("cat /proc/net/nf_conntrack");
    let of_vxlan: Vec<&str> = tracked.lines().filter(|line| line.contains("dport=4789")).collect();
    assert!(of_vxlan.iter().all(|line| line.contains(OUTSIDE[0]) || line.contains(":0009")), "{tracked}");
    assert_eq!(of_vxlan.len(), 2, "{tracked}");
}
