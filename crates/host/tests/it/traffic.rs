//! Changes under traffic lose no packet, and cost one message each.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::StreamExt;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::RouteProtocol;
use serde_json::json;

use crate::cluster::{Cluster, Node, sync};
use crate::namespace::Namespace;

/// Pings an address 50 times a second.
fn ping(from: &Namespace, addr: &str, count: u32) -> Child {
    let script = format!("exec ping -q -i 0.02 -W 2 -c {count} {addr}");
    from.run(|| Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap())
}

fn assert_nothing_lost(ping: Child, count: u32) {
    let out = ping.wait_with_output().unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(said.contains(&format!("{count} packets transmitted, {count} received")), "{said}");
}

/// The pod of one node has a second interface, at another node: so it is there wherever packets to it go.
fn second_interface(pod_of: &Node, at: &Node) {
    at.host.cable("cali1", &pod_of.pod, "eth1");
    let [four, six] = pod_of.addresses;
    at.host.sh(&format!("ip route add {four} dev cali1; ip -6 route add {six} dev cali1"));
    // An interface answers neighbours for its own IPv6 addresses only.
    pod_of.pod.sh(&format!("ip addr add {six}/128 dev eth1"));
}

#[test]
fn an_address_that_moves_loses_nothing() {
    let Some(mut cluster) = Cluster::new("Always", &[1, 1, 2]) else { return };
    for node in &cluster.nodes {
        cluster.sync(node);
    }
    second_interface(&cluster.nodes[1], &cluster.nodes[2]);
    let pings = ["10.81.2.5", "fd81::2:5"].map(|addr| ping(&cluster.nodes[0].pod, addr, 150));
    for turn in 0..10 {
        std::thread::sleep(Duration::from_millis(200));
        let holder = if turn % 2 == 0 { "n3" } else { "n2" };
        for block in ["10.81.2.0/26", "fd81::2:0/122"] {
            cluster.world.block(block, Some("n2"), &[(0, "n2"), (5, holder)]);
        }
        let steps = cluster.sync(&cluster.nodes[0]);
        assert_eq!(steps.len(), 2, "{steps:?}");
    }
    pings.into_iter().for_each(|ping| assert_nothing_lost(ping, 150));
}

#[test]
fn a_gateway_that_is_replaced_loses_nothing() {
    let Some(mut cluster) = Cluster::new("Always", &[1, 1]) else { return };
    for node in &cluster.nodes {
        cluster.sync(node);
    }
    let pings = ["10.81.2.5", "fd81::2:5"].map(|addr| ping(&cluster.nodes[0].pod, addr, 150));
    for turn in 0..10 {
        std::thread::sleep(Duration::from_millis(200));
        let mode = json!({"vxlanMode": if turn % 2 == 0 { "CrossSubnet" } else { "Always" }});
        cluster.world.pool("four", "10.81.0.0/16", mode.clone());
        cluster.world.pool("six", "fd81::/64", mode);
        for node in &cluster.nodes {
            let steps = cluster.sync(node);
            assert_eq!(steps.len(), 2, "{}: {steps:?}", node.name);
        }
    }
    pings.into_iter().for_each(|ping| assert_nothing_lost(ping, 150));
}

#[test]
fn a_changed_block_is_one_message() {
    for vxlan in ["Always", "Never"] {
        let Some(mut cluster) = Cluster::new(vxlan, &[1, 1]) else { return };
        cluster.sync(&cluster.nodes[0]);
        for (block, owner) in [
            ("10.81.2.64/26", Some("n2")),
            ("fd81::2:40/122", Some("n2")),
            ("10.81.2.64/26", Some("n1")),
            ("fd81::2:40/122", Some("n1")),
            ("10.81.2.64/26", None),
        ] {
            cluster.world.block(block, owner, &[]);
            let told = told_while(&cluster, &cluster.nodes[0]);
            assert_eq!(told.len(), 1, "{vxlan}: {block} of {owner:?}: {told:?}");
        }
    }
}

/// What the kernel tells of routes and entries while a node is made what it must be. The kernel's own routes
/// come when they like.
fn told_while(cluster: &Cluster, node: &Node) -> Vec<RouteNetlinkMessage> {
    let desired = cluster.desired(node);
    node.host.kernel(async |kernel| {
        let groups = [MulticastGroup::Neigh, MulticastGroup::Ipv4Route, MulticastGroup::Ipv6Route];
        let (connection, _handle, mut messages) = rtnetlink::new_multicast_connection(&groups).unwrap();
        let connection = tokio::spawn(connection);
        let (_, failed) = sync(kernel, &desired).await;
        assert!(failed.is_empty(), "{failed:?}");
        let mut told = Vec::new();
        while let Ok(Some((message, _))) =
            tokio::time::timeout(Duration::from_millis(100), messages.next()).await
        {
            match message.payload {
                NetlinkPayload::InnerMessage(
                    RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route),
                ) if route.header.protocol == RouteProtocol::Kernel => {}
                NetlinkPayload::InnerMessage(message) => told.push(message),
                _ => {}
            }
        }
        connection.abort();
        told
    })
}
