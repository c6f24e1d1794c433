//! Who is there to use addresses, and who was told of: the witnesses by which an allocation is judged.
//!
//! On Kubernetes these are pods, by the kubelet's status alone: what a pod's owner may write himself is no
//! witness. Elsewhere they are WorkloadEndpoints.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use api::crd::PodState;
use api::endpoint::Addresses;
use api::{Key, Resource};

/// A pod's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodKey {
    /// The namespace.
    pub namespace: String,
    /// The name in its namespace.
    pub name: String,
}

impl PodKey {
    /// The key of that pod.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> PodKey {
        PodKey { namespace: namespace.into(), name: name.into() }
    }
}

impl std::fmt::Display for PodKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What is known of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pod {
    /// It exists and can be read.
    Seen {
        /// The node that runs it; empty where it is not scheduled.
        node: Box<str>,
        /// Whether it has ended.
        is_finished: bool,
        /// The addresses that its kubelet has told.
        addresses: Box<[IpAddr]>,
    },
    /// It exists, and what it says cannot be read: it may use any address.
    Unreadable,
}

impl From<&PodState> for Pod {
    fn from(state: &PodState) -> Pod {
        Pod::Seen {
            node: state.node.as_str().into(),
            is_finished: state.is_finished,
            addresses: state.addresses.as_slice().into(),
        }
    }
}

/// Who uses addresses.
#[derive(Clone, Debug)]
pub enum Users {
    /// All pods.
    Pods(HashMap<PodKey, Pod>),
    /// All WorkloadEndpoints, where there is no Kubernetes.
    Endpoints(Endpoints),
}

/// The WorkloadEndpoints of a cluster.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// The endpoints that have an address.
    by_addr: HashMap<IpAddr, BTreeSet<Key>>,
    /// The node of each endpoint, and its addresses; an endpoint that cannot be read has neither.
    all: BTreeMap<Key, Option<(String, Vec<IpAddr>)>>,
    /// The networks, each on a node, of which endpoints were seen: their plugin makes endpoints. An address
    /// of another network may be in use without one.
    networks: BTreeSet<(String, String)>,
}

impl Endpoints {
    /// Takes an endpoint that was created or changed. One of whose addresses a part cannot be read counts as
    /// unreadable.
    pub fn take(&mut self, endpoint: &Resource) {
        let key = endpoint.key();
        self.forget(&key);
        let Addresses { addresses, odd } = api::endpoint::addresses(endpoint);
        if !odd.is_empty() {
            self.all.insert(key, None);
            return;
        }
        for addr in &addresses {
            self.by_addr.entry(*addr).or_default().insert(key.clone());
        }
        let node = api::endpoint::node(endpoint).unwrap_or_default().to_string();
        self.all.insert(key, Some((node, addresses)));
    }

    /// Takes an endpoint that exists and cannot be read.
    pub fn take_unreadable(&mut self, key: &Key) {
        self.forget(key);
        self.all.insert(key.clone(), None);
    }

    /// Forgets an endpoint.
    pub fn forget(&mut self, key: &Key) {
        if let Some(Some((_, addresses))) = self.all.remove(key) {
            for addr in addresses {
                if let Some(keys) = self.by_addr.get_mut(&addr) {
                    keys.remove(key);
                    if keys.is_empty() {
                        self.by_addr.remove(&addr);
                    }
                }
            }
        }
    }

    /// The addresses of an endpoint.
    pub fn addresses(&self, key: &Key) -> &[IpAddr] {
        self.all.get(key).and_then(|known| known.as_ref()).map_or(&[], |(_, addresses)| addresses)
    }

    /// Forgets all endpoints but these.
    pub fn keep_only(&mut self, keys: &[Key]) {
        let keys: BTreeSet<&Key> = keys.iter().collect();
        let gone: Vec<Key> = self.all.keys().filter(|key| !keys.contains(key)).cloned().collect();
        gone.iter().for_each(|key| self.forget(key));
    }

    /// The networks of which endpoints were seen, for another value to begin with.
    pub fn with_networks_of(mut self, other: &Endpoints) -> Endpoints {
        self.networks.clone_from(&other.networks);
        self
    }

    /// Whether an endpoint has the address.
    pub fn have(&self, addr: IpAddr) -> bool {
        self.by_addr.contains_key(&addr)
    }

    /// Whether there is an endpoint of which nobody knows which addresses it has.
    pub fn has_unreadable(&self) -> bool {
        self.all.values().any(Option::is_none)
    }

    /// The endpoints of a node.
    pub fn of_node<'e>(&'e self, node: &'e str) -> impl Iterator<Item = &'e Key> {
        let is_of = move |known: &Option<(String, _)>| known.as_ref().is_some_and(|(of, _)| of == node);
        self.all.iter().filter(move |(_, known)| is_of(known)).map(|(key, _)| key)
    }

    /// The nodes that endpoints name.
    pub fn nodes(&self) -> BTreeSet<&str> {
        self.all.values().flatten().map(|(node, _)| node.as_str()).collect()
    }

    /// Learns from an allocation that an endpoint has: its network makes endpoints on that node.
    pub fn learn(&mut self, node: &str, handle: &str, addr: IpAddr) {
        if let (true, Some(network)) = (self.have(addr), network_of(handle)) {
            self.networks.insert((node.to_string(), network.to_string()));
        }
    }

    /// Whether the network of that handle makes endpoints on that node.
    pub fn knows_network(&self, node: &str, handle: &str) -> bool {
        network_of(handle)
            .is_some_and(|network| self.networks.contains(&(node.to_string(), network.to_string())))
    }
}

/// The network in a handle `<network>.<container>`.
fn network_of(handle: &str) -> Option<&str> {
    handle.rsplit_once('.').map(|(network, _)| network)
}
