//! Typed keys: the identity of a record, independent of where a backend stores it.
//!
//! The etcd spelling of each key (`libcalico-go/lib/backend/model`) is also that of the embedded store.

use std::fmt;
use std::sync::Arc;

use crate::cidr::{BlockCidr, Family};
use crate::kinds::{Kind, KindScope};

/// The beginning of all of Calico's keys.
pub const ROOT: &str = "/calico/";
const RESOURCES: &str = "/calico/resources/v3/projectcalico.org/";
const IPAM_CONFIG: &str = "/calico/ipam/v2/config";
const BLOCKS: &str = "/calico/ipam/v2/assignment/";
const HOSTS: &str = "/calico/ipam/v2/host/";
const VIRTUALS: &str = "/calico/ipam/v2/virtual/";
const HANDLES: &str = "/calico/ipam/v2/handle/";

/// The owner of a block.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// A node, by its name.
    Host(String),
    /// An owner that is not a node; only `load-balancer` exists.
    Virtual(String),
}

impl Owner {
    /// The owner of the blocks that services of type LoadBalancer take addresses from.
    pub fn load_balancer() -> Owner {
        Owner::Virtual("load-balancer".to_string())
    }

    /// The name without the type.
    pub fn name(&self) -> &str {
        match self {
            Owner::Host(name) | Owner::Virtual(name) => name,
        }
    }

    /// The type: `host` or `virtual`.
    pub fn affinity_type(&self) -> &'static str {
        match self {
            Owner::Host(_) => "host",
            Owner::Virtual(_) => "virtual",
        }
    }

    /// The text of a block's `affinity` field: `host:node1`.
    pub fn affinity_text(&self) -> String {
        format!("{}:{}", self.affinity_type(), self.name())
    }

    /// Reads [`Owner::affinity_text`].
    pub fn from_affinity_text(text: &str) -> Option<Owner> {
        match text.split_once(':')? {
            ("host", name) => Some(Owner::Host(name.to_string())),
            ("virtual", name) => Some(Owner::Virtual(name.to_string())),
            _ => None,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.affinity_type(), self.name())
    }
}

/// The name of a handle. The addresses under one handle were allocated together, and are released together.
/// Case matters; `/` cannot occur. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandleId(Arc<str>);

impl HandleId {
    /// The handle of that name, cut at the first carriage return (an old fault of Windows nodes left tails in
    /// stored data). `None` when it is empty or holds a `/`.
    pub fn new(id: &str) -> Option<HandleId> {
        let id = id.split('\r').next().unwrap_or_default();
        (!id.is_empty() && !id.contains('/')).then(|| HandleId(id.into()))
    }

    /// The name that sorts before all others. No handle has it.
    pub fn least() -> HandleId {
        HandleId(Arc::default())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HandleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identity of a record, in every backend.
///
/// Keys are ordered by type, then by name. For resources that is the order of etcd's keys; for blocks and
/// affinities it is not, since etcd's keys sort as text (see [`Key::etcd_path`]).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A `projectcalico.org/v3` resource.
    Resource {
        /// Its kind.
        kind: Kind,
        /// Its namespace, for kinds that have one.
        namespace: Option<String>,
        /// Its name.
        name: String,
    },
    /// The allocator's configuration.
    IpamConfig,
    /// An affinity: `owner` has claimed, or is about to claim, `block`.
    Affinity {
        /// The owner.
        owner: Owner,
        /// The block.
        block: BlockCidr,
    },
    /// A block.
    Block(BlockCidr),
    /// A handle.
    Handle(HandleId),
    /// The record of a host's own, by its name, that old releases of Calico left. Nobody reads what it says;
    /// it goes when the host is removed. It belongs to no list, and Kubernetes has none.
    IpamHost(String),
}

impl Key {
    /// The key of a cluster-wide resource.
    pub fn global(kind: Kind, name: impl Into<String>) -> Key {
        Key::Resource { kind, namespace: None, name: name.into() }
    }

    /// The key in etcd, and in the embedded store.
    pub fn etcd_path(&self) -> String {
        match self {
            Key::Resource { kind, namespace: None, name } => format!("{RESOURCES}{}/{name}", kind.plural()),
            Key::Resource { kind, namespace: Some(namespace), name } => {
                format!("{RESOURCES}{}/{namespace}/{name}", kind.plural())
            }
            Key::IpamConfig => IPAM_CONFIG.to_string(),
            Key::Block(block) => format!("{BLOCKS}{}/block/{}", block.family().segment(), block.key_text()),
            Key::Affinity { owner, block } => {
                let root = match owner {
                    Owner::Host(_) => HOSTS,
                    Owner::Virtual(_) => VIRTUALS,
                };
                format!("{root}{}/{}/block/{}", owner.name(), block.family().segment(), block.key_text())
            }
            Key::Handle(id) => format!("{HANDLES}{id}"),
            Key::IpamHost(name) => format!("{HOSTS}{name}"),
        }
    }

    /// Reads [`Key::etcd_path`]. `None` for a key that this program does not know (lists skip such keys
    /// silently, as Calico's do).
    pub fn from_etcd_path(path: &str) -> Option<Key> {
        if path == IPAM_CONFIG {
            Some(Key::IpamConfig)
        } else if let Some(rest) = path.strip_prefix(RESOURCES) {
            let mut parts = rest.split('/');
            let kind = Kind::from_plural(parts.next()?)?;
            let (namespace, name) = match kind.scope() {
                KindScope::Cluster => (None, parts.next()?.to_string()),
                KindScope::Namespaced => (Some(parts.next()?.to_string()), parts.next()?.to_string()),
            };
            (parts.next().is_none() && !name.is_empty()).then_some(Key::Resource { kind, namespace, name })
        } else if let Some(rest) = path.strip_prefix(BLOCKS) {
            Some(Key::Block(family_and_block(rest)?))
        } else if let Some(rest) = path.strip_prefix(HOSTS) {
            let Some((name, rest)) = rest.split_once('/') else {
                return (!rest.is_empty()).then(|| Key::IpamHost(rest.to_string()));
            };
            Some(Key::Affinity { owner: Owner::Host(name.to_string()), block: family_and_block(rest)? })
        } else if let Some(rest) = path.strip_prefix(VIRTUALS) {
            let (name, rest) = rest.split_once('/')?;
            Some(Key::Affinity { owner: Owner::Virtual(name.to_string()), block: family_and_block(rest)? })
        } else if let Some(id) = path.strip_prefix(HANDLES) {
            // The key is taken as it is: a stored tail is part of it, even if readers of the handle cut it.
            (!id.is_empty() && !id.contains('/')).then(|| Key::Handle(HandleId(id.into())))
        } else {
            None
        }
    }
}

fn family_and_block(text: &str) -> Option<BlockCidr> {
    let (family, block) = text.split_once("/block/")?;
    let block = BlockCidr::from_key_text(block)?;
    (block.family().segment() == family).then_some(block)
}

/// The prefix of etcd keys under which all records of a kind lie.
pub fn resources_prefix(kind: Kind, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{RESOURCES}{}/{namespace}/", kind.plural()),
        None => format!("{RESOURCES}{}/", kind.plural()),
    }
}

/// The prefix of etcd keys under which blocks lie.
pub fn blocks_prefix(family: Option<Family>) -> String {
    family.map_or(BLOCKS.to_string(), |family| format!("{BLOCKS}{}/block/", family.segment()))
}

/// The prefixes of etcd keys under which affinities lie: those of one owner, or everyone's (hosts', then
/// virtual ones').
pub fn affinities_prefixes(owner: Option<&Owner>, family: Option<Family>) -> Vec<String> {
    let family = family.map_or(String::new(), |family| format!("{}/block/", family.segment()));
    match owner {
        Some(Owner::Host(name)) => vec![format!("{HOSTS}{name}/{family}")],
        Some(Owner::Virtual(name)) => vec![format!("{VIRTUALS}{name}/{family}")],
        None => vec![HOSTS.to_string(), VIRTUALS.to_string()],
    }
}

/// The prefix of etcd keys under which handles lie.
pub fn handles_prefix() -> &'static str {
    HANDLES
}

/// Names a record as Calico's error texts do (`libcalico-go/lib/backend/model`).
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Resource { kind, namespace: None, name } => write!(f, "{kind}({name})"),
            Key::Resource { kind, namespace: Some(namespace), name } => {
                write!(f, "{kind}({namespace}/{name})")
            }
            Key::IpamConfig => f.write_str("IPAMConfigKey()"),
            Key::Block(block) => write!(f, "BlockKey(cidr={block})"),
            Key::Affinity { owner, block } => {
                let (name, affinity) = (owner.name(), owner.affinity_type());
                write!(f, "BlockAffinityKey(cidr={block}, host={name}, affinityType={affinity})")
            }
            Key::Handle(id) => write!(f, "IPAMHandleKey(id={id})"),
            Key::IpamHost(name) => write!(f, "IPAMHostKey(host={name})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_back() {
        let block: BlockCidr = "10.0.0.0/26".parse().unwrap();
        let block6: BlockCidr = "fd00:10:244::/122".parse().unwrap();
        let rows = [
            (Key::global(Kind::IPPool, "p"), "/calico/resources/v3/projectcalico.org/ippools/p"),
            (
                Key::Resource {
                    kind: Kind::WorkloadEndpoint,
                    namespace: Some("ns".into()),
                    name: "w".into(),
                },
                "/calico/resources/v3/projectcalico.org/workloadendpoints/ns/w",
            ),
            (Key::IpamConfig, "/calico/ipam/v2/config"),
            (Key::Block(block6), "/calico/ipam/v2/assignment/ipv6/block/fd00:10:244::-122"),
            (
                Key::Affinity { owner: Owner::Host("n".into()), block },
                "/calico/ipam/v2/host/n/ipv4/block/10.0.0.0-26",
            ),
            (
                Key::Affinity { owner: Owner::load_balancer(), block },
                "/calico/ipam/v2/virtual/load-balancer/ipv4/block/10.0.0.0-26",
            ),
            (Key::Handle(HandleId::new("Net.1").unwrap()), "/calico/ipam/v2/handle/Net.1"),
            (Key::IpamHost("n".into()), "/calico/ipam/v2/host/n"),
        ];
        for (key, path) in rows {
            assert_eq!(key.etcd_path(), path);
            assert_eq!(Key::from_etcd_path(path), Some(key));
        }
        for path in [
            "/calico/ipam/v2/host/",
            "/calico/ipam/v2/host/n/",
            "/calico/ipam/v2/assignment/ipv4/block/fd00::-122",
            "/calico/resources/v3/projectcalico.org/ippools/a/b",
            "/calico/resources/v3/projectcalico.org/whatevers/a",
            "/other",
        ] {
            assert_eq!(Key::from_etcd_path(path), None, "{path}");
        }
    }
}
