//! A route, and the reason for it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use api::{Cidr, Family};

/// The protocol number of our routes. Felix has 80; what carries another number is never touched.
pub const PROTOCOL: u8 = 81;

/// A route of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The destination.
    pub to: Cidr,
    /// What becomes of packets to it.
    pub target: Target,
    /// The largest packet, where the route says so.
    pub mtu: Option<u32>,
    /// Which of two routes to one destination counts: the lower one.
    pub metric: u32,
}

/// What becomes of packets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// They go to one of these gateways, which is reached directly through the device.
    Via {
        /// The gateways, sorted; several share the load.
        gateways: Vec<IpAddr>,
        /// The device. `None` stands for the interface that carries the node's address, where its name is
        /// not known; in a router, for whichever leads there.
        device: Option<Arc<str>>,
    },
    /// They go into the device: whoever has the address is on its other side.
    Link {
        /// The device.
        device: Arc<str>,
    },
    /// They are dropped.
    Blackhole,
    /// They are dropped, and the sender is told.
    Unreachable,
}

impl Target {
    /// Whether packets go anywhere.
    pub fn forwards(&self) -> bool {
        matches!(self, Target::Via { .. } | Target::Link { .. })
    }

    /// Whether packets go to a pod of this host, whose interface's name begins so.
    pub fn leads_to_pod(&self) -> bool {
        matches!(self, Target::Link { device } if device.starts_with("cali"))
    }
}

/// The metric of a route that names none, as the kernel has it.
pub fn default_metric(family: Family) -> u32 {
    match family {
        Family::V4 => 0,
        Family::V6 => 1024,
    }
}

impl Route {
    /// A route of the usual metric without a largest packet.
    pub fn new(to: Cidr, target: Target) -> Route {
        Route { to, target, mtu: None, metric: default_metric(to.family()) }
    }

    /// Whether `found` is what this route asks for. An unnamed device is any device.
    pub fn is_met_by(&self, found: &Route) -> bool {
        let targets = match (&self.target, &found.target) {
            (Target::Via { gateways, device: None }, Target::Via { gateways: others, .. }) => {
                gateways == others
            }
            (wanted, found) => wanted == found,
        };
        targets && (self.to, self.mtu, self.metric) == (found.to, found.mtu, found.metric)
    }
}

/// Prints as `ip route` takes it, without the protocol.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Blackhole => write!(f, "blackhole {}", self.to)?,
            Target::Unreachable => write!(f, "unreachable {}", self.to)?,
            Target::Link { device } => write!(f, "{} dev {device} scope link", self.to)?,
            Target::Via { gateways, device } => {
                let device = device.as_deref().map(|device| format!(" dev {device}")).unwrap_or_default();
                write!(f, "{}", self.to)?;
                let hop = if gateways.len() > 1 { " nexthop via" } else { " via" };
                for gateway in gateways {
                    write!(f, "{hop} {gateway}{device}")?;
                }
            }
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        if self.metric != default_metric(self.to.family()) {
            write!(f, " metric {}", self.metric)?;
        }
        Ok(())
    }
}

/// A route that should be there, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The route.
    pub route: Route,
    /// Why.
    pub reason: Reason,
}

/// Why a route is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The block of another node.
    Block {
        /// The pool of the block.
        pool: String,
        /// The block.
        block: Cidr,
        /// The node that has it.
        node: String,
    },
    /// An address that a node has from a block which is not its own.
    Borrowed {
        /// The pool of the block.
        pool: String,
        /// The block.
        block: Cidr,
        /// The node that has the address.
        node: String,
        /// The handle of the address, where it has one.
        handle: Option<String>,
    },
    /// The node's own block: packets to its free addresses end here.
    OwnBlock {
        /// The pool of the block.
        pool: String,
    },
    /// All of another rack.
    Rack {
        /// The rack.
        rack: String,
    },
    /// All of the own rack: packets to addresses that no block holds end here.
    OwnRack {
        /// The rack.
        rack: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Block { pool, node, .. } => write!(f, "block of {node}, pool {pool}"),
            Reason::Borrowed { pool, block, node, handle } => {
                write!(f, "address of {node} from block {block}, pool {pool}")?;
                handle.as_ref().map_or(Ok(()), |handle| write!(f, ", handle {handle}"))
            }
            Reason::OwnBlock { pool } => write!(f, "own block, pool {pool}"),
            Reason::Rack { rack } => write!(f, "rack {rack}"),
            Reason::OwnRack { rack } => write!(f, "own rack {rack}: what no block holds"),
        }
    }
}
