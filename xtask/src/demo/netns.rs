//! The rack guide with network namespaces as its nodes and replicas: eight nodes at a bridge, and replicas
//! that the main plugin `calico` attaches to them.
//!
//! ```text
//!   the bridge's namespace          a node's namespace                           a replica's namespace
//!   br0 172.31.0.1 --- node0 <---> eth0 172.31.0.10, default via 172.31.0.1
//!                                   cali0123456789a <-------------------------> eth0, as the plugin makes it
//! ```
//! None of them has a name and no process lives in one: they end with this process.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use ipnet::Ipv4Net;

use xtask::guide::plugin::{Plugin, Sandbox};
use xtask::guide::stage::{Stage, in_scratch};
use xtask::guide::terminal::{Terminal, heading, output};
use xtask::guide::{NODES, RACKS, Replica, replicas};

use crate::namespace::Namespace;
use crate::needs;

/// The host part of the first node's address at the bridge.
const FIRST_HOST: usize = 10;
/// The arguments of ping: it sends a packet each second, for ten seconds at most, and ends at the first
/// answer.
const PING: [&str; 6] = ["-q", "-n", "-c", "1", "-w", "10"];

/// Whether this demo can run on this machine; prints what is missing.
pub fn can_be_had() -> bool {
    let missing = Namespace::new().err();
    if let Some(missing) = &missing {
        println!("left out: {missing:#}");
    }
    missing.is_none()
}

/// Performs the guide with these programs. Checks that the replicas reach each other, and that nothing of
/// them is left in the end.
pub fn perform(programs: &Path) -> Result<()> {
    // The network comes first, since building it shows whether the machine lacks anything.
    let network = Network::build()?;
    in_scratch(|scratch| {
        let file = scratch.join("rackpool.db").display().to_string();
        let mut stage = Stage::new(programs, scratch, ("RACKPOOL_DB", &file), ("rackpool_db", &file));
        stage.plugin.program = programs.join("calico");
        stage.prepare()?;
        let running: Result<Vec<_>> =
            replicas().map(|replica| network.run(replica, &stage.plugin, &stage.terminal)).collect();
        let running = running?;
        stage.prove(&running.iter().map(Running::placed).collect::<Vec<_>>())?;
        heading("The proof: every replica pings every other, across nodes by host routes");
        network.install_routes(&running)?;
        for line in network.check_reach(&running)? {
            println!("{line}");
        }
        println!("{}", network.take_down(&running, &stage.plugin, &stage.terminal)?);
        Ok(())
    })
}

/// The nodes, and the bridge that joins them.
struct Network {
    nodes: BTreeMap<&'static str, Node>,
    /// Never used, but the bridge lives as long as this namespace is open.
    _bridge: Namespace,
}

struct Node {
    address: String,
    namespace: Namespace,
}

/// A replica that runs.
struct Running {
    replica: Replica,
    namespace: Namespace,
    /// The replica's address, with the prefix length of its block.
    address: Ipv4Net,
}

impl Network {
    /// Makes the namespaces of the bridge and of the nodes, and joins them.
    fn build() -> Result<Network> {
        let bridge = Namespace::new()?;
        needs::program("ip", "iproute2", "the nodes' network")?;
        needs::program("ping", "iputils-ping", "what the replicas do")?;
        ip(&bridge, "link add br0 type bridge\naddr add 172.31.0.1/24 dev br0\nlink set br0 up\n")?;
        let mut nodes = BTreeMap::new();
        for (number, name) in NODES.into_iter().enumerate() {
            let node =
                Node { address: format!("172.31.0.{}", FIRST_HOST + number), namespace: Namespace::new()? };
            ip(
                &bridge,
                &format!(
                    "link add node{number} type veth peer name eth0 netns {}\nlink set node{number} master br0 up\n",
                    node.namespace.path()
                ),
            )?;
            // Without a default route, a node would not answer when replicas ask for the address of their
            // gateway.
            ip(
                &node.namespace,
                &format!(
                    "link set lo up\naddr add {}/24 dev eth0\nlink set eth0 up\nroute add default via 172.31.0.1\n",
                    node.address
                ),
            )?;
            node.namespace.inside(|| Ok(fs::write("/proc/sys/net/ipv4/ip_forward", "1")?))?;
            nodes.insert(name, node);
        }
        Ok(Network { nodes, _bridge: bridge })
    }

    /// Lets the main plugin attach a replica to its node. The block is then read from what calicoctl shows.
    fn run(&self, replica: Replica, plugin: &Plugin, terminal: &Terminal) -> Result<Running> {
        let namespace = Namespace::new()?;
        let node = self.node(replica.node)?;
        println!(
            "$ CNI_COMMAND=ADD CNI_ARGS='...;K8S_POD_NAME={}' ... calico < net.conf    # in {}",
            replica.pod, replica.node
        );
        let given = node.namespace.inside(|| plugin.add(&sandbox(&replica, &namespace)))?;
        println!("{given}");
        let given: Ipv4Net = given.parse().context("the plugin's result")?;
        ensure!(given.prefix_len() == 32, "{} was given {given}, not one address", replica.pod);
        let blocks = blocks(&terminal.output(&["ipam", "show", "--show-blocks"], "")?);
        let block = blocks.into_iter().find(|block| block.contains(&given));
        let block = block.with_context(|| format!("no block has {given}"))?;
        let address = Ipv4Net::new(given.addr(), block.prefix_len())?;
        Ok(Running { replica, namespace, address })
    }

    /// Installs a route to each block on every other node, as there is no routing agent. The routes on a node
    /// to its own replicas are the plugin's work.
    fn install_routes(&self, replicas: &[Running]) -> Result<()> {
        let blocks: BTreeMap<Ipv4Net, &str> =
            replicas.iter().map(|running| (running.address.trunc(), running.replica.node)).collect();
        for (name, node) in &self.nodes {
            let mut lines = String::new();
            for (block, owner) in blocks.iter().filter(|(_, owner)| *owner != name) {
                lines.push_str(&format!("route add {block} via {}\n", self.node(owner)?.address));
            }
            ip(&node.namespace, &lines)?;
        }
        println!("{} blocks: a route to each on every node but its own", blocks.len());
        Ok(())
    }

    /// Checks that every replica reaches every other one. Gives a line for each rack.
    fn check_reach(&self, replicas: &[Running]) -> Result<Vec<String>> {
        let check_from = |rack: usize| {
            let (mut on_node, mut in_rack, mut beyond) = (0, 0, 0);
            for from in replicas.iter().filter(|from| from.replica.rack == rack) {
                for to in replicas.iter().filter(|to| to.replica.pod != from.replica.pod) {
                    from.ping(to)?;
                    match (to.replica.node == from.replica.node, to.replica.rack == rack) {
                        (true, _) => on_node += 1,
                        (false, true) => in_rack += 1,
                        (false, false) => beyond += 1,
                    }
                }
            }
            Ok(format!(
                "ok: rack {rack}: its replicas ping every other: {on_node} times on their own node, {in_rack} across the rack, {beyond} in other racks"
            ))
        };
        RACKS.into_iter().map(check_from).collect()
    }

    /// Lets the plugin take the replicas down, and checks that nothing of them is left on the nodes or in the
    /// store. Gives a line that says so.
    fn take_down(&self, replicas: &[Running], plugin: &Plugin, terminal: &Terminal) -> Result<String> {
        for Running { replica, namespace, .. } in replicas {
            let node = self.node(replica.node)?;
            node.namespace.inside(|| plugin.del(&sandbox(replica, namespace)))?;
            let left = namespace.interfaces()?;
            ensure!(left == ["lo"], "{} still has {left:?}", replica.pod);
        }
        for (name, node) in &self.nodes {
            let left = node.namespace.interfaces()?;
            ensure!(left.iter().all(|link| !link.starts_with("cali")), "{name} still has {left:?}");
        }
        let endpoints = terminal.ask(&["get", "wep", "-o", "json"])?;
        ensure!(endpoints["items"].as_array().is_some_and(Vec::is_empty), "still recorded: {endpoints}");
        for Running { replica, address, .. } in replicas {
            let said = terminal.output(&["ipam", "show", &format!("--ip={}", address.addr())], "")?;
            ensure!(said.contains("is not assigned"), "{}: {said}", replica.pod);
        }
        Ok(format!(
            "ok: {} replicas are down: no interface, no endpoint and no address is left",
            replicas.len()
        ))
    }

    fn node(&self, name: &str) -> Result<&Node> {
        self.nodes.get(name).with_context(|| format!("{name} is none of the nodes"))
    }
}

impl Running {
    /// The replica, and its address with the prefix length of its block.
    fn placed(&self) -> (Replica, String) {
        (self.replica.clone(), self.address.to_string())
    }

    fn ping(&self, to: &Running) -> Result<()> {
        let address = to.address.addr().to_string();
        let ping = || output(Command::new("ping").args(PING).arg(&address), "");
        let (from, to) = (&self.replica, &to.replica);
        self.namespace
            .inside(ping)
            .with_context(|| {
                format!("{} on {} does not reach {} on {}", from.pod, from.node, to.pod, to.node)
            })
            .map(drop)
    }
}

fn sandbox(replica: &Replica, namespace: &Namespace) -> Sandbox {
    Sandbox {
        namespace: "default".to_string(),
        pod: replica.pod.clone(),
        node: replica.node.to_string(),
        container: replica.container.clone(),
        netns: namespace.path(),
    }
}

/// Lets `ip` carry out these lines in a namespace.
fn ip(namespace: &Namespace, lines: &str) -> Result<()> {
    let ip = || output(Command::new("ip").args(["-batch", "-"]), lines);
    namespace.inside(ip).with_context(|| format!("of\n{lines}")).map(drop)
}

/// The blocks in the output of `calicoctl ipam show --show-blocks`.
fn blocks(shown: &str) -> Vec<Ipv4Net> {
    let cidr = |line: &str| line.strip_prefix("| Block")?.split('|').nth(1)?.trim().parse().ok();
    shown.lines().filter_map(cidr).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn blocks_are_found_in_the_table() {
        let shown = "\
| GROUPING | CIDR              | IPS TOTAL |
| IP Pool  | 192.168.0.0/18    |     16384 |
| Block    | 192.168.40.128/26 |        64 |
";
        assert_eq!(super::blocks(shown), ["192.168.40.128/26".parse().unwrap()]);
    }
}
