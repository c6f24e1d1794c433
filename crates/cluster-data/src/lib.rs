//! The records of a large cluster, as the allocator and the plugins would have left them. They are made one
//! after another, so whoever writes them keeps few; the same size gives the same records.

mod kubernetes;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use api::{
    Affinity, AffinityState, Attribute, Block, BlockCidr, Handle, HandleId, Key, Kind, Owner, Resource,
    Timestamp, Value,
};
use serde_json::{Value as Json, json};

pub use kubernetes::stored_object;

/// The prefix length of the blocks.
const BLOCK_SIZE: u8 = 26;
/// How many addresses a block has.
pub const BLOCK: u32 = 64;
/// A moment in 2026, in seconds since 1970: everything was made then.
const MADE: i64 = 1_785_578_400;

/// A record.
pub type Made = (Key, Value);

/// How large a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Nodes.
    pub nodes: u32,
    /// Nodes that have a block, which is in use.
    pub blocks: u32,
    /// Addresses that are allocated, in all blocks together.
    pub addresses: u32,
    /// Workloads, each with one of the addresses.
    pub pods: u32,
}

impl Size {
    /// A large cluster, in which most addresses have leaked.
    pub const LARGE: Size = Size { nodes: 5_000, blocks: 2_500, addresses: 150_000, pods: 20_000 };

    /// A cluster of `part` of each.
    pub fn divided_by(self, part: u32) -> Size {
        let Size { nodes, blocks, addresses, pods } = self;
        Size { nodes: nodes / part, blocks: blocks / part, addresses: addresses / part, pods: pods / part }
    }

    /// How many addresses each block holds.
    fn in_block(self) -> u32 {
        (self.addresses / self.blocks.max(1)).min(BLOCK)
    }
}

/// All records of a cluster.
pub fn records(size: Size) -> impl Iterator<Item = Made> {
    let of_node = move |number| {
        let used = if number < size.blocks { size.in_block() } else { 0 };
        let mut records = vec![node(number)];
        if used > 0 {
            records.extend(block(number, used));
        }
        let first = number * size.in_block();
        let pods = used.min(size.pods.saturating_sub(first));
        records.extend((0..pods).map(|ordinal| endpoint(number, ordinal)));
        records
    };
    settings().into_iter().chain((0..size.nodes).flat_map(of_node))
}

/// What every cluster has: the ClusterInformation, the configuration of the controllers, and one pool.
fn settings() -> Vec<Made> {
    let information = json!({"clusterGUID": "0123456789abcdef0123456789abcdef", "datastoreReady": true});
    vec![
        resource(Kind::ClusterInformation, "default", None, information),
        resource(Kind::KubeControllersConfiguration, "default", None, json!({"controllers": {"node": {}}})),
        pool(),
    ]
}

/// A pool that every node may use.
pub fn pool() -> Made {
    let spec = json!({"cidr": "10.0.0.0/8", "blockSize": BLOCK_SIZE, "ipipMode": "Always", "natOutgoing": true,
        "nodeSelector": "all()"});
    resource(Kind::IPPool, "pool", None, spec)
}

fn resource(kind: Kind, name: &str, namespace: Option<&str>, spec: Json) -> Made {
    let mut metadata = json!({"name": name, "creationTimestamp": "2026-08-01T10:00:00Z"});
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    let document = json!({"metadata": metadata, "spec": spec});
    let resource = Resource::from_json(kind, document).expect("these documents have names").canonical();
    (resource.key(), Value::Resource(resource))
}

/// The name of a node.
pub fn node_name(number: u32) -> String {
    format!("node-{number}")
}

/// A node.
pub fn node(number: u32) -> Made {
    resource(Kind::Node, &node_name(number), None, json!({}))
}

fn cidr(number: u32) -> BlockCidr {
    let first = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + number * BLOCK);
    BlockCidr::holding(IpAddr::V4(first), BLOCK_SIZE).expect("blocks may have that size")
}

fn pod_name(node: u32, ordinal: u32) -> String {
    format!("pod-{node}-{ordinal}")
}

/// The block of a node, in which the first `used` addresses are allocated; the node's affinity to it, and the
/// handles of the addresses.
///
/// # Panics
/// When `used` is larger than [`BLOCK`].
pub fn block(number: u32, used: u32) -> Vec<Made> {
    assert!(used <= BLOCK);
    let (cidr, owner) = (cidr(number), Owner::Host(node_name(number)));
    let claimed = Timestamp::from_second(MADE).expect("it is a time");
    let first = MADE as u64 * 1_000_000_000;
    let mut block = Block {
        cidr,
        affinity: Some(owner.affinity_text().into()),
        affinity_claim_time: Some(claimed),
        allocations: vec![None; BLOCK as usize],
        unallocated: (used..BLOCK).collect(),
        attributes: Vec::new(),
        sequence_number: first + u64::from(used),
        sequence_numbers: Vec::new(),
        deleted: false,
        legacy_host_affinity: None,
        residue: None,
    };
    let affinity = Value::Affinity(Affinity::new(AffinityState::Confirmed));
    let mut records = vec![(Key::Affinity { owner, block: cidr }, affinity)];
    for ordinal in 0..used {
        let id = format!("net.{number:032x}{ordinal:032x}");
        let owner = BTreeMap::from([
            ("namespace".to_string(), "default".to_string()),
            ("node".to_string(), node_name(number)),
            ("pod".to_string(), pod_name(number, ordinal)),
            ("timestamp".to_string(), "2026-08-01 10:00:03.123456789 +0000 UTC".to_string()),
        ]);
        let handle_id = Some(id.clone());
        block.attributes.push(Arc::new(Attribute { handle_id, owner, ..Attribute::default() }));
        block.allocations[ordinal as usize] = Some(ordinal);
        block.sequence_numbers.push((ordinal, first + u64::from(ordinal)));
        let handle = Handle { blocks: BTreeMap::from([(cidr, 1)]), deleted: false };
        let id = HandleId::new(&id).expect("it is not empty");
        records.push((Key::Handle(id), Value::Handle(handle)));
    }
    records.push((Key::Block(cidr), Value::Block(block)));
    records
}

/// The workload that has an address of a node's block.
fn endpoint(number: u32, ordinal: u32) -> Made {
    let (node, pod) = (node_name(number), pod_name(number, ordinal));
    let dashes = |text: &str| text.replace('-', "--");
    let addr = cidr(number).addr(ordinal).expect("the block has that address");
    let spec = json!({"orchestrator": "k8s", "node": node, "pod": pod, "endpoint": "eth0",
        "containerID": format!("{number:032x}{ordinal:032x}"), "ipNetworks": [format!("{addr}/32")],
        "profiles": ["kns.default", "ksa.default.default"],
        "interfaceName": api::wep_name::interface_name("cali", "default", &pod)});
    let name = format!("{}-k8s-{}-eth0", dashes(&node), dashes(&pod));
    resource(Kind::WorkloadEndpoint, &name, Some("default"), spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_its_size() {
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        let mut allocated = 0;
        let size = Size::LARGE.divided_by(100);
        for (key, value) in records(size) {
            *counts
                .entry(match &key {
                    Key::Resource { kind, .. } => kind.name(),
                    Key::Handle(_) => "handle",
                    Key::Block(_) => "block",
                    Key::Affinity { .. } => "affinity",
                    _ => "other",
                })
                .or_default() += 1;
            if let Value::Block(block) = &value {
                allocated += block.allocations.iter().flatten().count() as u32;
            }
            let read = Value::from_stored_text(&key, &value.to_stored_text());
            assert_eq!(read.as_ref(), Ok(&value), "{key}");
        }
        assert_eq!((counts["Node"], counts["block"], counts["affinity"]), (50, 25, 25));
        assert_eq!((allocated, counts["handle"], counts["WorkloadEndpoint"]), (1_500, 1_500, 200));
    }

    #[test]
    fn objects_are_read_back_as_their_records() {
        use api::crd::{self, Collection, Group};
        for (key, value) in records(Size { nodes: 1, blocks: 1, addresses: 2, pods: 1 }) {
            let (path, object) = stored_object(Group::V1, &key, &value).unwrap();
            assert!(path.starts_with("/registry/"), "{path}");
            let read = match &key {
                Key::Resource { kind: Kind::Node, .. } => crd::node::decode(&object).unwrap(),
                Key::Resource { kind: Kind::WorkloadEndpoint, .. } => {
                    crd::pod::decode("cali", &object).unwrap().unwrap()
                }
                key => crd::decode(Group::V1, Collection::of(key).unwrap(), &object).unwrap(),
            };
            assert_eq!(read.key, key);
            if !matches!(key, Key::Resource { .. }) {
                assert_eq!(read.value, value);
            }
        }
    }
}
