//! The table as a text for `nft`.
//!
//! It is made of numbers, addresses, networks and names of interfaces, each of which has a type of its own;
//! no other text from a store stands in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write};
use std::net::IpAddr;

use api::{Cidr, Family};
use routes::tunnel::Kind;

use crate::interface::Interfaces;
use crate::rules::Rules;
use crate::settings::Exclusions;

/// The table's family and name, as `nft` takes them.
pub const TABLE: &str = "inet rackpool";

/// How the names of pods' interfaces begin.
pub(crate) const PODS: &str = "cali*";

/// The numbers of protocols. `nft` would look their names up in a file that a host may lack.
const UDP: u8 = 17;
const TCP_AND_UDP: &str = "{ 6, 17 }";
const IPIP: u8 = 4;
const ICMP6: u8 = 58;

impl Rules {
    /// The commands for `nft` that put the whole table in the place of the one that is there, all in one
    /// transaction.
    pub fn text(&self) -> String {
        let mut text = format!("{}table {TABLE} {{\n", removal());
        for family in Family::BOTH {
            self.sets(&mut text, family);
        }
        self.before_tracking(&mut text);
        self.pods(&mut text);
        self.input(&mut text);
        self.translation(&mut text);
        text + "}\n"
    }

    fn sets(&self, text: &mut String, family: Family) {
        let (of, number) = (format!("{}_addr", protocol(family)), family.number());
        let pools = |is_wanted: fn(&routes::PoolNetwork) -> bool| {
            cover(self.pools.iter().filter(|pool| is_wanted(pool)).map(|pool| pool.cidr), family)
        };
        let external = || self.settings.external_nodes.iter().copied();
        let nodes =
            |all: &BTreeSet<IpAddr>| cover(all.iter().copied().map(Cidr::single).chain(external()), family);
        let mut networks = |name: &str, networks: Vec<Cidr>| {
            set(text, &format!("{name}{number}"), &of, true, networks.iter());
        };
        networks("translated", pools(|pool| pool.is_translated));
        networks("inside", pools(|pool| pool.is_inside));
        networks("nodes", nodes(&self.nodes));
        for (kind, sources) in self.tunnels.iter().filter(|(kind, _)| kind.family() == family) {
            networks(sources_of(*kind), nodes(sources));
        }
        let own = self.pods.iter().flat_map(|(interface, networks)| {
            let single = networks.iter().filter(|network| is_single(network) && network.family() == family);
            single.map(move |network| format!("\"{interface}\" . {}", network.first()))
        });
        set(text, &format!("pods{number}"), &format!("ifname . {of}"), false, own);
    }

    /// What is decided before connections are tracked. VXLAN packets have another source port in each
    /// direction, so their tracking would only fill the kernel's table.
    fn before_tracking(&self, text: &mut String) {
        let untracked = self.has_vxlan().then(|| format!("{} notrack", self.vxlan()));
        let mut arriving = vec![format!("iifname \"{PODS}\" jump pods")];
        arriving.extend(untracked.clone());
        chain(text, "prerouting", "type filter hook prerouting priority raw; policy accept;", &arriving);
        let leaving: Vec<String> = untracked.into_iter().collect();
        chain(text, "output", "type filter hook output priority raw; policy accept;", &leaving);
    }

    /// What pods send: nothing that looks as if a node had encapsulated it, and nothing from an address that
    /// is not theirs.
    fn pods(&self, text: &mut String) {
        let mut rules = Vec::new();
        let drop = "counter drop";
        if !self.settings.pods_send_vxlan {
            rules.push(format!("udp dport {} {drop}", self.settings.vxlan_port));
        }
        if !self.settings.pods_send_ipip {
            rules.push(format!("meta l4proto {IPIP} {drop}"));
        }
        rules.extend(
            Family::BOTH
                .map(|family| format!("iifname . {} saddr @pods{} return", header(family), family.number())),
        );
        for (interface, networks) in &self.pods {
            for network in networks.iter().filter(|network| !is_single(network)) {
                let word = header(network.family());
                rules.push(format!("iifname \"{interface}\" {word} saddr {network} return"));
            }
        }
        // Without these, no neighbour would be found. They do not leave the link.
        rules.push("ip6 saddr fe80::/10 return".to_string());
        rules.push(format!("ip6 saddr :: meta l4proto {ICMP6} return"));
        rules.push(drop.to_string());
        chain(text, "pods", "", &rules);
    }

    /// Only other nodes send into the tunnels. Whoever else could, would choose any sender inside.
    fn input(&self, text: &mut String) {
        let rules: Vec<String> = self
            .tunnels
            .keys()
            .map(|kind| {
                let (word, number) = (header(kind.family()), kind.family().number());
                let encapsulated = match kind {
                    Kind::Ipip => format!("meta l4proto {IPIP}"),
                    Kind::Vxlan | Kind::VxlanV6 => self.vxlan(),
                };
                format!("{encapsulated} {word} saddr != @{}{number} counter drop", sources_of(*kind))
            })
            .collect();
        chain(text, "input", "type filter hook input priority filter; policy accept;", &rules);
    }

    /// Translation comes after kube-proxy's, whose chain has the priority 100.
    fn translation(&self, text: &mut String) {
        let settings = &self.settings;
        for family in Family::BOTH {
            let address = settings.nat_address.filter(|addr| Family::of(*addr) == family);
            let translate = |ports: Option<(u16, u16)>| translate(family, address, ports);
            let mut rules = Vec::new();
            if settings.nat_ports.is_some() {
                rules.push(format!("meta l4proto {TCP_AND_UDP} {}", translate(settings.nat_ports)));
            }
            rules.push(translate(None));
            chain(text, &format!("translate{}", family.number()), "", &rules);
        }
        let leaving = match &settings.nat_interfaces {
            Interfaces::All => String::new(),
            Interfaces::One(name) => format!("oifname \"{name}\" "),
            Interfaces::BeginningWith(name) => format!("oifname \"{name}*\" "),
        };
        let mut rules: Vec<String> = Family::BOTH
            .iter()
            .map(|family| {
                let (word, number) = (header(*family), family.number());
                let beside = match settings.exclusions {
                    Exclusions::Pools => String::new(),
                    Exclusions::PoolsAndNodes => format!("{word} daddr != @nodes{number} "),
                };
                format!(
                    "{leaving}{word} saddr @translated{number} {word} daddr != @inside{number} {beside}jump \
                     translate{number}"
                )
            })
            .collect();
        for kind in self.tunnels.keys() {
            rules.extend(self.of_own_processes(*kind).into_iter().flatten());
        }
        chain(text, "postrouting", "type nat hook postrouting priority srcnat + 10; policy accept;", &rules);
    }

    /// A process of this host whose packets enter a tunnel gets the tunnel's address, or the answer would
    /// come by another way. An answer must not be for the port of VXLAN: pods may not send to it.
    fn of_own_processes(&self, kind: Kind) -> Option<[String; 2]> {
        let family = kind.family();
        let device = kind.encapsulation().device(family)?;
        let word = protocol(family);
        let foreign = format!(
            "oifname \"{device}\" meta nfproto {word} fib saddr type local fib saddr . oif type != local"
        );
        let ports = match self.settings.vxlan_port {
            port @ ..0x8000 => (port + 1, u16::MAX),
            port => (1024, port - 1),
        };
        let of_udp = format!("{foreign} meta l4proto {UDP} {}", translate(family, None, Some(ports)));
        Some([of_udp, format!("{foreign} {}", translate(family, None, None))])
    }

    fn has_vxlan(&self) -> bool {
        self.tunnels.keys().any(|kind| *kind != Kind::Ipip)
    }

    /// A packet of this cluster's VXLAN. The network's number follows 4 bytes after the UDP header; packets of
    /// other VXLANs on the same port are none of ours.
    fn vxlan(&self) -> String {
        format!("udp dport {} @th,96,24 {}", self.settings.vxlan_port, self.settings.vxlan_vni)
    }
}

/// The commands that remove the table, whether it is there or not.
pub(crate) fn removal() -> String {
    format!("table {TABLE} {{\n}}\ndelete table {TABLE}\n")
}

fn translate(family: Family, address: Option<IpAddr>, ports: Option<(u16, u16)>) -> String {
    let ports = ports.map(|(least, most)| match least == most {
        true => format!(":{least}"),
        false => format!(":{least}-{most}"),
    });
    let ports = ports.unwrap_or_default();
    let word = header(family);
    match address {
        Some(addr) if ports.is_empty() => format!("snat {word} to {addr} fully-random"),
        Some(IpAddr::V6(addr)) => format!("snat {word} to [{addr}]{ports} fully-random"),
        Some(addr) => format!("snat {word} to {addr}{ports} fully-random"),
        None if ports.is_empty() => "masquerade fully-random".to_string(),
        None => format!("masquerade to {ports} fully-random"),
    }
}

/// The networks of a family without those that lie in others: a set of intervals takes no overlaps.
fn cover(networks: impl Iterator<Item = Cidr>, family: Family) -> Vec<Cidr> {
    let sorted: BTreeMap<(IpAddr, u8), Cidr> = networks
        .filter(|network| network.family() == family)
        .map(|network| ((network.first(), network.prefix()), network))
        .collect();
    let mut kept: Vec<Cidr> = Vec::new();
    for network in sorted.into_values() {
        // What begins at or after the last one, and overlaps it, lies in it.
        if !kept.last().is_some_and(|last| last.covers(&network)) {
            kept.push(network);
        }
    }
    kept
}

fn set(
    text: &mut String,
    name: &str,
    of: &str,
    is_interval: bool,
    elements: impl Iterator<Item = impl Display>,
) {
    let _ = writeln!(text, "\tset {name} {{\n\t\ttype {of}");
    if is_interval {
        *text += "\t\tflags interval\n";
    }
    let elements: Vec<String> = elements.map(|element| format!("\t\t\t{element}")).collect();
    if !elements.is_empty() {
        let _ = writeln!(text, "\t\telements = {{\n{}\n\t\t}}", elements.join(",\n"));
    }
    *text += "\t}\n";
}

fn chain(text: &mut String, name: &str, base: &str, rules: &[String]) {
    let _ = writeln!(text, "\tchain {name} {{");
    for line in [base].into_iter().chain(rules.iter().map(String::as_str)).filter(|line| !line.is_empty()) {
        let _ = writeln!(text, "\t\t{line}");
    }
    *text += "\t}\n";
}

fn sources_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Ipip => "ipip",
        Kind::Vxlan | Kind::VxlanV6 => "vxlan",
    }
}

fn is_single(network: &Cidr) -> bool {
    network.prefix() == network.family().bits()
}

/// The family as types and `nfproto` name it.
pub(crate) fn protocol(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

/// The family as matches of headers name it.
pub(crate) fn header(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}
