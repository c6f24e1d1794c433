//! An IPPool as the allocator uses it: every default applied.

use std::fmt;
use std::net::IpAddr;

use serde_json::Value as Json;

use selector::{ParseError, Selector};

use crate::cidr::{self, BlockCidr, Cidr, Family};
use crate::document::Document;
use crate::excerpt::{TEXT, excerpt, printable, short};

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Use {
    /// A workload's address.
    Workload,
    /// The address of a node's tunnel device.
    Tunnel,
    /// The address of a service.
    LoadBalancer,
}

impl Use {
    /// The word for it in `allowedUses`.
    pub fn name(self) -> &'static str {
        match self {
            Use::Workload => "Workload",
            Use::Tunnel => "Tunnel",
            Use::LoadBalancer => "LoadBalancer",
        }
    }

    /// Whether such an address comes only from the asking host's own blocks. Other nodes reach a tunnel by
    /// the route to the block of its address, which leads to the block's owner.
    pub fn is_never_borrowed(self) -> bool {
        self == Use::Tunnel
    }
}

/// Why a pool cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// The resource is of another kind.
    #[error("{0} is not an IPPool")]
    Kind(&'static str),
    /// `spec.cidr` is missing or no network.
    #[error("IPPool({name}): spec.cidr '{cidr}' is not a network")]
    Cidr {
        /// The pool's name.
        name: String,
        /// The field's value.
        cidr: String,
    },
    /// `spec.blockSize` is no block size of the family.
    #[error("IPPool({name}): spec.blockSize {size} is out of range")]
    BlockSize {
        /// The pool's name.
        name: String,
        /// The field's value.
        size: String,
    },
    /// A field that decides who may use the pool has a value of a wrong type.
    #[error("IPPool({name}): {field} {value} is {reason}")]
    Field {
        /// The pool's name.
        name: String,
        /// The field.
        field: String,
        /// The field's value.
        value: String,
        /// What is wrong with the value.
        reason: &'static str,
    },
}

impl PoolError {
    /// The field at fault; `None` if the resource is no pool.
    pub fn field(&self) -> Option<String> {
        match self {
            PoolError::Kind(_) => None,
            PoolError::Cidr { .. } => Some("spec.cidr".to_string()),
            PoolError::BlockSize { .. } => Some("spec.blockSize".to_string()),
            PoolError::Field { field, .. } => Some(field.clone()),
        }
    }

    /// What is wrong with the resource.
    pub fn reason(&self) -> String {
        match self {
            PoolError::Kind(kind) => format!("{kind} is not an IPPool"),
            PoolError::Cidr { cidr, .. } => format!("'{}' is not a network", printable(cidr)),
            PoolError::BlockSize { size, .. } => format!("{size} is out of range"),
            PoolError::Field { value, reason, .. } => format!("{value} is {reason}"),
        }
    }
}

/// A selector that cannot be read: it selects nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddSelector {
    /// The selector.
    pub text: String,
    /// The parser's error.
    pub error: ParseError,
}

impl OddSelector {
    /// The error in several lines, with the place marked.
    pub fn picture(&self) -> String {
        self.error.render(&self.text)
    }
}

impl fmt::Display for OddSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| short(&printable(text), TEXT);
        write!(f, "'{}' is no selector: {}", shown(&self.text), shown(&self.error.to_string()))?;
        match self.error.hint() {
            Some(hint) => write!(f, " ({})", shown(hint)),
            None => Ok(()),
        }
    }
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
    /// Whether the pool is closed for new addresses.
    pub disabled: bool,
    /// Whether the pool is being deleted.
    pub deleting: bool,
    /// Whether a controller has found that no address can be allocated from it (the status condition
    /// `Allocatable` is False).
    pub unallocatable: bool,
    /// Whether only requests that name the pool may use it (`assignmentMode: Manual`).
    pub manual: bool,
    /// Which nodes may use it.
    pub node_selector: Result<Selector, OddSelector>,
    /// Which namespaces may use it.
    pub namespace_selector: Result<Selector, OddSelector>,
    /// The allowed uses as the resource spells them; unknown words are kept.
    pub allowed_uses: Vec<String>,
}

impl Pool {
    /// The pool that the document describes.
    ///
    /// # Errors
    /// When its network or block size cannot be read. A bad selector is no error here: it matters only to
    /// requests that do not name their pools.
    pub fn effective(resource: &Document) -> Result<Pool, PoolError> {
        let name = resource.name().to_string();
        let Some(cidr) = resource.text(&["spec", "cidr"]).and_then(|text| text.parse::<Cidr>().ok()) else {
            let text = match resource.field(&["spec", "cidr"]) {
                None => String::new(),
                Some(json) => json.as_str().map_or_else(|| excerpt(json), str::to_string),
            };
            return Err(PoolError::Cidr { name, cidr: text });
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
        // A value of a wrong type must not count as missing: a missing selector selects everything.
        let odd = |field: &str, json: &Json, reason| PoolError::Field {
            name: name.clone(),
            field: format!("spec.{field}"),
            value: excerpt(json),
            reason,
        };
        let text = |field: &str| match resource.field(&["spec", field]) {
            None => Ok(""),
            Some(json) => json.as_str().ok_or_else(|| odd(field, json, "no text")),
        };
        let disabled = match resource.field(&["spec", "disabled"]) {
            None => false,
            Some(json) => json.as_bool().ok_or_else(|| odd("disabled", json, "neither true nor false"))?,
        };
        let parse = |field: &str| -> Result<Result<Selector, OddSelector>, PoolError> {
            let text = text(field)?;
            Ok(Selector::parse(text).map_err(|error| OddSelector { text: text.to_string(), error }))
        };
        let (node_selector, namespace_selector) = (parse("nodeSelector")?, parse("namespaceSelector")?);
        let manual = text("assignmentMode")? == "Manual";
        let mut allowed_uses: Vec<String> = match resource.field(&["spec", "allowedUses"]) {
            None => Vec::new(),
            Some(json) => serde_json::from_value(json.clone())
                .map_err(|_| odd("allowedUses", json, "no list of texts"))?,
        };
        if allowed_uses.is_empty() {
            allowed_uses = vec![Use::Workload.name().to_string(), Use::Tunnel.name().to_string()];
        }
        Ok(Pool {
            cidr,
            block_size,
            disabled,
            deleting: resource.metadata().is_deleting(),
            unallocatable: condition_is_false(resource, "Allocatable"),
            manual,
            node_selector,
            namespace_selector,
            allowed_uses,
            name,
        })
    }

    /// The selectors of the pool that cannot be read, each with its field.
    pub fn odd_selectors(&self) -> impl Iterator<Item = (&'static str, &OddSelector)> {
        let both = [
            ("spec.nodeSelector", &self.node_selector),
            ("spec.namespaceSelector", &self.namespace_selector),
        ];
        both.into_iter().filter_map(|(field, selector)| Some((field, selector.as_ref().err()?)))
    }

    /// The family.
    pub fn family(&self) -> Family {
        self.cidr.family()
    }

    /// Whether new addresses may be assigned from the pool.
    pub fn is_enabled(&self) -> bool {
        !self.disabled && !self.deleting && !self.unallocatable
    }

    /// Whether addresses of the pool may be used for `wanted`.
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

fn condition_is_false(resource: &Document, wanted: &str) -> bool {
    let conditions = resource.field(&["status", "conditions"]).and_then(Json::as_array);
    conditions.into_iter().flatten().any(|c| c["type"] == wanted && c["status"] == "False")
}
