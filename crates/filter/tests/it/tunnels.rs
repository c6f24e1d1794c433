//! Packets through real tunnels, with the table at one end.

use filter::Nft;

use crate::lab::{Lab, NODE, POD1, caller, datagram, socket};
use crate::world::addr;

/// A tunnel between the node and the outside, which takes the part of the other node: the words of `ip`, the
/// device, the address of each end's tunnel, of each end, and of a pod of the other node.
struct Tunnel {
    word: &'static str,
    device: &'static str,
    tunnels: [&'static str; 2],
    ends: [&'static str; 2],
    pod: &'static str,
}

const TUNNELS: [Tunnel; 2] = [
    Tunnel {
        word: "-4",
        device: "vxlan.calico",
        tunnels: ["10.81.1.1", "10.81.2.1"],
        ends: [NODE[0], "10.77.1.2"],
        pod: "10.81.2.2",
    },
    Tunnel {
        word: "-6",
        device: "vxlan-v6.calico",
        tunnels: ["2001:db8:81:1::1", "2001:db8:81:2::1"],
        ends: [NODE[1], "2001:db8:77::2"],
        pod: "2001:db8:81:2::2",
    },
];

#[test]
fn pods_reach_each_other_through_the_tunnels_of_nodes() {
    let Some(lab) = Lab::new() else { return };
    lab.outside.sh("ip addr add 10.77.1.2/24 dev eth0; ip -6 addr add 2001:db8:77::2/64 dev eth0 nodad
         sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0");
    for (family, Tunnel { word, device, tunnels, ends, pod }) in TUNNELS.iter().enumerate() {
        // An address that is still looked for at others is not taken for a translation.
        let (bits, nodad) = if family == 0 { (32, "") } else { (128, "nodad") };
        for (own, space) in [&lab.node, &lab.outside].into_iter().enumerate() {
            let other = 1 - own;
            let to = [POD1[family], pod][other];
            space.sh(&format!(
                "ip {word} link add {device} address 66:00:00:00:0{family}:0{own} mtu 1400 type vxlan id 4096 \
                 local {} dev eth0 dstport 4789 nolearning
                 ip link set {device} up; ip {word} addr add {}/{bits} dev {device} {nodad}
                 ip {word} neigh add {} lladdr 66:00:00:00:0{family}:0{other} dev {device} nud permanent
                 bridge fdb append 66:00:00:00:0{family}:0{other} dev {device} dst {} self permanent
                 ip {word} route add {}/{bits} dev {device}
                 ip {word} route add {to}/{bits} via {} dev {device} onlink",
                ends[own], tunnels[own], tunnels[other], ends[other], tunnels[other], tunnels[other]
            ));
        }
        lab.outside.sh(&format!("ip {word} addr add {pod}/{bits} dev lo {nodad}"));
    }
    let mut nft = Nft::default();
    lab.keep(&mut nft, &lab.rules());
    for (family, Tunnel { word, device, tunnels, ends, pod }) in TUNNELS.iter().enumerate() {
        assert_eq!(caller(&lab.pod1, &lab.outside, pod).unwrap().ip(), addr(POD1[family]));
        let seen = caller(&lab.outside, &lab.pod1, POD1[family]).unwrap();
        assert!([tunnels[1], pod].contains(&seen.ip().to_string().as_str()), "{seen}");
        // A process of the node that speaks from the node's address.
        let from = datagram(&socket(&lab.node, NODE[family], 0), &socket(&lab.outside, pod, 0), true);
        assert_eq!(from.unwrap().ip(), addr(tunnels[0]));
        // The other end moves to an address that no node has: whatever it sends, nobody sees it.
        let stranger = if family == 0 { "10.77.1.9" } else { "2001:db8:77::9" };
        let to = socket(&lab.pod1, POD1[family], 0);
        let from = socket(&lab.outside, pod, 0);
        assert!(datagram(&from, &to, true).is_some());
        let moved = |local: &str| {
            // The device remembers for each of its peers from where it sends.
            lab.outside.sh(&format!(
                "ip {word} link set {device} type vxlan local {local}
                 bridge fdb del 66:00:00:00:0{family}:00 dev {device} dst {0} self
                 bridge fdb append 66:00:00:00:0{family}:00 dev {device} dst {0} self permanent",
                ends[0]
            ));
        };
        moved(stranger);
        assert!(datagram(&from, &to, false).is_none());
        moved(ends[1]);
        assert!(datagram(&from, &to, true).is_some());
    }
    let tracked = lab.node.sh("cat /proc/net/nf_conntrack");
    assert!(!tracked.contains("dport=4789"), "{tracked}");
}
