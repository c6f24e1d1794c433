//! The table as a text for `nft`.
//!
//! It is made of numbers, addresses, networks and names of interfaces, each of which has a type of its own;
//! no other text from a store stands in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
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

/// What is dropped is counted, so that it is seen.
const DROP: &str = "counter drop";

impl Rules {
    /// The commands for `nft` that put the whole table in the place of the one that is there, all in one
    /// transaction.
    pub fn text(&self) -> String {
        format!("{}{}", removal(), self.table())
    }

    /// The commands that change the table that is there, and whose sets and chains are these, into the wanted
    /// one, in one transaction; those that were the same in the `last` text stay. No packet is seen by half
    /// of it, since the chains stay the same ones: where a chain is replaced by another, a packet may pass
    /// the new one before the transaction, and the old one after it.
    pub(crate) fn update(&self, last: &str) -> String {
        let table = self.table();
        let last: BTreeMap<&str, &str> = parts(last).collect();
        let (mut emptied, mut filled) = (String::new(), String::new());
        for (name, body) in parts(&table).filter(|(name, body)| last.get(name) != Some(body)) {
            let (kind, name) = name.split_once(' ').unwrap_or_default();
            let _ = writeln!(emptied, "flush {kind} {TABLE} {name}");
            filled += body;
        }
        format!("{emptied}table {TABLE} {{\n{filled}}}\n")
    }

    /// The table.
    ///
    /// Its sets hold single addresses. Sets of networks are empty for packets at the wrong moment: when a
    /// table comes in the place of another, the kernel fills such a set a little after the chains that use it
    /// are there.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("table {TABLE} {{\n");
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
        let nodes = |all: &BTreeSet<IpAddr>| -> Vec<String> {
            all.iter().filter(|addr| Family::of(**addr) == family).map(ToString::to_string).collect()
        };
        if self.settings.exclusions == Exclusions::PoolsAndNodes {
            set(text, &format!("nodes{number}"), &of, &nodes(&self.nodes));
        }
        for (kind, sources) in self.tunnels.iter().filter(|(kind, _)| kind.family() == family) {
            set(text, &format!("{}{number}", sources_of(*kind)), &of, &nodes(sources));
        }
        let own = self.pods.iter().flat_map(|(interface, networks)| {
            let own = networks.iter().filter(|network| is_single(network) && network.family() == family);
            own.map(move |network| format!("\"{interface}\" . {}", network.first()))
        });
        let own: BTreeSet<String> = own.collect();
        set(text, &format!("pods{number}"), &format!("ifname . {of}"), &Vec::from_iter(own));
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
        if !self.settings.pods_send_vxlan {
            rules.push(format!("udp dport {} {DROP}", self.settings.vxlan_port));
        }
        if !self.settings.pods_send_ipip {
            rules.push(format!("meta l4proto {IPIP} {DROP}"));
        }
        // Whoever attaches a pod makes routes to its addresses, by its interface: they are known before the
        // pod sends its first packet.
        rules.push("fib saddr . iif oif exists return".to_string());
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
        rules.push(DROP.to_string());
        chain(text, "pods", "", &rules);
    }

    /// Only nodes send into the tunnels. Whoever else could, would choose any sender inside.
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
                format!("{encapsulated} {word} saddr != @{}{number} jump strangers", sources_of(*kind))
            })
            .collect();
        chain(text, "input", "type filter hook input priority filter; policy accept;", &rules);
        let external = Family::BOTH.into_iter().flat_map(|family| {
            let external = self.settings.external_nodes.iter().copied();
            let each = cover(external, family).into_iter();
            each.map(move |network| format!("{} saddr {network} return", header(family)))
        });
        let rules: Vec<String> = external.chain([DROP.to_string()]).collect();
        chain(text, "strangers", "", &rules);
    }

    /// Translation comes after kube-proxy's, whose chain has the priority 100.
    fn translation(&self, text: &mut String) {
        let settings = &self.settings;
        for family in Family::BOTH {
            let address = settings.nat_address.filter(|addr| Family::of(*addr) == family);
            let mut rules = self.untranslated(family);
            if settings.nat_ports.is_some() {
                let of_ports = translate(family, address, settings.nat_ports);
                rules.push(format!("meta l4proto {TCP_AND_UDP} {of_ports}"));
            }
            rules.push(translate(family, address, None));
            chain(text, &format!("leaving{}", family.number()), "", &rules);
        }
        let by = match &settings.nat_interfaces {
            Interfaces::All => String::new(),
            Interfaces::One(name) => format!("oifname \"{name}\" "),
            Interfaces::BeginningWith(name) => format!("oifname \"{name}*\" "),
        };
        let mut rules = Vec::new();
        for family in Family::BOTH {
            let translated = self.pools.iter().filter(|pool| pool.is_translated).map(|pool| pool.cidr);
            let (word, number) = (header(family), family.number());
            let jump = |pool| format!("{by}{word} saddr {pool} jump leaving{number}");
            rules.extend(cover(translated, family).into_iter().map(jump));
        }
        for kind in self.tunnels.keys() {
            rules.extend(self.of_own_processes(*kind));
        }
        chain(text, "postrouting", "type nat hook postrouting priority srcnat + 10; policy accept;", &rules);
    }

    /// To where packets of pods go as they are.
    fn untranslated(&self, family: Family) -> Vec<String> {
        let (word, number) = (header(family), family.number());
        let to = |what: String| format!("{word} daddr {what} return");
        let mut networks: Vec<Cidr> =
            self.pools.iter().filter(|pool| pool.is_inside).map(|pool| pool.cidr).collect();
        let mut rules = Vec::new();
        if self.settings.exclusions == Exclusions::PoolsAndNodes {
            networks.extend(&self.settings.external_nodes);
            rules.push(to(format!("@nodes{number}")));
        }
        rules.extend(cover(networks.into_iter(), family).into_iter().map(|network| to(network.to_string())));
        rules
    }

    /// A process of this host whose packets enter a tunnel gets the tunnel's address, or the answer would
    /// come by another way. An answer must not be for the port of VXLAN: pods may not send to it.
    fn of_own_processes(&self, kind: Kind) -> [String; 2] {
        let (family, device) = (kind.family(), kind.device());
        let word = protocol(family);
        let foreign = format!(
            "oifname \"{device}\" meta nfproto {word} fib saddr type local fib saddr . oif type != local"
        );
        let ports = match self.settings.vxlan_port {
            port @ ..0x8000 => (port + 1, u16::MAX),
            port => (1024, port - 1),
        };
        let of_udp = format!("{foreign} meta l4proto {UDP} {}", translate(family, None, Some(ports)));
        [of_udp, format!("{foreign} {}", translate(family, None, None))]
    }

    fn has_vxlan(&self) -> bool {
        self.tunnels.keys().any(|kind| *kind != Kind::Ipip)
    }

    /// A packet of this cluster's VXLAN. The network's number follows 4 bytes after the UDP header; packets
    /// of other VXLANs on the same port are none of ours.
    fn vxlan(&self) -> String {
        format!("udp dport {} @th,96,24 {}", self.settings.vxlan_port, self.settings.vxlan_vni)
    }
}

/// The sets and chains of a table, in our text or in a listing: the kind and name of each, and all its lines.
pub(crate) fn parts(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut from = None;
    let mut end = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let begin = end;
        end += line.len();
        let is_part = |line: &&str| !line.starts_with('\t');
        match line.strip_prefix('\t').filter(is_part).map(str::trim_end) {
            Some("}") => from.take().map(|(from, name)| (name, &text[from..end])),
            Some(head) => {
                from = head.strip_suffix(" {").map(|name| (begin, name)).or(from);
                None
            }
            None => None,
        }
    })
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

/// The networks of a family without those that lie in others.
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

fn set(text: &mut String, name: &str, of: &str, elements: &[String]) {
    let _ = writeln!(text, "\tset {name} {{\n\t\ttype {of}");
    if !elements.is_empty() {
        let _ = writeln!(text, "\t\telements = {{\n\t\t\t{}\n\t\t}}", elements.join(",\n\t\t\t"));
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
