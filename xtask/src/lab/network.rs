//! The lab's network: a bridge in the cluster's namespace, a cable from it to each node, and a route to each
//! block of pods' addresses.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use ipnet::IpNet;

use super::site::{BRIDGE, Node, Site};

/// The routing protocol number that marks the lab's routes, so that the lab finds them again. The kernel
/// gives the number no meaning.
const PROTOCOL: &str = "190";

/// Whether this machine supports IPv6.
fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// Creates the bridge.
pub fn create_bridge() -> Result<()> {
    ip(
        None,
        &format!("link set lo up\nlink add br0 type bridge\naddr add {BRIDGE}/24 dev br0\nlink set br0 up\n"),
    )
}

/// Gives a node its own network namespace, with a network card in it and a cable from there to the bridge.
/// The node keeps the card's address for good.
pub fn plug_in(node: Node<'_>) -> Result<()> {
    let (name, number, host) = (node.name, node.number, node.host());
    ip(
        None,
        &format!(
            "netns add {name}\n\
             link add node{number} type veth peer name eth0 address 02:00:ac:1e:00:{host:02x} netns {name}\n\
             link set node{number} master br0 up\n"
        ),
    )?;
    let (address, address_v6) = (node.address(), node.address_v6());
    let mut lines = format!("link set lo up\naddr add {address}/24 dev eth0\n");
    if has_ipv6() {
        lines.push_str(&format!("addr add {address_v6}/64 dev eth0 nodad\n"));
    }
    lines.push_str(&format!("link set eth0 up\nroute add default via {BRIDGE}\n"));
    ip(Some(name), &lines)
}

/// Removes a node's network namespace.
pub fn unplug(node: Node<'_>) -> Result<()> {
    // The kernel removes the namespace's contents some time later. The cable has to be gone at once, so it is
    // removed first.
    ip(None, &format!("link del node{}\nnetns del {}\n", node.number, node.name))
}

fn ip(network: Option<&str>, lines: &str) -> Result<()> {
    let mut command = Command::new("ip");
    if let Some(name) = network {
        command.args(["-n", name]);
    }
    batch(command, lines)
}

/// Lets `ip` carry out these lines; stops at the first one that fails.
fn batch(mut ip: Command, lines: &str) -> Result<()> {
    ip.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = ip.spawn().context("cannot start ip")?;
    process.stdin.take().context("it was piped")?.write_all(lines.as_bytes())?;
    let out = process.wait_with_output()?;
    if !out.status.success() {
        bail!("ip failed: {}\nof\n{lines}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(())
}

/// A block of pods' addresses, and the name of the node that has it.
pub struct Block {
    pub cidr: IpNet,
    pub node: String,
}

/// Installs a route to each block on every other node, and in the cluster's namespace; removes the routes to
/// blocks that are gone. `ip` makes the command, in the cluster's namespaces.
pub fn install_routes(site: &Site, blocks: &[Block], ip: impl Fn() -> Command) -> Result<()> {
    let everywhere = site.options.nodes.iter().map(|name| Some(name.as_str())).chain([None]);
    for place in everywhere {
        let command = |family: &str| {
            let mut ip = ip();
            ip.args(place.map(|name| ["-n", name]).into_iter().flatten()).arg(family);
            ip
        };
        let mut wanted = Vec::new();
        for block in blocks.iter().filter(|block| Some(block.node.as_str()) != place) {
            let owner = site.node(&block.node).with_context(|| format!("block {}", block.cidr))?;
            let via: IpAddr = match block.cidr {
                IpNet::V4(_) => owner.address().into(),
                // The cluster's namespace has no IPv6 address of its own.
                IpNet::V6(_) if place.is_none() => continue,
                IpNet::V6(_) => owner.address_v6().into(),
            };
            wanted.push((block.cidr, via));
        }
        for family in ["-4", "-6"] {
            let out = command(family).args(["route", "show", "proto", PROTOCOL]).output()?;
            let shown = String::from_utf8_lossy(&out.stdout).into_owned();
            batch(command(family), &changes(family, &wanted, &shown))
                .with_context(|| format!("routes on {}", place.unwrap_or("the cluster's side")))?;
        }
    }
    Ok(())
}

/// The lines for `ip` that turn the routes in `shown`, its present output, into the wanted ones.
fn changes(family: &str, wanted: &[(IpNet, IpAddr)], shown: &str) -> String {
    let of_family = |net: &IpNet| matches!(net, IpNet::V4(_)) == (family == "-4");
    let wanted: Vec<_> = wanted.iter().filter(|(net, _)| of_family(net)).collect();
    let mut lines = String::new();
    for (net, via) in &wanted {
        lines.push_str(&format!("route replace {net} via {via} proto {PROTOCOL}\n"));
    }
    // `ip` shows a route to a single address without the length of its prefix.
    let is_wanted = |shown: &str| {
        wanted.iter().any(|(net, _)| {
            net.to_string() == shown
                || net.prefix_len() == net.max_prefix_len() && net.addr().to_string() == shown
        })
    };
    let there = shown.lines().filter_map(|line| line.split_whitespace().next());
    for stale in there.filter(|net| !is_wanted(net)) {
        lines.push_str(&format!("route del {stale} proto {PROTOCOL}\n"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_replaced_and_stale_ones_removed() {
        let wanted = |net: &str, via: &str| (net.parse().unwrap(), via.parse().unwrap());
        let (four, six) = ("-4", "-6");
        let cases = [
            (four, vec![], "", ""),
            (
                four,
                vec![wanted("10.0.0.0/26", "172.30.0.10")],
                "",
                "route replace 10.0.0.0/26 via 172.30.0.10 proto 190\n",
            ),
            (four, vec![], "10.0.0.0/26 via 172.30.0.10 dev eth0 \n", "route del 10.0.0.0/26 proto 190\n"),
            (
                four,
                vec![wanted("10.0.0.1/32", "172.30.0.11")],
                "10.0.0.1 via 172.30.0.10 dev eth0 \n",
                "route replace 10.0.0.1/32 via 172.30.0.11 proto 190\n",
            ),
            (six, vec![wanted("10.0.0.0/26", "172.30.0.10")], "", ""),
        ];
        for (family, wanted, shown, expected) in cases {
            assert_eq!(changes(family, &wanted, shown), expected, "{family} {wanted:?} {shown:?}");
        }
    }
}
