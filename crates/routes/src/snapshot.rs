//! What stored records say about routes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use api::{
    Affinity, AffinityState, BlockCidr, Cidr, Document, Family, Key, Kind, Owner, Pool, Record, Use, Value,
};
use serde_json::Value as Json;

use crate::encapsulation::Encapsulation;
use crate::mac::Mac;

/// By what it is known who has a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// By the blocks themselves, all of which are read. An affinity without a block means nothing.
    ByBlocks,
    /// By confirmed affinities; blocks are read only here and there. Enough where no address is borrowed.
    ByAffinities,
}

/// What stored records say about routes. It takes records in any order, and forgets them again.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) known: Known,
    pub(crate) nodes: BTreeMap<String, NodeFacts>,
    pub(crate) pools: BTreeMap<String, PoolFacts>,
    pub(crate) blocks: BTreeMap<BlockCidr, BlockFacts>,
    pub(crate) affinities: BTreeMap<BlockCidr, BTreeMap<Owner, AffinityState>>,
    /// Records that are there and cannot be read. They are never taken for absent.
    pub(crate) unreadable: BTreeSet<Key>,
}

/// What a Node says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeFacts {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) v4: Ends,
    pub(crate) v6: Ends,
    pub(crate) ipip: Option<IpAddr>,
    /// All addresses of the node, whatever their kind.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// Those that Kubernetes calls internal.
    internal: BTreeSet<IpAddr>,
    /// Names of interfaces, each with its networks.
    interfaces: Vec<(String, Vec<IpAddr>)>,
}

/// Where a node is reached in a family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The node's address and its subnet.
    pub(crate) address: Option<(IpAddr, Cidr)>,
    /// The address of its VXLAN device.
    pub(crate) vxlan: Option<IpAddr>,
    /// The hardware address of its VXLAN device, where the Node names one.
    pub(crate) mac: Option<Mac>,
}

impl NodeFacts {
    pub(crate) fn ends(&self, family: Family) -> &Ends {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// The name of the interface that carries the node's address, where the Node says it.
    pub(crate) fn uplink(&self) -> Option<&str> {
        let own = [&self.v4, &self.v6].into_iter().filter_map(|ends| Some(ends.address?.0));
        own.flat_map(|addr| self.interfaces.iter().filter(move |(_, all)| all.contains(&addr)))
            .map(|(name, _)| name.as_str())
            .next()
    }

    /// The address by which other nodes reach it in a family; where it has not made itself known, those that
    /// Kubernetes knows.
    fn reached_at(&self, family: Family) -> impl Iterator<Item = IpAddr> {
        let own = self.ends(family).address.map(|(addr, _)| addr);
        let internal =
            self.internal.iter().copied().filter(move |addr| own.is_none() && Family::of(*addr) == family);
        own.into_iter().chain(internal)
    }

    fn of(node: &Document) -> NodeFacts {
        let address = |path: &[&str], family: Family| -> Option<IpAddr> {
            api::cidr::parse_addr(node.text(path)?).filter(|addr| Family::of(*addr) == family)
        };
        let network = |field: &str, family: Family| {
            let (subnet, addr) = Cidr::parse_unmasked(node.text(&["spec", "bgp", field])?).ok()?;
            (subnet.family() == family).then_some((addr, subnet))
        };
        let mac = |field: &str| Mac::parse(node.text(&["spec", field])?);
        let list =
            |field: &str| node.field(&["spec", field]).and_then(Json::as_array).cloned().unwrap_or_default();
        let plain = |json: &Json| {
            let text = json.as_str()?;
            api::cidr::parse_addr(text.split('/').next().unwrap_or_default())
        };
        let v4 = Ends {
            address: network("ipv4Address", Family::V4),
            vxlan: address(&["spec", "ipv4VXLANTunnelAddr"], Family::V4),
            mac: mac("vxlanTunnelMACAddr"),
        };
        let v6 = Ends {
            address: network("ipv6Address", Family::V6),
            vxlan: address(&["spec", "ipv6VXLANTunnelAddr"], Family::V6),
            mac: mac("vxlanTunnelMACAddrV6"),
        };
        let own = [&v4, &v6].into_iter().filter_map(|ends| Some(ends.address?.0));
        let listed = list("addresses");
        let addresses = own.chain(listed.iter().filter_map(|json| plain(&json["address"]))).collect();
        let internal = listed.iter().filter(|json| json["type"] == "InternalIP");
        let interface = |json: &Json| {
            let all = json["addresses"].as_array().into_iter().flatten().filter_map(plain).collect();
            Some((json["name"].as_str()?.to_string(), all))
        };
        NodeFacts {
            labels: node.metadata().labels.clone(),
            ipip: address(&["spec", "bgp", "ipv4IPIPTunnelAddr"], Family::V4),
            interfaces: list("interfaces").iter().filter_map(interface).collect(),
            internal: internal.filter_map(|json| plain(&json["address"])).collect(),
            v4,
            v6,
            addresses,
        }
    }
}

/// What a pool says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PoolFacts {
    pub(crate) pool: Arc<Pool>,
    pub(crate) encapsulation: Encapsulation,
    /// Whether packets are encapsulated between different subnets only.
    pub(crate) is_cross_subnet: bool,
    /// Whether routers are to know nothing of it.
    pub(crate) is_hidden: bool,
    /// Whether packets from it that leave the cluster are translated.
    is_translated: bool,
}

/// A pool, as translation sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolNetwork {
    /// Its network.
    pub cidr: Cidr,
    /// Whether packets from it that leave the cluster are translated (`natOutgoing`).
    pub is_translated: bool,
    /// Whether it is part of the cluster: its addresses are those of pods and nodes, not of services only.
    pub is_inside: bool,
}

impl PoolFacts {
    /// Whether its addresses are those of pods and nodes. Addresses of services only are reached in other
    /// ways.
    pub(crate) fn has_routes(&self) -> bool {
        self.pool.allows(Use::Workload) || self.pool.allows(Use::Tunnel)
    }
}

/// What a block says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockFacts {
    pub(crate) owner: Option<Owner>,
    /// The addresses that others than the owner have.
    pub(crate) lent: Vec<Lent>,
}

/// An address that a node has from a block which is not its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lent {
    pub(crate) addr: IpAddr,
    pub(crate) node: String,
    pub(crate) handle: Option<String>,
}

impl BlockFacts {
    /// Every assigned address counts, whatever it is for; one that cools down has no owner any more, and one
    /// that names no node leads nowhere.
    fn of(block: &api::Block) -> BlockFacts {
        let owner = block.owner();
        let host = match &owner {
            Some(Owner::Host(name)) => Some(name.as_str()),
            _ => None,
        };
        let holder = |ordinal: u32| {
            let attribute = block.attribute(ordinal).filter(|attribute| attribute.released_at.is_none())?;
            let node = attribute.owner.get("node").filter(|node| Some(node.as_str()) != host)?;
            let addr = block.cidr.addr(ordinal)?;
            Some(Lent { addr, node: node.clone(), handle: attribute.handle().map(str::to_string) })
        };
        let lent = (0..block.cidr.size()).filter_map(holder).collect();
        BlockFacts { owner, lent }
    }
}

/// Puts a value in the place of another. Tells whether it is another.
fn replaces<K: Ord, V: PartialEq>(known: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
    let is_new = known.get(&key) != Some(&value);
    known.insert(key, value);
    is_new
}

impl Snapshot {
    /// A snapshot without records.
    pub fn new(known: Known) -> Snapshot {
        Snapshot {
            known,
            nodes: BTreeMap::new(),
            pools: BTreeMap::new(),
            blocks: BTreeMap::new(),
            affinities: BTreeMap::new(),
            unreadable: BTreeSet::new(),
        }
    }

    /// Takes a record in the place of what was known under its key. Records that say nothing about routes are
    /// left out. Tells whether anything is known now that was not: most changes of Nodes and blocks say
    /// nothing new about routes.
    pub fn take(&mut self, record: &Record) -> bool {
        let was_unreadable = self.unreadable.remove(&record.key);
        let is_new = match &record.value {
            Value::Resource(resource) if resource.kind() == Kind::Node => {
                replaces(&mut self.nodes, resource.name().to_string(), NodeFacts::of(resource))
            }
            Value::Resource(resource) if resource.kind() == Kind::IPPool => {
                let Ok(pool) = resource.as_pool() else {
                    self.take_unreadable(&record.key);
                    return true;
                };
                let (encapsulation, is_cross_subnet) = Encapsulation::of_pool(resource, pool.family());
                let says = |field: &str| {
                    resource.field(&["spec", field]).and_then(Json::as_bool).unwrap_or_default()
                };
                let facts = PoolFacts {
                    pool: pool.clone(),
                    encapsulation,
                    is_cross_subnet,
                    is_hidden: says("disableBGPExport"),
                    is_translated: says("natOutgoing"),
                };
                replaces(&mut self.pools, pool.name.clone(), facts)
            }
            Value::Block(block) => replaces(&mut self.blocks, block.cidr, BlockFacts::of(block)),
            Value::Affinity(affinity) => self.take_affinity(&record.key, affinity),
            _ => false,
        };
        is_new || was_unreadable
    }

    fn take_affinity(&mut self, key: &Key, affinity: &Affinity) -> bool {
        let Key::Affinity { owner, block } = key else { return false };
        replaces(self.affinities.entry(*block).or_default(), owner.clone(), affinity.state)
    }

    /// Notes that the record under a key is there and cannot be read.
    pub fn take_unreadable(&mut self, key: &Key) {
        self.forget(key);
        let matters = match key {
            Key::Resource { kind, .. } => [Kind::Node, Kind::IPPool].contains(kind),
            Key::Block(_) | Key::Affinity { .. } => true,
            _ => false,
        };
        if matters {
            self.unreadable.insert(key.clone());
        }
    }

    /// Forgets the record under a key: it is not there any more.
    pub fn forget(&mut self, key: &Key) {
        self.unreadable.remove(key);
        match key {
            Key::Resource { kind: Kind::Node, name, .. } => drop(self.nodes.remove(name)),
            Key::Resource { kind: Kind::IPPool, name, .. } => drop(self.pools.remove(name)),
            Key::Block(block) => drop(self.blocks.remove(block)),
            Key::Affinity { owner, block } => {
                if let Some(owners) = self.affinities.get_mut(block) {
                    owners.remove(owner);
                    if owners.is_empty() {
                        self.affinities.remove(block);
                    }
                }
            }
            _ => {}
        }
    }

    /// The blocks to which a node has a confirmed affinity.
    pub fn blocks_of(&self, node: &str) -> impl Iterator<Item = BlockCidr> {
        let owner = Owner::Host(node.to_string());
        let is_own = move |owners: &BTreeMap<Owner, AffinityState>| {
            owners.get(&owner) == Some(&AffinityState::Confirmed)
        };
        self.affinities.iter().filter(move |(_, owners)| is_own(owners)).map(|(block, _)| *block)
    }

    /// The names of the nodes, in their order.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// The networks of the pools, disabled ones too: their addresses stay where they are.
    pub fn pool_networks(&self) -> impl Iterator<Item = PoolNetwork> {
        self.pools.values().map(|facts| PoolNetwork {
            cidr: facts.pool.cidr,
            is_translated: facts.is_translated,
            is_inside: facts.has_routes(),
        })
    }

    /// The addresses by which nodes reach each other.
    pub fn nodes_reached_at(&self) -> BTreeSet<IpAddr> {
        let of = |node: &'_ NodeFacts| Family::BOTH.map(|family| node.reached_at(family).collect::<Vec<_>>());
        self.nodes.values().flat_map(of).flatten().collect()
    }

    /// Whether the Node of that name is there and cannot be read.
    pub(crate) fn is_unreadable_node(&self, name: &str) -> bool {
        !self.unreadable.is_empty() && self.unreadable.contains(&Key::global(Kind::Node, name))
    }

    /// Whether a pool is there and cannot be read.
    pub(crate) fn has_unreadable_pool(&self) -> bool {
        self.unreadable.iter().any(|key| matches!(key, Key::Resource { kind: Kind::IPPool, .. }))
    }

    /// Whether a Node is there and cannot be read.
    pub(crate) fn has_unreadable_node(&self) -> bool {
        self.unreadable.iter().any(|key| matches!(key, Key::Resource { kind: Kind::Node, .. }))
    }

    /// All addresses of all nodes.
    pub(crate) fn node_addresses(&self) -> BTreeSet<IpAddr> {
        self.nodes.values().flat_map(|node| node.addresses.iter().copied()).collect()
    }
}
