//! Connections of a pod that is gone.

use std::net::{SocketAddr, UdpSocket};

use filter::{Connections, Nft};

use crate::lab::{Lab, NODE, OUTSIDE, POD1, POD2, datagram, patience, socket};
use crate::world::addr;

/// The kernel's entries with an address.
fn entries(lab: &Lab, at: &str) -> usize {
    let all = lab.node.sh("cat /proc/net/nf_conntrack");
    let full = |text: &str| text.parse().is_ok_and(|found: std::net::IpAddr| found == addr(at));
    all.lines().filter(|line| line.split([' ', '=']).any(full)).count()
}

/// A service of the node leads to a pod. Its client goes on to send with the same port when the pod is gone
/// and the service leads to another one.
#[test]
fn datagrams_do_not_follow_a_pod_that_is_gone() {
    let Some(lab) = Lab::new() else { return };
    lab.keep(&mut Nft::default(), &lab.rules());
    for family in 0..2 {
        let (word, node) = ([("ip", NODE[0]), ("ip6", NODE[1])])[family];
        let to = |pod: &str| {
            let pod = if family == 0 { pod.to_string() } else { format!("[{pod}]") };
            lab.node.sh(&format!(
                "nft 'table {word} proxy {{ }}; delete table {word} proxy; table {word} proxy {{ chain x {{ type \
                 nat hook prerouting priority dstnat; {word} daddr {node} udp dport 53 dnat to {pod}:5353; }}; }}'"
            ));
        };
        let client = socket(&lab.outside, OUTSIDE[family], 0);
        let (first, second) = (socket(&lab.pod1, POD1[family], 5353), socket(&lab.pod2, POD2[family], 5353));
        // Whether the next datagram reaches this one and not that one.
        let reaches = |this: &UdpSocket, that: &UdpSocket| {
            client.send_to(b"query", SocketAddr::new(addr(node), 53)).unwrap();
            [(this, true), (that, false)].map(|(server, is_expected)| {
                server.set_read_timeout(Some(patience(is_expected))).unwrap();
                server.recv_from(&mut [0; 16]).is_ok()
            }) == [true, false]
        };
        to(POD1[family]);
        assert!(reaches(&first, &second));
        // A connection that the pod began, and one of another pod.
        let outside = socket(&lab.outside, OUTSIDE[family], 0);
        datagram(&socket(&lab.pod1, POD1[family], 0), &outside, true).unwrap();
        datagram(&socket(&lab.pod2, POD2[family], 0), &outside, true).unwrap();
        to(POD2[family]);
        assert!(reaches(&first, &second), "the kernel keeps the way in mind");

        let (own, others) = (entries(&lab, POD1[family]), entries(&lab, POD2[family]));
        assert!(own >= 2 && others >= 1, "{own} {others}");
        let mut connections = lab.node.run(|| Connections::open().unwrap());
        assert_eq!(connections.forget(addr(POD1[family])).unwrap(), own);
        assert_eq!((entries(&lab, POD1[family]), entries(&lab, POD2[family])), (0, others));
        assert_eq!(connections.forget(addr(POD1[family])).unwrap(), 0);
        assert!(reaches(&second, &first));
    }
}

/// Many connections, some of them in a zone of their own.
#[test]
fn all_of_many_are_forgotten() {
    let Some(lab) = Lab::new() else { return };
    lab.keep(&mut Nft::default(), &lab.rules());
    lab.node.sh(
        "nft 'table ip zones { chain x { type filter hook prerouting priority raw; udp dport 7000-7099 ct zone set 7; }; }'",
    );
    let from = socket(&lab.pod2, POD2[0], 0);
    for port in 7000..7600 {
        from.send_to(b"x", (addr(OUTSIDE[0]), port)).unwrap();
    }
    let before = entries(&lab, POD2[0]);
    assert!(before >= 600, "{before}");
    let mut connections = lab.node.run(|| Connections::open().unwrap());
    assert_eq!(connections.forget(addr(POD2[0])).unwrap(), before);
    assert_eq!(entries(&lab, POD2[0]), 0);
}
