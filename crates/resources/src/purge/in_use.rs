//! Whose the addresses are that a purge would take away.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::block::is_kept_by_windows;
use api::{Block, Key, Pool};
use ipam::usage::user;
use store::{Scope, Slot, View};

/// How many workloads are named.
const NAMED: usize = 10;

/// Addresses of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolUse {
    /// The pool.
    pub pool: Arc<Pool>,
    /// How many of its addresses somebody has.
    pub addresses: u64,
}

/// An address that a workload has, or somebody of whom nothing is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The pod or virtual machine as `namespace/name`; else the handle; empty where there is neither.
    pub name: String,
    /// The address.
    pub addr: IpAddr,
    /// The node; empty where none is named.
    pub node: String,
}

/// The addresses that somebody has. Those that cool down, and those that a Windows host keeps back, are
/// nobody's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InUse {
    /// All pools that can be read, in the order of their names.
    pub pools: Vec<PoolUse>,
    /// How many addresses belong to no such pool.
    pub without_pool: u64,
    /// How many addresses each node's workloads and tunnels have, by its name.
    pub nodes: BTreeMap<String, u64>,
    /// How many addresses name no node.
    pub without_node: u64,
    /// How many addresses nodes have for their tunnels. They are no workload's.
    pub tunnels: u64,
    /// How many addresses workloads have, or somebody of whom nothing is known.
    pub workloads: u64,
    /// The first of these.
    pub first: Vec<Workload>,
    /// Blocks that cannot be read: nobody knows who has their addresses.
    pub unreadable: Vec<String>,
}

impl InUse {
    /// Of these pools, before any block was seen.
    pub(super) fn of(view: &View) -> InUse {
        let pools = ipam::pools::all(view).map(|pool| PoolUse { pool: pool.clone(), addresses: 0 });
        InUse { pools: pools.collect(), ..InUse::default() }
    }

    /// Takes the blocks of a view.
    pub(super) fn take(&mut self, view: &View) {
        for (key, slot) in view.slots(&Scope::Blocks { family: None }) {
            match slot {
                Slot::Unreadable(_) => self.unreadable.push(key.to_string()),
                slot => slot.record().and_then(|record| record.block()).into_iter().for_each(|b| self.add(b)),
            }
        }
    }

    /// How many addresses somebody has.
    pub fn addresses(&self) -> u64 {
        self.tunnels + self.workloads
    }

    /// Whether a workload may have an address.
    pub fn has_workloads(&self) -> bool {
        self.workloads > 0 || !self.unreadable.is_empty()
    }

    fn add(&mut self, block: &Block) {
        for held in holders(block) {
            match held.is_tunnel {
                true => self.tunnels += 1,
                false => {
                    self.workloads += 1;
                    if self.first.len() < NAMED {
                        self.first.push(held.workload.clone());
                    }
                }
            }
            match held.workload.node.as_str() {
                "" => self.without_node += 1,
                node => *self.nodes.entry(node.to_string()).or_default() += 1,
            }
            match self.pools.iter_mut().find(|one| one.pool.cidr.contains(held.workload.addr)) {
                Some(one) => one.addresses += 1,
                None => self.without_pool += 1,
            }
        }
    }
}

/// Who has an address of a block.
struct Holder {
    workload: Workload,
    is_tunnel: bool,
}

fn holders(block: &Block) -> impl Iterator<Item = Holder> {
    block.allocations.iter().zip(0..).filter_map(|(allocation, ordinal)| {
        let ((_, addr), attribute) = (allocation.zip(block.cidr.addr(ordinal))?, block.attribute(ordinal));
        let nobody = Workload { name: String::new(), addr, node: String::new() };
        // An allocation that says nothing of its owner is somebody's all the same.
        let Some(attribute) = attribute else { return Some(Holder { workload: nobody, is_tunnel: false }) };
        let is_kept = attribute.handle().is_some_and(is_kept_by_windows);
        if is_kept || attribute.released_at.is_some() {
            return None;
        }
        let (kind, name) = user(attribute);
        let handle = || attribute.handle().unwrap_or_default().to_string();
        let name = if name.is_empty() { handle() } else { name };
        let node = attribute.owner.get("node").cloned().unwrap_or_default();
        Some(Holder { workload: Workload { name, addr, node }, is_tunnel: kind.ends_with("TunnelAddress") })
    })
}

/// How many addresses of a block workloads have, or somebody of whom nothing is known; `None` where the block
/// cannot be read.
pub(super) fn of_workloads(key: &Key, slot: &Slot) -> Option<usize> {
    match (key, slot.record().and_then(|record| record.block())) {
        (Key::Block(_), Some(block)) => Some(holders(block).filter(|held| !held.is_tunnel).count()),
        (Key::Block(_), None) => None,
        _ => Some(0),
    }
}
