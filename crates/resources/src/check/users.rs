//! Who uses addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use api::Resource;
use api::cidr::parse_addr_of;
use api::endpoint::Addresses;

use super::more::{Problem, UNREADABLE};

/// What tells that an address is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Witness {
    /// A Windows host keeps the address for itself.
    Windows,
    /// A node has the address on an IPv4 tunnel.
    Node,
    /// A service has the address.
    Service,
    /// A workload has the address.
    Workload,
    /// A node has the address on an IPv6 tunnel, which Calico's check does not look at.
    Tunnel6,
    /// A virtual machine that does not run keeps the address; Calico's check does not look at these, either.
    Machine,
    /// A service has the address, by its allocation's account: services could not be looked up.
    Unseen,
}

impl Witness {
    /// Whether Calico's check knows users of this sort.
    pub fn is_calicos(self) -> bool {
        self < Witness::Tunnel6
    }
}

/// Somebody who uses an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The user, as Calico names it: `Node(n)`, `Workload(namespace/name)`.
    pub name: Arc<str>,
    /// What tells it.
    pub witness: Witness,
}

/// All users, in the order in which they were told.
#[derive(Debug, Default)]
pub(super) struct Users {
    all: Vec<(IpAddr, User)>,
    used: BTreeSet<IpAddr>,
    known_to_calico: BTreeSet<IpAddr>,
}

impl Users {
    pub fn add(&mut self, addr: IpAddr, name: Arc<str>, witness: Witness) {
        self.used.insert(addr);
        if witness.is_calicos() {
            self.known_to_calico.insert(addr);
        }
        self.all.push((addr, User { name, witness }));
    }

    /// The addresses that Windows hosts keep for themselves.
    pub fn set_windows(&mut self, addresses: Vec<IpAddr>) {
        self.all.retain(|(_, user)| user.witness != Witness::Windows);
        for addr in addresses {
            self.add(addr, "Reserved for Windows".into(), Witness::Windows);
        }
    }

    /// Takes a node's tunnel addresses. Gives the texts that are no addresses.
    pub fn take_node(&mut self, node: &Resource) -> Vec<Problem> {
        const FIELDS: [(&[&str], Witness); 5] = [
            (&["spec", "ipv4VXLANTunnelAddr"], Witness::Node),
            (&["spec", "wireguard", "interfaceIPv4Address"], Witness::Node),
            (&["spec", "bgp", "ipv4IPIPTunnelAddr"], Witness::Node),
            (&["spec", "ipv6VXLANTunnelAddr"], Witness::Tunnel6),
            (&["spec", "wireguard", "interfaceIPv6Address"], Witness::Tunnel6),
        ];
        let name: Arc<str> = format!("Node({})", node.name()).into();
        let mut odd = Vec::new();
        for (path, witness) in FIELDS {
            match node.text(path).filter(|text| !text.is_empty()).map(|text| parse_addr_of(text).ok_or(text))
            {
                Some(Ok(addr)) => self.add(addr, name.clone(), witness),
                Some(Err(text)) => odd.push(no_address(&name, &path.join("."), text)),
                None => {}
            }
        }
        odd
    }

    /// Takes an endpoint's addresses. Gives the texts that are no addresses.
    pub fn take_endpoint(&mut self, endpoint: &Resource) -> Vec<Problem> {
        let namespace = endpoint.metadata().namespace.as_deref().unwrap_or_default();
        let name: Arc<str> = format!("Workload({namespace}/{})", endpoint.name()).into();
        let Addresses { addresses, odd } = api::endpoint::addresses(endpoint);
        for addr in addresses {
            self.add(addr, name.clone(), Witness::Workload);
        }
        odd.iter().map(|(field, text)| no_address(&name, field, text)).collect()
    }

    pub fn of(&self, witness: Witness) -> impl Iterator<Item = (IpAddr, &Arc<str>)> {
        let of = self.all.iter().filter(move |(_, user)| user.witness == witness);
        of.map(|(addr, user)| (*addr, &user.name))
    }

    pub fn has(&self, addr: IpAddr) -> bool {
        self.used.contains(&addr)
    }

    pub fn count(&self) -> usize {
        self.known_to_calico.len()
    }

    pub fn by_address(self) -> BTreeMap<IpAddr, Vec<User>> {
        let mut users: BTreeMap<IpAddr, Vec<User>> = BTreeMap::new();
        for (addr, user) in self.all {
            users.entry(addr).or_default().push(user);
        }
        users
    }
}

fn no_address(record: &str, field: &str, text: &str) -> Problem {
    let shown = api::fault::short(&api::fault::printable(text), api::fault::TEXT);
    Problem {
        kind: UNREADABLE,
        record: record.to_string(),
        reason: format!("{field}: {shown} is no address"),
    }
}
