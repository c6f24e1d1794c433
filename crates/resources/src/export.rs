//! What `datastore migrate export` writes (`calicoctl/commands/datastore/migrate/export.go`,
//! `migrateipam.go`): lists of resources without their identities, the ClusterInformation, and the
//! allocations under etcd's keys. In all three, nodes have the names that Kubernetes gives them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::node::name_in_kubernetes;
use api::{Attribute, DecodeError, HandleId, Key, Kind, Owner, Record, Resource, Revision, Value};
use serde_json::{Map, Value as Json, json};
use store::{Depth, ReadSet, Scope, Slot, View};

use crate::metadata;
use crate::version::cluster_information;

/// How the handles of a node's tunnels begin; each ends in the node's name.
const TUNNELS: [&str; 3] = ["ipip-tunnel-addr-", "vxlan-tunnel-addr-", "wireguard-tunnel-addr-"];

/// The kinds of the lists, in the order of the lists. This program does not know some of these kinds. Kinds
/// whose names depend on nodes' names come after the nodes.
const LISTS: [&str; 17] = [
    "IPPool",
    "BGPPeer",
    "Tier",
    "GlobalNetworkPolicy",
    "StagedGlobalNetworkPolicy",
    "GlobalNetworkSet",
    "HostEndpoint",
    "KubeControllersConfiguration",
    "NetworkPolicy",
    "StagedNetworkPolicy",
    "StagedKubernetesNetworkPolicy",
    "NetworkSet",
    "Node",
    "BGPConfiguration",
    "FelixConfiguration",
    "IPReservation",
    "BGPFilter",
];

/// The parts of an export.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// The lists, in their order. If an error ends the export, these are the lists before it.
    pub lists: Vec<Json>,
    /// The parts that follow the lists.
    pub rest: Result<Rest, ExportError>,
}

/// The parts that follow the lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Rest {
    /// The ClusterInformation.
    pub cluster: Json,
    /// The allocations.
    pub ipam: Json,
    /// How many affinities of virtual owners were left out. Calico leaves them out too, because its import
    /// does not know them.
    pub virtual_affinities: usize,
}

/// Why an export ends half-way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// A node does not say what its name in Kubernetes is.
    #[error(
        "unable to process metadata for export for Node resource: node {0} missing a 'k8s' orchestrator reference. \
         Unable to export data unless every node has a 'k8s' orchestrator reference"
    )]
    NotOfKubernetes(String),
    /// There is no ClusterInformation.
    #[error("resource does not exist: ClusterInformation(default) with error: <nil>")]
    NoCluster,
    /// A record cannot be read: the export would lose it.
    #[error("{0}. Repair or delete that record first")]
    Unreadable(DecodeError),
}

/// The plural names of kinds that belong into an export but that this program does not know.
pub fn unknown_kinds() -> impl Iterator<Item = String> {
    LISTS.iter().filter(|name| Kind::from_name(name).is_none()).map(|name| match name.strip_suffix('y') {
        Some(stem) => format!("{}ies", stem.to_lowercase()),
        None => format!("{}s", name.to_lowercase()),
    })
}

/// Everything that an export is made of.
pub fn reads() -> ReadSet {
    let set = ReadSet::new().key(cluster_information()).key(Key::IpamConfig);
    let kinds = LISTS.iter().filter_map(|name| Kind::from_name(name)).map(Scope::kind);
    let allocations =
        [Scope::Blocks { family: None }, Scope::Affinities { owner: None, family: None }, Scope::Handles];
    kinds.chain(allocations).fold(set, |set, scope| set.scope(scope, Depth::Full))
}

impl Export {
    /// Makes the export from a view that has read [`reads`].
    pub fn of(view: &View) -> Export {
        let mut lists = Vec::new();
        let unreadable = view.all().find_map(|(_, slot)| match slot {
            Slot::Unreadable(unreadable) => Some(unreadable.error.clone()),
            _ => None,
        });
        if let Some(error) = unreadable {
            return Export { lists, rest: Err(ExportError::Unreadable(error)) };
        }
        let mut names = Names::default();
        for name in LISTS {
            let kind = Kind::from_name(name);
            if kind.is_some_and(|kind| kind.definition().node_prefix.is_some()) {
                names = match Names::of(view) {
                    Ok(names) => names,
                    Err(error) => return Export { lists, rest: Err(error) },
                };
            }
            let items = kind.map(|kind| items(view, kind, &names)).unwrap_or_default();
            lists.push(list(name, items, view.revision()));
        }
        let Some((cluster, revision)) = view.resource(&cluster_information()).flatten() else {
            return Export { lists, rest: Err(ExportError::NoCluster) };
        };
        let cluster = metadata::as_read(cluster, revision).to_json();
        let (ipam, virtual_affinities) = allocations(view, &names);
        Export { lists, rest: Ok(Rest { cluster, ipam, virtual_affinities }) }
    }
}

fn items(view: &View, kind: Kind, names: &Names) -> Vec<Json> {
    let mut found: Vec<Resource> =
        view.resources(kind).map(|(resource, revision)| metadata::as_read(resource, revision)).collect();
    found.sort_by(Resource::compare);
    let item = |resource: &Resource| {
        let renamed = kind.definition().node_prefix.and_then(|prefix| {
            let name = names.of_node(resource.name().strip_prefix(prefix)?)?;
            Some(format!("{prefix}{name}"))
        });
        let namespace = resource.metadata().namespace.clone();
        let exported = metadata::without_identity(resource).with(|metadata, _| {
            metadata.namespace = namespace;
            if let Some(name) = renamed {
                metadata.name = name;
            }
        });
        exported.to_json()
    };
    found.iter().map(item).collect()
}

fn list(name: &str, items: Vec<Json>, revision: Option<&Revision>) -> Json {
    let revision = revision.map(Revision::as_str).unwrap_or_default();
    json!({"kind": format!("{name}List"), "apiVersion": api::resource::API_VERSION,
        "metadata": {"resourceVersion": revision}, "items": items})
}

/// The names of nodes in Kubernetes, by their names in this store.
#[derive(Debug, Default)]
struct Names(HashMap<String, String>);

impl Names {
    fn of(view: &View) -> Result<Names, ExportError> {
        let mut names = HashMap::new();
        for (node, _) in view.resources(Kind::Node) {
            let Some(name) = name_in_kubernetes(node) else {
                return Err(ExportError::NotOfKubernetes(node.name().to_string()));
            };
            names.insert(node.name().to_string(), name.to_string());
        }
        Ok(Names(names))
    }

    fn of_node(&self, node: &str) -> Option<String> {
        self.0.get(node).cloned()
    }

    /// The handle of a tunnel with its node's new name; `None` where the handle is no tunnel's, or the node
    /// is unknown.
    fn of_tunnel(&self, handle: &str) -> Option<String> {
        let renamed =
            |prefix: &&str| Some(format!("{prefix}{}", self.of_node(handle.strip_prefix(*prefix)?)?));
        TUNNELS.iter().find_map(renamed)
    }

    fn record(&self, record: &Record) -> (Key, Value) {
        let (mut key, mut value) = (record.key.clone(), record.value.clone());
        match (&mut key, &mut value) {
            (Key::Affinity { owner: Owner::Host(host), .. }, _) => {
                if let Some(name) = self.of_node(host) {
                    *host = name;
                }
            }
            (Key::Handle(id), _) => {
                if let Some(renamed) = self.of_tunnel(id.as_str()).and_then(|name| HandleId::new(&name)) {
                    *id = renamed;
                }
            }
            (_, Value::Block(block)) => {
                let host = block.affinity.as_deref().and_then(|text| text.strip_prefix("host:"));
                if let Some(name) = host.and_then(|host| self.of_node(host)) {
                    block.affinity = Some(format!("host:{name}").into());
                }
                for attribute in &mut block.attributes {
                    *attribute = Arc::new(self.attribute(attribute));
                }
            }
            _ => {}
        }
        (key, value)
    }

    fn attribute(&self, attribute: &Attribute) -> Attribute {
        let mut renamed = attribute.clone();
        let node = renamed.owner.get("node").and_then(|node| self.of_node(node));
        let handle = attribute.handle_id.as_deref().and_then(|handle| self.of_tunnel(handle));
        renamed.rename(node, handle);
        renamed
    }
}

/// The allocations, and how many affinities of virtual owners were left out of them.
fn allocations(view: &View, names: &Names) -> (Json, usize) {
    let scope = |scope: Scope| -> Vec<&Arc<Record>> {
        view.slots(&scope).filter_map(|(_, slot)| slot.record()).collect()
    };
    let affinities = scope(Scope::Affinities { owner: None, family: None });
    let (of_hosts, of_others): (Vec<_>, Vec<_>) = affinities
        .into_iter()
        .partition(|record| matches!(record.key, Key::Affinity { owner: Owner::Host(_), .. }));
    let parts = [
        ("block_affinities", of_hosts),
        ("blocks", scope(Scope::Blocks { family: None })),
        ("handles", scope(Scope::Handles)),
    ];
    let mut ipam = Map::new();
    for (name, records) in parts {
        // In the order of etcd's keys, as they are before nodes are renamed.
        let sorted: BTreeMap<String, &Record> =
            records.iter().map(|record| (record.key.etcd_path(), &***record)).collect();
        if !sorted.is_empty() {
            ipam.insert(name.into(), sorted.values().map(|record| entry(record, names)).collect());
        }
    }
    if let Some(config) = view.full(&Key::IpamConfig).flatten() {
        ipam.insert("config".into(), entry(config, names));
    }
    (Json::Object(ipam), of_others.len())
}

fn entry(record: &Record, names: &Names) -> Json {
    let (key, value) = names.record(record);
    let stored: Json = serde_json::from_str(&value.to_stored_text()).expect("what is stored is JSON");
    json!({"Key": key.etcd_path(), "Value": stored, "TTL": 0})
}
