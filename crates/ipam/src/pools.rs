//! Chooses the pools that a request may take addresses from, and their order
//! (`libcalico-go/lib/ipam/ipam.go`, `determinePools`).

use std::collections::BTreeMap;
use std::sync::Arc;

use api::pool::OddSelector;
use api::{BlockCidr, Cidr, Family, Key, Kind, Pool, Use};
use selector::{Labels, Selector};
use store::{Batch, View};

use crate::block::HostReserved;
use crate::verdict::{self, PoolVerdict, Sink, Verdict};

/// Why there is no pool to take addresses from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolsError {
    /// The numbers of addresses that the host reserves in each block make no sense: none, or too many.
    #[error("HostReservedAttr has wrong parameters")]
    HostReserved,
    /// No pool of the family is enabled, or no enabled pool has blocks that are large enough. Create or
    /// enable one.
    #[error("cannot find a qualified ippool")]
    NoneQualified,
    /// A pool that the request names does not exist, or is not enabled. Name another, or create or enable it.
    #[error("the given pool ({0}) does not exist, or is not enabled")]
    NotThere(Cidr),
    /// The request's list of pools for one family contains a pool of the other.
    #[error("provided {wanted} IPPools list contains one or more {found} IPPools")]
    Family {
        /// The family of the list.
        wanted: Family,
        /// The family of the pool.
        found: Family,
    },
    /// No pool selects the node. Label the node, or change a pool's nodeSelector.
    #[error("no configured Calico pools for node {0}")]
    NoneForNode(String),
    /// No pool that selects the node allows this use.
    #[error("cannot find a qualified ippool, no pools match the required use ({})", .0.name())]
    NoneForUse(Use),
}

/// Why a network cannot be claimed or given up by blocks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// No enabled pool contains the network. Name another network, or create or enable a pool.
    #[error("The requested CIDR ({0}) is not within any configured pools.")]
    NoPool(Cidr),
    /// The network is smaller than a block of its pool. Name the block that contains it, or a larger network.
    #[error("The requested CIDR ({0}) is smaller than the minimum.")]
    TooSmall(Cidr),
}

/// The part of a request that decides about pools.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The host's name, for messages.
    pub host: &'a str,
    /// The node's labels; `None` when the request is not for a node.
    pub node_labels: Option<&'a BTreeMap<String, String>>,
    /// The namespace's labels; `None` means no labels.
    pub namespace_labels: Option<&'a BTreeMap<String, String>>,
    /// What the addresses are for.
    pub intended_use: Use,
    /// The addresses that the host reserves in each block.
    pub host_reserved: Option<&'a HostReserved>,
}

/// The pools of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice<'a> {
    /// The pools to take addresses from, in order.
    pub pools: Vec<&'a Arc<Pool>>,
    /// The pools that would be chosen if `allowedUses` were ignored, in order.
    pub before_use: Vec<&'a Arc<Pool>>,
    /// All enabled pools of the family.
    pub enabled: Vec<&'a Arc<Pool>>,
}

impl Choice<'_> {
    /// Whether a network is one of the blocks into which the chosen pools are divided.
    pub fn is_block(&self, block: BlockCidr) -> bool {
        self.pools.iter().any(|pool| pool.block_of(block.cidr().first()) == Some(block))
    }
}

/// The enabled pools of a family in the order of their names. Pools that cannot be parsed are left out.
pub fn enabled(view: &View, family: Family) -> impl Iterator<Item = &Arc<Pool>> {
    all(view).filter(move |pool| pool.is_enabled() && pool.family() == family)
}

/// All pools that can be parsed, in the order of their names.
pub fn all(view: &View) -> impl Iterator<Item = &Arc<Pool>> {
    view.resources(Kind::IPPool).filter_map(|(resource, _)| resource.as_pool().ok())
}

/// The enabled pool that contains a network of at least one block. Calico asks only for the network's first
/// address (`libcalico-go/lib/ipam/ipam.go`, `ClaimAffinity`, `ReleaseAffinity`), and leaves out in silence
/// what lies outside of the pool.
///
/// # Errors
/// When no enabled pool contains the network, or the network is smaller than a block.
pub fn of_network<'a>(view: &'a View, network: &Cidr) -> Result<&'a Arc<Pool>, NetworkError> {
    let pool = enabled(view, network.family()).find(|pool| pool.cidr.covers(network));
    let pool = pool.ok_or(NetworkError::NoPool(*network))?;
    match network.prefix() <= pool.block_size {
        true => Ok(pool),
        false => Err(NetworkError::TooSmall(*network)),
    }
}

/// The key of a pool's record.
pub fn key(pool: &Pool) -> Key {
    Key::global(Kind::IPPool, pool.name.as_str())
}

/// Guards the pool that a block is taken from: where the store honours guards, nothing is taken from a pool
/// that has been disabled, changed or deleted since it was read.
pub fn guard(batch: &mut Batch, view: &View, pool: &Pool) {
    let key = key(pool);
    if let Some(Some((_, revision))) = view.resource(&key)
        && !batch.guards_record(&key)
    {
        batch.guard(key, Some(revision.clone()));
    }
}

/// Chooses the pools, and gives `sink` a verdict on each pool of the family. If `requested` is not empty, it
/// replaces selectors and assignment mode, and gives the order. A pool whose selector cannot be parsed
/// selects nobody.
pub fn choose<'a>(
    view: &'a View,
    family: Family,
    requested: &[Cidr],
    asker: Asker<'_>,
    sink: &impl Sink,
) -> Result<Choice<'a>, PoolsError> {
    if let Some(other) = requested.iter().find(|cidr| cidr.family() != family) {
        return Err(PoolsError::Family { wanted: family, found: other.family() });
    }
    let longest = longest_prefix(family, asker.host_reserved)?;
    let enabled = enabled_with_verdicts(view, family, sink);
    let fits = |pool: &Pool| pool.block_size <= longest;
    if !enabled.iter().any(|pool| fits(pool)) {
        enabled.iter().for_each(|pool| verdict::of_pool(sink, pool, || PoolVerdict::SmallBlocks));
        return Err(PoolsError::NoneQualified);
    }
    let before_use: Vec<&Arc<Pool>> = if requested.is_empty() {
        // Collected once: every pool's selector looks up one or two of the node's few labels.
        let node_labels: Option<Vec<_>> = asker.node_labels.map(|labels| labels.iter().collect());
        let is_left_out = |pool: &'a Pool| {
            if pool.manual {
                Some(LeftOut::Manual)
            } else if selects_node(pool, &node_labels) != Some(true) {
                Some(LeftOut::Node(&pool.node_selector))
            } else if selects(&pool.namespace_selector, &asker.namespace_labels) != Some(true) {
                Some(LeftOut::Namespace(&pool.namespace_selector))
            } else {
                (!fits(pool)).then_some(LeftOut::SmallBlocks)
            }
        };
        let mut chosen = enabled.clone();
        chosen.retain(|pool| {
            let left_out = is_left_out(pool);
            if let Some(why) = &left_out {
                verdict::of_pool(sink, pool, || why.verdict());
            }
            left_out.is_none()
        });
        chosen
    } else {
        for other in enabled.iter().filter(|pool| !requested.contains(&pool.cidr)) {
            verdict::of_pool(sink, other, || PoolVerdict::NotNamed);
        }
        let named = |cidr: &Cidr| {
            let pool = enabled.iter().find(|pool| fits(pool) && pool.cidr == *cidr);
            pool.copied().ok_or(PoolsError::NotThere(*cidr))
        };
        requested.iter().map(named).collect::<Result<_, _>>()?
    };
    if before_use.is_empty() {
        return Err(PoolsError::NoneForNode(asker.host.to_string()));
    }
    let mut pools = before_use.clone();
    pools.retain(|pool| {
        let allows = pool.allows(asker.intended_use);
        verdict::of_pool(sink, pool, || match allows {
            true => PoolVerdict::Chosen,
            false => PoolVerdict::OtherUses(asker.intended_use),
        });
        allows
    });
    if pools.is_empty() {
        return Err(PoolsError::NoneForUse(asker.intended_use));
    }
    Ok(Choice { pools, before_use, enabled })
}

/// The enabled pools of a family. Gives `sink` the verdict on the others.
fn enabled_with_verdicts<'a>(view: &'a View, family: Family, sink: &impl Sink) -> Vec<&'a Arc<Pool>> {
    let mut enabled = Vec::new();
    for (resource, _) in view.resources(Kind::IPPool) {
        match resource.as_pool() {
            Ok(pool) if pool.family() != family => {}
            Ok(pool) if pool.is_enabled() => enabled.push(pool),
            Ok(pool) => verdict::of_pool(sink, pool, || match pool.as_ref() {
                Pool { disabled: true, .. } => PoolVerdict::Disabled,
                Pool { deleting: true, .. } => PoolVerdict::Terminating,
                _ => PoolVerdict::Unallocatable,
            }),
            Err(error) => sink.tell(|| Verdict::Pool {
                name: resource.name().to_string(),
                verdict: PoolVerdict::Unreadable(error.clone()),
            }),
        }
    }
    enabled
}

/// Why a request that does not name an enabled pool takes no addresses from it.
enum LeftOut<'a> {
    Manual,
    Node(&'a Result<Selector, OddSelector>),
    Namespace(&'a Result<Selector, OddSelector>),
    SmallBlocks,
}

impl LeftOut<'_> {
    fn verdict(&self) -> PoolVerdict {
        match self {
            LeftOut::Manual => PoolVerdict::Manual,
            LeftOut::SmallBlocks => PoolVerdict::SmallBlocks,
            LeftOut::Node(Ok(selector)) => PoolVerdict::OtherNodes(selector.to_string()),
            LeftOut::Namespace(Ok(selector)) => PoolVerdict::OtherNamespaces(selector.to_string()),
            LeftOut::Node(Err(odd)) | LeftOut::Namespace(Err(odd)) => PoolVerdict::OddSelector(odd.clone()),
        }
    }
}

/// Whether a pool's node selector selects a node with those labels; `None` where the selector cannot be
/// parsed.
pub fn selects_node(pool: &Pool, labels: &impl Labels) -> Option<bool> {
    selects(&pool.node_selector, labels)
}

fn selects(selector: &Result<Selector, OddSelector>, labels: &impl Labels) -> Option<bool> {
    selector.as_ref().ok().map(|selector| selector.matches(labels))
}

/// The longest prefix with which a block has a free address besides those that the host reserves: 3 + 1
/// addresses need three bits, so a /29.
fn longest_prefix(family: Family, reserved: Option<&HostReserved>) -> Result<u8, PoolsError> {
    let Some(reserved) = reserved else { return Ok(family.bits()) };
    let count = reserved.at_start.saturating_add(reserved.at_end);
    let bits = (u32::BITS - count.leading_zeros()) as u8;
    match family.bits().checked_sub(bits) {
        Some(prefix) if count > 0 && prefix > 0 => Ok(prefix),
        _ => Err(PoolsError::HostReserved),
    }
}
