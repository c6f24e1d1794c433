//! How packets to a pool's addresses travel between nodes.

use std::fmt;

use api::{Document, Family};

/// How packets to a pool's addresses travel between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encapsulation {
    /// As they are.
    None,
    /// In IP packets (IPv4 only).
    Ipip,
    /// In UDP packets.
    Vxlan,
}

impl Encapsulation {
    /// How a pool's packets travel, and whether they do so only between nodes of different subnets.
    pub fn of_pool(pool: &Document, family: Family) -> (Encapsulation, bool) {
        let mode = |field: &str| pool.text(&["spec", field]).unwrap_or_default();
        let is_on = |mode: &str| !["", "Never"].contains(&mode);
        let is_cross = |mode: &str| mode == "CrossSubnet";
        let (vxlan, ipip) = (mode("vxlanMode"), mode("ipipMode"));
        match family {
            _ if is_on(vxlan) => (Encapsulation::Vxlan, is_cross(vxlan)),
            Family::V4 if is_on(ipip) => (Encapsulation::Ipip, is_cross(ipip)),
            _ => (Encapsulation::None, false),
        }
    }

    /// How many bytes of a packet the outer headers take.
    pub fn overhead(self, family: Family) -> u32 {
        match (self, family) {
            (Encapsulation::None, _) => 0,
            (Encapsulation::Ipip, _) => 20,
            (Encapsulation::Vxlan, Family::V4) => 50,
            (Encapsulation::Vxlan, Family::V6) => 70,
        }
    }

    /// The largest packet that a pod may send, where the interface with the node's address carries packets of
    /// `uplink` bytes. A pool that encapsulates between subnets only counts as one that always does: a pod
    /// has one size for all its packets.
    pub fn mtu(self, family: Family, uplink: u32) -> u32 {
        uplink.saturating_sub(self.overhead(family))
    }
}

impl fmt::Display for Encapsulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encapsulation::None => "none",
            Encapsulation::Ipip => "IPIP",
            Encapsulation::Vxlan => "VXLAN",
        })
    }
}
