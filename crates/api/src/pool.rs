//! An IPPool as the allocator sees it: every default applied.

use std::net::IpAddr;

use serde_json::Value as Json;

use selector::Selector;

use crate::cidr::{self, BlockCidr, Cidr, Family};
use crate::kind::Kind;
use crate::resource::Resource;

/// What an address is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// A workload.
    Workload,
    /// A tunnel device of a node.
    Tunnel,
    /// A service.
    LoadBalancer,
}

impl Use {
    /// The word in `allowedUses`.
    pub fn name(self) -> &'static str {
        match self {
            Use::Workload => "Workload",
            Use::Tunnel => "Tunnel",
            Use::LoadBalancer => "LoadBalancer",
        }
    }
}

/// Why a pool cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The resource is of another kind.
    #[error("{0} is not an IPPool")]
    Kind(Kind),
    /// `spec.cidr` is missing or no network.
    #[error("IPPool({name}): spec.cidr '{cidr}' is not a network")]
    Cidr {
        /// The pool.
        name: String,
        /// What stands there.
        cidr: String,
    },
    /// `spec.blockSize` is no block size of the family.
    #[error("IPPool({name}): spec.blockSize {size} is out of range")]
    BlockSize {
        /// The pool.
        name: String,
        /// What stands there.
        size: String,
    },
}

/// An IPPool with every default applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// The name.
    pub name: String,
    /// The network.
    pub cidr: Cidr,
    /// Prefix length of its blocks: 20 to 32, or 116 to 128.
    pub block_size: u8,
    /// No new addresses are to come from it.
    pub disabled: bool,
    /// It is being deleted.
    pub deleting: bool,
    /// A controller has found that it cannot be allocated from (status condition `Allocatable` is False).
    pub unallocatable: bool,
    /// Only requests that name it may use it (`assignmentMode: Manual`).
    pub manual: bool,
    /// Which nodes may use it; the parser's error text where it is no selector.
    pub node_selector: Result<Selector, String>,
    /// Which namespaces may use it; the parser's error text where it is no selector.
    pub namespace_selector: Result<Selector, String>,
    /// As spelled in the resource; unknown words stay.
    pub allowed_uses: Vec<String>,
}

impl Pool {
    /// The pool that the resource describes.
    ///
    /// # Errors
    /// When it is no IPPool, or its network or block size cannot be read. A bad selector is no error here: it matters only to requests
    /// that do not name their pools.
    pub fn effective(resource: &Resource) -> Result<Pool, PoolError> {
        if resource.kind() != Kind::IPPool {
            return Err(PoolError::Kind(resource.kind()));
        }
        let name = resource.name().to_string();
        let text = resource.text(&["spec", "cidr"]).unwrap_or_default();
        let Ok(cidr) = text.parse::<Cidr>() else {
            return Err(PoolError::Cidr { name, cidr: text.to_string() });
        };
        let default = default_block_size(cidr.family());
        let block_size = match resource.field(&["spec", "blockSize"]) {
            None => default,
            Some(json) => match json.as_u64().and_then(|n| u8::try_from(n).ok()) {
                Some(0) => default,
                Some(size)
                    if size <= cidr.family().bits()
                        && cidr.family().bits() - size <= BlockCidr::MAX_HOST_BITS =>
                {
                    size
                }
                _ => return Err(PoolError::BlockSize { name, size: json.to_string() }),
            },
        };
        let flag = |field: &str| resource.field(&["spec", field]).and_then(Json::as_bool).unwrap_or(false);
        let parse = |field: &str| {
            Selector::parse(resource.text(&["spec", field]).unwrap_or_default()).map_err(|e| e.to_string())
        };
        let mut allowed_uses: Vec<String> = resource
            .field(&["spec", "allowedUses"])
            .and_then(Json::as_array)
            .map(|uses| uses.iter().filter_map(Json::as_str).map(str::to_string).collect())
            .unwrap_or_default();
        if allowed_uses.is_empty() {
            allowed_uses = vec![Use::Workload.name().to_string(), Use::Tunnel.name().to_string()];
        }
        Ok(Pool {
            cidr,
            block_size,
            disabled: flag("disabled"),
            deleting: resource.metadata().is_deleting(),
            unallocatable: condition_is_false(resource, "Allocatable"),
            manual: resource.text(&["spec", "assignmentMode"]) == Some("Manual"),
            node_selector: parse("nodeSelector"),
            namespace_selector: parse("namespaceSelector"),
            allowed_uses,
            name,
        })
    }

    /// The family.
    pub fn family(&self) -> Family {
        self.cidr.family()
    }

    /// Whether new addresses may come from it at all.
    pub fn is_enabled(&self) -> bool {
        !self.disabled && !self.deleting && !self.unallocatable
    }

    /// Whether it serves that use.
    pub fn allows(&self, wanted: Use) -> bool {
        self.allowed_uses.iter().any(|word| word == wanted.name())
    }

    /// Number of its blocks, up to 2^128 - 1; 0 when it is smaller than one.
    pub fn block_count(&self) -> u128 {
        match self.block_size.checked_sub(self.cidr.prefix()) {
            None => 0,
            Some(bits) => 1u128.checked_shl(u32::from(bits)).unwrap_or(u128::MAX),
        }
    }

    /// The block of that index, counted from 0 at the start of the pool.
    pub fn block_at(&self, index: u128) -> Option<BlockCidr> {
        let host_bits = self.family().bits() - self.block_size;
        let addr = cidr::offset(self.cidr.first(), index.checked_shl(u32::from(host_bits)).unwrap_or(0));
        (index < self.block_count()).then(|| BlockCidr::holding(addr, self.block_size)).flatten()
    }

    /// The block of this pool that holds an address; `None` outside of the pool.
    pub fn block_of(&self, addr: IpAddr) -> Option<BlockCidr> {
        self.cidr.contains(addr).then(|| BlockCidr::holding(addr, self.block_size)).flatten()
    }

    /// The index of the block that holds an address; `None` outside of the pool.
    pub fn index_of(&self, addr: IpAddr) -> Option<u128> {
        let host_bits = u32::from(self.family().bits() - self.block_size);
        self.cidr.contains(addr).then(|| (cidr::number(addr) - cidr::number(self.cidr.first())) >> host_bits)
    }
}

/// Prefix length of blocks where a pool names none.
pub fn default_block_size(family: Family) -> u8 {
    match family {
        Family::V4 => 26,
        Family::V6 => 122,
    }
}

fn condition_is_false(resource: &Resource, wanted: &str) -> bool {
    let conditions = resource.field(&["status", "conditions"]).and_then(Json::as_array);
    conditions.into_iter().flatten().any(|c| c["type"] == wanted && c["status"] == "False")
}
