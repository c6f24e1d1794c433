//! The configuration of a router, for an administrator to put into it.
//!
//! Only networks, addresses and words of this program are written as they are. Of names from the store only
//! letters, digits and a few signs are left, so that nobody who can name a node can write a line.

use std::collections::BTreeMap;

use api::{Cidr, Family};

use crate::route::{Reason, Target, Wanted};

/// In whose language a configuration is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// BIRD 2 and 3: two static protocols.
    Bird,
    /// FRR, as its integrated configuration has it.
    Frr,
    /// Commands of `ip` (iproute2).
    Ip,
}

/// The configuration that makes these routes.
pub fn of(routes: &BTreeMap<Cidr, Wanted>, language: Language) -> String {
    let sign = if language == Language::Frr { '!' } else { '#' };
    let mut text = String::new();
    for family in Family::BOTH {
        let of_family = || routes.values().filter(|wanted| wanted.route.to.family() == family);
        if of_family().next().is_none() {
            continue;
        }
        let is_block = language == Language::Bird;
        if is_block {
            text += &format!("protocol static rackpool{} {{\n  {};\n", family.number(), family.segment());
        }
        for wanted in of_family() {
            let indent = if is_block { "  " } else { "" };
            text += &format!("{indent}{sign} {}\n", comment(&wanted.reason));
            for line in lines(wanted, language) {
                text += &format!("{indent}{line}\n");
            }
        }
        if is_block {
            text += "}\n";
        }
    }
    text
}

fn lines(wanted: &Wanted, language: Language) -> Vec<String> {
    let route = &wanted.route;
    let (to, family) = (route.to, route.to.family());
    let none = Vec::new();
    let gateways = match &route.target {
        Target::Via { gateways, .. } => gateways,
        _ => &none,
    };
    // A router has no other targets than gateways and ends.
    let is_silent = route.target == Target::Blackhole;
    match (language, gateways.as_slice()) {
        (Language::Bird, []) => {
            vec![format!("route {to} {};", if is_silent { "blackhole" } else { "unreachable" })]
        }
        (Language::Bird, gateways) => {
            let hops: String = gateways.iter().map(|gateway| format!(" via {gateway}")).collect();
            vec![format!("route {to}{hops};")]
        }
        (Language::Frr, gateways) => {
            let command = if family == Family::V4 { "ip route" } else { "ipv6 route" };
            match gateways {
                [] => vec![format!("{command} {to} {}", if is_silent { "blackhole" } else { "reject" })],
                gateways => gateways.iter().map(|gateway| format!("{command} {to} {gateway}")).collect(),
            }
        }
        (Language::Ip, gateways) => {
            let command = if family == Family::V4 { "ip route replace" } else { "ip -6 route replace" };
            let end = if is_silent { "blackhole" } else { "unreachable" };
            vec![match gateways {
                [] => format!("{command} {end} {to} proto static"),
                [gateway] => format!("{command} {to} via {gateway} proto static"),
                gateways => {
                    let hops: String =
                        gateways.iter().map(|gateway| format!(" nexthop via {gateway}")).collect();
                    format!("{command} {to} proto static{hops}")
                }
            }]
        }
    }
}

fn comment(reason: &Reason) -> String {
    let is_harmless = |c: char| c.is_ascii_alphanumeric() || " ,.:/_-()".contains(c);
    reason.to_string().chars().map(|c| if is_harmless(c) { c } else { '?' }).collect()
}
