//! Packets to addresses that nobody has end, and where they end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

use crate::namespace::Namespace;
use crate::world::{Shape, World};

/// What a host says to a single ping, and where that ping was seen how often.
struct Seen {
    said: String,
    counts: Vec<(String, u64)>,
}

/// Sends a single ping to an address, and counts its packets at each host's entrance.
fn ping_once(world: &World, from: &Namespace, to: &str) -> Seen {
    let hosts = || {
        let nodes = world.nodes.iter().map(|node| (node.name.clone(), &node.host));
        nodes.chain([("router".to_string(), &world.router)])
    };
    let word = if to.contains(':') { "ip6" } else { "ip" };
    for (_, host) in hosts() {
        host.sh(&format!(
            "nft 'add table inet count; add chain inet count entrance {{ type filter hook prerouting priority -400; }};
                  add rule inet count entrance {word} daddr {to} counter'"
        ));
    }
    let said = from.run(|| Command::new("ping").args(["-n", "-c", "1", "-W", "1", to]).output().unwrap());
    assert!(!said.status.success(), "{to} answers");
    let count = |(name, host): (String, &Namespace)| {
        let listing = host.sh("nft list table inet count; nft delete table inet count");
        let packets = listing.split("counter packets ").nth(1).unwrap().split(' ').next().unwrap();
        (name, packets.parse().unwrap())
    };
    Seen { said: String::from_utf8(said.stdout).unwrap(), counts: hosts().map(count).collect() }
}

impl Seen {
    /// Nobody saw the packet more than twice: it did not go round.
    fn assert_no_loop(&self) {
        assert!(self.counts.iter().all(|(_, count)| *count <= 2), "{:?}: {}", self.counts, self.said);
        assert!(!self.said.contains("exceeded"), "{}", self.said);
    }

    fn assert_reached(&self, world: &World, rack: usize) {
        let in_rack = |name: &str| world.nodes.iter().any(|node| node.rack == rack && node.name == name);
        let seen: u64 = self.counts.iter().filter(|(name, _)| in_rack(name)).map(|(_, count)| count).sum();
        assert!(seen > 0, "no node of rack {rack} saw the packet: {:?}", self.counts);
    }
}

/// The last address of a pod's block. No pod has it.
fn free_in_block(address: &str) -> String {
    match address.parse().unwrap() {
        IpAddr::V4(addr) => Ipv4Addr::from_bits(addr.to_bits() | 0x3f).to_string(),
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() | 0x3f).to_string(),
    }
}

/// Addresses of the second rack's pools that are in no block: the pools' last ones.
const FREE: [&str; 2] = ["192.168.127.254", "2001:db8:80:1:ffff:ffff:ffff:fffe"];

#[test]
fn packets_to_addresses_that_nobody_has_end() {
    for vxlan in ["Never", "Always"] {
        let shape = Shape { vxlan, is_translated: false, ..Shape::default() };
        let Some((world, pods)) = World::with_agents(shape, &[]) else { return };
        let is_plain = vxlan == "Never";
        if is_plain {
            world.configure_router();
        }
        for is_v4 in [true, false] {
            let (there, free) = (pods[2].address(is_v4), FREE[usize::from(!is_v4)]);
            let in_block = free_in_block(&there);
            let senders = [&pods[0].inside, &pods[3].inside, &world.outside];
            for from in &senders[..if is_plain { 3 } else { 2 }] {
                // In the block: its owner drops it.
                let seen = ping_once(&world, from, &in_block);
                seen.assert_no_loop();
                seen.assert_reached(&world, 1);
                // In the pool only: with one route a rack, a node of the rack says that it is not there.
                let seen = ping_once(&world, from, free);
                seen.assert_no_loop();
                if is_plain {
                    seen.assert_reached(&world, 1);
                    assert!(seen.said.contains("nreachable"), "{vxlan}: {}", seen.said);
                }
            }
        }
    }
}
