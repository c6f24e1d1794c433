//! What a node has, and could have, as the address of a tunnel device (`node/pkg/allocateip`). This planner
//! only reads; [`tunnel`](crate::tunnel) does what follows.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{Attribute, Cidr, Family, HandleId, Key, Kind, Pool, Resource, Timestamp, Use};
use store::{Depth, ReadSet, Scope, View};

use crate::block::ReleaseIp;
use crate::plan::ips_by_handle::addresses;
use crate::plan::{Plan, Planner};
use crate::pools;

/// A kind of tunnel for which a node has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tunnel {
    /// WireGuard, IPv4.
    Wireguard,
    /// WireGuard, IPv6.
    WireguardV6,
    /// IP in IP, which exists for IPv4 only.
    Ipip,
    /// VXLAN, IPv4.
    Vxlan,
    /// VXLAN, IPv6.
    VxlanV6,
}

impl Tunnel {
    /// All kinds, in the order in which Calico's node agent serves them.
    pub const ALL: [Tunnel; 5] =
        [Tunnel::Wireguard, Tunnel::WireguardV6, Tunnel::Ipip, Tunnel::Vxlan, Tunnel::VxlanV6];

    /// The family of the address.
    pub fn family(self) -> Family {
        match self {
            Tunnel::Wireguard | Tunnel::Ipip | Tunnel::Vxlan => Family::V4,
            Tunnel::WireguardV6 | Tunnel::VxlanV6 => Family::V6,
        }
    }

    /// The handle that holds a node's address; `None` when the node's name can be part of no handle.
    pub fn handle(self, node: &str) -> Option<HandleId> {
        let prefix = match self {
            Tunnel::Wireguard => "wireguard-tunnel-addr",
            Tunnel::WireguardV6 => "wireguard-v6-tunnel-addr",
            Tunnel::Ipip => "ipip-tunnel-addr",
            Tunnel::Vxlan => "vxlan-tunnel-addr",
            Tunnel::VxlanV6 => "vxlan-v6-tunnel-addr",
        };
        HandleId::new(&format!("{prefix}-{node}"))
    }

    /// The attributes of a node's address, by which Calico's controllers and Felix know it.
    pub fn attributes(self, node: &str) -> BTreeMap<String, String> {
        let kind = match self {
            Tunnel::Wireguard => "wireguardTunnelAddress",
            Tunnel::WireguardV6 => "wireguardV6TunnelAddress",
            Tunnel::Ipip => "ipipTunnelAddress",
            Tunnel::Vxlan => "vxlanTunnelAddress",
            Tunnel::VxlanV6 => "vxlanV6TunnelAddress",
        };
        [("node", node), ("type", kind)].map(|(key, value)| (key.to_string(), value.to_string())).into()
    }

    /// Whether a pool's workloads go through such a tunnel. WireGuard encrypts what goes to any pool.
    fn serves(self, pool: &Resource) -> bool {
        let mode = match self {
            Tunnel::Wireguard | Tunnel::WireguardV6 => return true,
            Tunnel::Ipip => pool.text(&["spec", "ipipMode"]),
            Tunnel::Vxlan | Tunnel::VxlanV6 => pool.text(&["spec", "vxlanMode"]),
        };
        mode.is_some_and(|mode| !["", "Never"].contains(&mode))
    }
}

/// A question for the address of a node's tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindTunnel {
    /// The node.
    pub node: String,
    /// The kind of tunnel.
    pub tunnel: Tunnel,
    /// The address that the Node's field names. It is preferred, where the handle holds several that fit.
    pub recorded: Option<IpAddr>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundTunnel {
    /// The address to keep: the handle holds it as that of this tunnel, and it lies in a pool that still
    /// gives the node such addresses.
    pub fits: Option<IpAddr>,
    /// The other addresses of the handle, each with its sequence number.
    pub others: Vec<ReleaseIp>,
    /// Whether the handle counts more addresses than it holds, as after a crash.
    pub counts_too_many: bool,
    /// The networks of the pools from which an address can be taken now, in the order of the pools' names.
    pub pools: Vec<Cidr>,
}

/// Why it cannot be told what the node has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindTunnelError {
    /// The name of the node can be part of no handle. Such a node cannot have been created by Calico.
    #[error("Node({0}): the name can be part of no handle")]
    Name(String),
    /// The node's resource does not exist. Create it.
    #[error("resource does not exist: Node({0}) with error: <nil>")]
    NoNode(String),
}

impl FindTunnel {
    /// The planner for this question. It never writes.
    pub fn planner(self) -> FindTunnelPlanner {
        FindTunnelPlanner { handle: self.tunnel.handle(&self.node), request: self }
    }
}

/// The planner for [`FindTunnel`].
#[derive(Clone, Debug)]
pub struct FindTunnelPlanner {
    request: FindTunnel,
    handle: Option<HandleId>,
}

impl Planner for FindTunnelPlanner {
    type Answer = FoundTunnel;
    type Error = FindTunnelError;

    fn reads(&self) -> ReadSet {
        ReadSet::new()
            .key(Key::global(Kind::Node, self.request.node.as_str()))
            .keys(self.handle.clone().map(Key::Handle))
            .scope(Scope::kind(Kind::IPPool), Depth::Full)
    }

    fn plan(&mut self, view: &View, _: Timestamp, _: u64) -> Result<Plan<FoundTunnel>, FindTunnelError> {
        let node = &self.request.node;
        let id = self.handle.as_ref().ok_or_else(|| FindTunnelError::Name(node.clone()))?;
        let Some(Some((found, _))) = view.resource(&Key::global(Kind::Node, node.as_str())) else {
            return Err(FindTunnelError::NoNode(node.clone()));
        };
        let labels = &found.as_node().labels;
        let mut answer = FoundTunnel::default();
        // A pool whose selector cannot be parsed gives no address, and takes none away.
        let of_tunnel = |pool: &Resource, of: &Pool| {
            of.family() == self.request.tunnel.family()
                && of.allows(Use::Tunnel)
                && self.request.tunnel.serves(pool)
        };
        let mut keeping = Vec::new();
        for (resource, _) in view.resources(Kind::IPPool) {
            let Some(pool) = resource.as_pool().ok().filter(|pool| of_tunnel(resource, pool)) else {
                continue;
            };
            let selects = pools::selects_node(pool, labels);
            if !pool.disabled && !pool.deleting && selects != Some(false) {
                keeping.push(pool.cidr);
            }
            if pool.is_enabled() && selects == Some(true) {
                answer.pools.push(pool.cidr);
            }
        }
        let Some(Some((handle, _))) = view.handle(id) else { return Ok(Plan::Done(answer)) };
        let missing = view.missing(handle.blocks.keys().copied().map(Key::Block));
        if !missing.is_empty() {
            return Ok(Plan::Fetch(missing));
        }
        let wanted = self.request.tunnel.attributes(node);
        let fits = |addr: IpAddr, attribute: &Attribute| {
            let is_kept = keeping.iter().any(|pool| pool.contains(addr)) || self.may_be_kept(view, addr);
            is_kept && wanted.iter().all(|(key, value)| attribute.owner.get(key) == Some(value))
        };
        let mut fitting = Vec::new();
        for (addr, attribute, held) in addresses(view, id, handle.blocks.keys()) {
            if fits(addr, attribute) {
                fitting.push(addr);
            }
            answer.others.push(held);
        }
        let counted = handle.blocks.values().copied().fold(0, u32::saturating_add);
        answer.counts_too_many = counted as usize > answer.others.len();
        let recorded = self.request.recorded.filter(|addr| fitting.contains(addr));
        answer.fits = recorded.or(fitting.into_iter().min());
        answer.others.retain(|held| Some(held.addr) != answer.fits);
        Ok(Plan::Done(answer))
    }

    fn can_do_without(&self, key: &Key) -> bool {
        *key == Key::IpamConfig
    }
}

impl FindTunnelPlanner {
    /// Whether an address lies in no pool that can be read, and may lie in one that cannot.
    fn may_be_kept(&self, view: &View, addr: IpAddr) -> bool {
        let mut known = view.resources(Kind::IPPool).map(|(resource, _)| resource.as_pool());
        known.any(|pool| pool.is_err()) && !pools::all(view).any(|pool| pool.cidr.contains(addr))
    }
}
