//! The tunnels of a node: devices, their addresses, and who is on the other side.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{Family, Use};

use crate::destination::Destinations;
use crate::encapsulation::Encapsulation;
use crate::mac::Mac;
use crate::snapshot::NodeFacts;

/// A kind of tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// IP in IP, which exists for IPv4 only.
    Ipip,
    /// VXLAN, IPv4.
    Vxlan,
    /// VXLAN, IPv6.
    VxlanV6,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 3] = [Kind::Ipip, Kind::Vxlan, Kind::VxlanV6];

    /// The family of its addresses, inside and outside.
    pub fn family(self) -> Family {
        match self {
            Kind::Ipip | Kind::Vxlan => Family::V4,
            Kind::VxlanV6 => Family::V6,
        }
    }

    /// The encapsulation of pools that use it.
    pub fn encapsulation(self) -> Encapsulation {
        match self {
            Kind::Ipip => Encapsulation::Ipip,
            Kind::Vxlan | Kind::VxlanV6 => Encapsulation::Vxlan,
        }
    }

    /// The device's name.
    pub const fn device(self) -> &'static str {
        match self {
            Kind::Ipip => "tunl0",
            Kind::Vxlan => "vxlan.calico",
            Kind::VxlanV6 => "vxlan-v6.calico",
        }
    }

    /// The field of a Node that holds the device's address.
    pub fn field(self) -> &'static str {
        match self {
            Kind::Ipip => "spec.bgp.ipv4IPIPTunnelAddr",
            Kind::Vxlan => "spec.ipv4VXLANTunnelAddr",
            Kind::VxlanV6 => "spec.ipv6VXLANTunnelAddr",
        }
    }

    pub(crate) fn address_of(self, node: &NodeFacts) -> Option<IpAddr> {
        match self {
            Kind::Ipip => node.ipip,
            Kind::Vxlan => node.v4.vxlan,
            Kind::VxlanV6 => node.v6.vxlan,
        }
    }
}

/// What is to become of the address of a tunnel device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// The node keeps the address that its Node names.
    Keep(IpAddr),
    /// The node needs an address from one of the pools, in the place of this one.
    Take(Option<IpAddr>),
    /// No pool gives the node an address. This one goes back.
    GiveUp(Option<IpAddr>),
}

/// A tunnel that a node needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// The kind.
    pub kind: Kind,
    /// The device's name.
    pub device: &'static str,
    /// The source of the packets that carry others: the node's address. Without one there can be no device.
    pub local: Option<IpAddr>,
    /// The address of the device.
    pub address: Address,
    /// The pools that can give the node such an address, by name.
    pub pools: Vec<String>,
    /// The hardware address, for VXLAN.
    pub mac: Option<Mac>,
    /// The largest packet.
    pub mtu: u32,
    /// The other sides, for VXLAN: by node.
    pub peers: BTreeMap<String, Peer>,
}

/// The other side of a VXLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address of its tunnel device, which is the gateway of routes to it.
    pub address: IpAddr,
    /// The hardware address of that device.
    pub mac: Mac,
    /// The node's address.
    pub at: IpAddr,
}

impl Tunnel {
    /// Whether packets can go through it: the device can be made, and the Node tells others where it is. An
    /// address that is to be replaced or given up is in use until the Node names it no more.
    pub fn is_complete(&self) -> bool {
        let is_told = !matches!(self.address, Address::Take(None) | Address::GiveUp(None));
        self.local.is_some() && (is_told || self.kind == Kind::Ipip)
    }
}

/// The tunnels that a node needs: one of each kind that any pool uses, since pods of other nodes may be
/// there.
pub(crate) fn of(
    destinations: &Destinations<'_>,
    name: &str,
    own: &NodeFacts,
    uplink_mtu: u32,
) -> Vec<Tunnel> {
    let kinds = Kind::ALL.into_iter().filter(|kind| destinations.uses(kind.encapsulation(), kind.family()));
    let tunnel = |kind: Kind| {
        let (family, encapsulation) = (kind.family(), kind.encapsulation());
        let ends = own.ends(family);
        let is_vxlan = encapsulation == Encapsulation::Vxlan;
        let (address, pools) = address(destinations, kind, own);
        Tunnel {
            kind,
            device: kind.device(),
            local: ends.address.map(|(addr, _)| addr),
            address,
            pools,
            mac: is_vxlan.then(|| ends.mac.unwrap_or_else(|| Mac::derived(name, family))),
            mtu: encapsulation.mtu(family, uplink_mtu),
            peers: if is_vxlan { peers(destinations, name, family) } else { BTreeMap::new() },
        }
    };
    kinds.map(tunnel).collect()
}

fn address(destinations: &Destinations<'_>, kind: Kind, own: &NodeFacts) -> (Address, Vec<String>) {
    let candidates = destinations.snapshot.pools.values().filter(|facts| {
        let pool = &facts.pool;
        let selects = pool.node_selector.as_ref().is_ok_and(|selector| selector.matches(&own.labels));
        facts.encapsulation == kind.encapsulation()
            && pool.family() == kind.family()
            && pool.allows(Use::Tunnel)
            && !pool.disabled
            && !pool.deleting
            && selects
    });
    let candidates: Vec<_> = candidates.collect();
    let recorded = kind.address_of(own);
    let address = match recorded {
        _ if candidates.is_empty() => Address::GiveUp(recorded),
        Some(addr) if candidates.iter().any(|facts| facts.pool.cidr.contains(addr)) => Address::Keep(addr),
        _ => Address::Take(recorded),
    };
    (address, candidates.into_iter().map(|facts| facts.pool.name.clone()).collect())
}

/// The other nodes whose address and tunnel address are known. Of two with one tunnel address or one hardware
/// address the first by name counts; a finding tells of them.
fn peers(destinations: &Destinations<'_>, name: &str, family: Family) -> BTreeMap<String, Peer> {
    let mut peers: BTreeMap<String, Peer> = BTreeMap::new();
    let (mut addresses, mut macs) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for (other, node) in destinations.snapshot.nodes.iter().filter(|(other, _)| *other != name) {
        let Some(peer) = peer(other, node, family) else { continue };
        if addresses.insert(peer.address) && macs.insert(peer.mac) {
            peers.insert(other.clone(), peer);
        }
    }
    peers
}

/// A node as the other side of a VXLAN; `None` while its address or its tunnel address is not known.
pub(crate) fn peer(name: &str, node: &NodeFacts, family: Family) -> Option<Peer> {
    let ends = node.ends(family);
    let mac = ends.mac.unwrap_or_else(|| Mac::derived(name, family));
    Some(Peer { address: ends.vxlan?, mac, at: ends.address?.0 })
}
