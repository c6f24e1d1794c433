//! The lab's network: a bridge in the cluster's namespace, and a cable from it to each node.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::cni;
use super::site::{BRIDGE, Node, Site};

/// Whether this machine supports IPv6.
fn has_ipv6() -> bool {
    Path::new("/proc/sys/net/ipv6").exists()
}

/// Creates the bridge.
pub fn create_bridge(site: &Site) -> Result<()> {
    let mut lines =
        format!("link set lo up\nlink add br0 type bridge\naddr add {BRIDGE}/24 dev br0\nlink set br0 up\n");
    for (subnet, owner) in cni::fixed_subnets(site) {
        lines.push_str(&format!("route add {subnet} via {}\n", owner.address()));
    }
    ip(None, &lines)
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
    for (subnet, owner) in cni::fixed_subnets(node.site).filter(|(_, owner)| owner.number != number) {
        lines.push_str(&format!("route add {subnet} via {}\n", owner.address()));
    }
    ip(Some(name), &lines)
}

/// Removes a node's network namespace.
pub fn unplug(node: Node<'_>) -> Result<()> {
    // The kernel removes the namespace's contents some time later. The cable has to be gone at once, so it is
    // removed first.
    ip(None, &format!("link del node{}\nnetns del {}\n", node.number, node.name))
}

/// Lets `ip` carry out these lines in that network namespace, or in the cluster's; stops at the first one
/// that fails.
fn ip(network: Option<&str>, lines: &str) -> Result<()> {
    let mut ip = Command::new("ip");
    if let Some(name) = network {
        ip.args(["-n", name]);
    }
    ip.args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = ip.spawn().context("cannot start ip")?;
    process.stdin.take().context("it was piped")?.write_all(lines.as_bytes())?;
    let out = process.wait_with_output()?;
    if !out.status.success() {
        bail!("ip failed: {}\nof\n{lines}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(())
}
