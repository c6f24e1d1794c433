//! Clusters of nodes that are namespaces: two networks with a router between them, and a pod on each node.

use std::net::IpAddr;

use host::{HostError, Interface, Kernel};
use routes::rack::Exported;
use routes::router::Router;
use routes::{Aggregation, Desired, Difference, List, Options, Step, configuration};
use serde_json::json;

use crate::namespace::Namespace;
use crate::world::World;

pub const DEVICES: [&str; 3] = ["vxlan.calico", "vxlan-v6.calico", "tunl0"];
pub const VNI: u32 = 4096;
pub const PORT: u16 = 4789;

/// A node, and a pod on it.
pub struct Node {
    pub name: String,
    pub host: Namespace,
    pub pod: Namespace,
    /// The pod's addresses, IPv4 and IPv6.
    pub addresses: [IpAddr; 2],
}

/// Node N has the addresses 10.77.NETWORK.1N and fd77:NETWORK::1N, the blocks 10.81.N.0/26 and
/// fd81::N:0/122, and its pod the addresses 5 of them. The tunnel addresses are the blocks' first ones.
pub struct Cluster {
    pub world: World,
    pub nodes: Vec<Node>,
    pub router: Namespace,
}

impl Cluster {
    /// Makes a cluster with a node for each of the `networks`, whose pools have these modes of VXLAN.
    /// `None`, after a message, if this process has no right to.
    pub fn new(vxlan: &str, networks: &[usize]) -> Option<Cluster> {
        let router = Namespace::new()?;
        for network in [1, 2] {
            router.sh(&format!(
                "ip link add br{network} type bridge
                 ip link set dev br{network} up
                 ip addr add 10.77.{network}.1/24 dev br{network}
                 ip addr add fd77:{network}::1/64 dev br{network}"
            ));
        }
        let mut world = World::new();
        let mode = json!({"vxlanMode": vxlan, "ipipMode": "Never"});
        world.pool("four", "10.81.0.0/16", mode.clone());
        world.pool("six", "fd81::/64", mode);
        let mut cluster = Cluster { world, nodes: Vec::new(), router };
        for (index, network) in networks.iter().enumerate() {
            cluster.add(index + 1, *network, vxlan != "Never");
        }
        Some(cluster)
    }

    fn add(&mut self, n: usize, network: usize, has_tunnel: bool) {
        let (host, pod) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        host.cable("eth0", &self.router, &format!("n{n}"));
        self.router.sh(&format!("ip link set dev n{n} master br{network}"));
        host.sh(&format!(
            "ip addr add 10.77.{network}.1{n}/24 dev eth0
             ip addr add fd77:{network}::1{n}/64 dev eth0
             ip route add default via 10.77.{network}.1
             ip -6 route add default via fd77:{network}::1"
        ));
        host.cable("cali0", &pod, "eth0");
        host.sh(&format!(
            "ip addr add 169.254.1.1/32 dev cali0
             ip addr add fe80::1/64 dev cali0
             ip route add 10.81.{n}.5 dev cali0
             ip -6 route add fd81::{n}:5 dev cali0"
        ));
        pod.sh(&format!(
            "ip addr add 10.81.{n}.5/32 dev eth0
             ip addr add fd81::{n}:5/128 dev eth0
             ip route add 169.254.1.1 dev eth0
             ip route add default via 169.254.1.1
             ip -6 route add default via fe80::1 dev eth0"
        ));
        let name = format!("n{n}");
        let mut fields = json!({"ipv6Address": format!("fd77:{network}::1{n}/64")});
        if has_tunnel {
            fields["ipv4VXLANTunnelAddr"] = format!("10.81.{n}.0").into();
            fields["ipv6VXLANTunnelAddr"] = format!("fd81::{n}:0").into();
        }
        self.world.node(&name, &format!("10.77.{network}.1{n}/24"), "", fields);
        let held: &[(u32, &str)] = &[(0, &name), (5, &name)];
        self.world.block(&format!("10.81.{n}.0/26"), Some(&name), held);
        self.world.block(&format!("fd81::{n}:0/122"), Some(&name), held);
        let addresses = [format!("10.81.{n}.5"), format!("fd81::{n}:5")].map(|addr| addr.parse().unwrap());
        self.nodes.push(Node { name, host, pod, addresses });
    }

    pub fn desired(&self, node: &Node) -> Desired {
        let options =
            Options { aggregation: Aggregation::Off, uplink: Some("eth0".to_string()), ..Options::default() };
        self.world.desired_where(&node.name, &options, Exported::Plain)
    }

    /// Makes a node what it must be, and asserts that nothing is left to be done.
    pub fn sync(&self, node: &Node) -> Vec<Step> {
        let desired = self.desired(node);
        node.host.kernel(async |kernel| {
            let (steps, failed) = sync(kernel, &desired).await;
            assert!(failed.is_empty(), "{}: {failed:?}", node.name);
            let left = Difference::between(&kernel.present(&DEVICES).await.unwrap(), &desired);
            assert!(left.is_empty(), "{}: {left:?}", node.name);
            steps
        })
    }

    /// Gives the router the routes that it needs where nothing is encapsulated.
    pub fn sync_router(&self) {
        // Its nodes have no racks.
        let beside = [None].into();
        let router = Router { beside, via: Vec::new(), aggregation: Aggregation::Off, gateways: 1 };
        let routes = self.world.router(&router);
        self.router.sh(&configuration::of(&routes, configuration::Language::Ip));
    }

    /// Every pod reaches every other, in both families.
    pub fn assert_all_reach_all(&self) {
        for from in &self.nodes {
            for to in self.nodes.iter().filter(|to| to.name != from.name) {
                for addr in to.addresses {
                    let script = format!("ping -c 1 -W 5 {addr}");
                    let out =
                        from.pod.run(|| std::process::Command::new("sh").args(["-c", &script]).output());
                    let out = out.unwrap();
                    let table =
                        from.host.sh("ip route; ip -6 route; bridge fdb show dev vxlan.calico || true");
                    assert!(out.status.success(), "{} to {addr}: {out:?}\n{table}", from.name);
                }
            }
        }
    }
}

/// Makes a host what is desired. Gives the steps, and those that failed.
pub async fn sync(kernel: &Kernel, desired: &Desired) -> (Vec<Step>, Vec<(Step, HostError)>) {
    let uplink = uplink(kernel).await;
    for tunnel in &desired.tunnels {
        kernel.ensure_tunnel(tunnel, &uplink, VNI, PORT).await.unwrap();
    }
    let present = kernel.present(&DEVICES).await.unwrap();
    let (steps, _) = Difference::between(&present, desired).steps(List::Fresh);
    let failed = kernel.apply(&steps, Some(uplink.index)).await;
    (steps, failed)
}

pub async fn uplink(kernel: &Kernel) -> Interface {
    let all = kernel.interfaces().await.unwrap();
    all.into_iter().find(|interface| interface.name == "eth0").unwrap()
}
