//! What the table of a node depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use api::{Cidr, Document};
use routes::tunnel::Kind;
use routes::{Desired, PoolNetwork, Snapshot};
use serde_json::Value as Json;

use crate::interface::{Interface, InterfaceError};
use crate::settings::{Settings, network};

/// What the table of a node depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What an administrator has set.
    pub settings: Settings,
    /// The pools.
    pub pools: Vec<PoolNetwork>,
    /// The addresses by which nodes reach each other.
    pub nodes: BTreeSet<IpAddr>,
    /// The tunnels that this node has, and from where packets may come through each.
    pub tunnels: BTreeMap<Kind, BTreeSet<IpAddr>>,
    /// The interfaces of this node's pods, and from what networks each may send besides the addresses to
    /// which the host has a route by that interface. Any other interface whose name begins with `cali` may
    /// send from the latter only.
    pub pods: BTreeMap<Interface, Vec<Cidr>>,
    /// Whether this node passes on packets for pods of other nodes: its router sends it what is for its rack.
    pub is_relay: bool,
    /// Whether a pool or a Node cannot be read, so that pools and nodes may be missing.
    pub has_unknown: bool,
}

impl Rules {
    /// The rules of a node without pods; [`pod`] says what to add for each endpoint.
    pub fn of(snapshot: &Snapshot, desired: &Desired, settings: Settings) -> Rules {
        let nodes = snapshot.nodes_reached_at();
        let sources = |tunnel: &routes::tunnel::Tunnel| match tunnel.kind {
            Kind::Ipip => nodes.iter().copied().filter(IpAddr::is_ipv4).collect(),
            Kind::Vxlan | Kind::VxlanV6 => tunnel.peers.values().map(|peer| peer.at).collect(),
        };
        Rules {
            settings,
            pools: snapshot.pool_networks().collect(),
            tunnels: desired.tunnels.iter().map(|tunnel| (tunnel.kind, sources(tunnel))).collect(),
            nodes,
            pods: BTreeMap::new(),
            is_relay: false,
            has_unknown: desired.has_unknown_peers,
        }
    }

    /// Where a pool or a Node cannot be read, what the last rules said counts on: a record that became
    /// unreadable closes no tunnel, and makes no pod a stranger.
    pub fn keep_unknown(&mut self, last: &Rules) {
        if !self.has_unknown {
            return;
        }
        let missing = |pool: &&PoolNetwork| self.pools.iter().all(|known| known.cidr != pool.cidr);
        let pools: Vec<PoolNetwork> = last.pools.iter().filter(missing).copied().collect();
        self.pools.extend(pools);
        self.nodes.extend(&last.nodes);
        for (kind, sources) in &last.tunnels {
            self.tunnels.entry(*kind).or_default().extend(sources);
        }
    }
}

/// The interface of an endpoint, and from what networks it may send: its own addresses, and the prefixes that
/// its `allowSpoofedSourcePrefixes` adds. What is no network is left out. `None` where the endpoint names no
/// interface yet.
///
/// # Errors
/// See [`InterfaceError`].
pub fn pod(endpoint: &Document) -> Result<Option<(Interface, Vec<Cidr>)>, InterfaceError> {
    let Some(interface) = endpoint.text(&["spec", "interfaceName"]).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let listed = |field: &str| {
        let json = endpoint.field(&["spec", field]).and_then(Json::as_array);
        json.into_iter().flatten().filter_map(Json::as_str).filter_map(network)
    };
    let mut networks: Vec<Cidr> = listed("ipNetworks").chain(listed("allowSpoofedSourcePrefixes")).collect();
    networks.sort_unstable();
    networks.dedup();
    Ok(Some((Interface::parse(interface)?, networks)))
}
