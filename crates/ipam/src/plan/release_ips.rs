//! Releases addresses (`libcalico-go/lib/ipam/ipam.go`, `ReleaseIPs`), and what every release has in common.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::{Block, BlockCidr, Family, HandleId, Key, Kind, Owner, Timestamp, Value};
use store::{Batch, Depth, Expect, Outcome, ReadSet, Report, Scope, Slot, View};

use crate::affinity;
use crate::block::{self, ReleaseError, ReleaseIp};
use crate::handle::{self, Counts};
use crate::plan::{Plan, Planner};
use crate::pools;

/// Addresses to release.
#[derive(Clone, Debug, Default)]
pub struct ReleaseIps {
    ips: Vec<ReleaseIp>,
    /// Released by earlier attempts, whose handles were not lowered yet.
    owed: BTreeMap<String, Counts>,
    done: Vec<IpAddr>,
    intent: Vec<(usize, BlockCidr, block::Released)>,
    /// The last write of each handle, and what it lowers.
    lowers: Vec<(usize, String, Counts)>,
}

impl ReleaseIps {
    /// A request to release those.
    pub fn new(ips: Vec<ReleaseIp>) -> ReleaseIps {
        ReleaseIps { ips, ..ReleaseIps::default() }
    }
}

/// Why an address was not released.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseIpsError {
    /// It was assigned anew, or belongs to another handle; nothing of its block was released.
    #[error(transparent)]
    Block(#[from] ReleaseError),
}

/// What became of the addresses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReleasedIps {
    /// Released now.
    pub released: Vec<IpAddr>,
    /// Were not assigned, or are cooling down.
    pub unallocated: Vec<IpAddr>,
    /// The first block that refused.
    pub error: Option<ReleaseIpsError>,
}

impl Planner for ReleaseIps {
    type Answer = ReleasedIps;
    type Error = std::convert::Infallible;

    fn reads(&self) -> ReadSet {
        ReadSet::new().key(Key::IpamConfig).scope(Scope::kind(Kind::IPPool), Depth::Full)
    }

    fn plan(&mut self, view: &View, now: Timestamp, _seed: u64) -> Result<Plan<ReleasedIps>, Self::Error> {
        let mut answer = ReleasedIps { released: self.done.clone(), ..ReleasedIps::default() };
        let by_block = match self.by_block(view, &mut answer) {
            Ok(by_block) => by_block,
            Err(more) => return Ok(Plan::Fetch(more)),
        };
        let cooldown = view.ipam_config().unwrap_or_default().cooldown_seconds;
        let mut changed = BTreeMap::new();
        let mut done: Vec<(BlockCidr, block::Released)> = Vec::new();
        for (cidr, ips) in by_block {
            let Some(change) = Changed::of(view, &mut changed, cidr) else {
                answer.unallocated.extend(ips.iter().map(|ip| ip.addr));
                continue;
            };
            match block::release(&mut change.block, &ips, now, cooldown) {
                Ok(released) => {
                    answer.released.extend(&released.released);
                    answer.unallocated.extend(&released.unallocated);
                    if released.released.is_empty() {
                        changed.remove(&cidr);
                    } else {
                        done.push((cidr, released));
                    }
                }
                Err(error) => {
                    changed.remove(&cidr);
                    answer.error.get_or_insert(error.into());
                }
            }
        }
        let handles = done.iter().flat_map(|(_, r)| r.by_handle.keys()).chain(self.owed.keys());
        let mut missing: Vec<Key> = handles
            .filter_map(|id| HandleId::new(id).map(Key::Handle))
            .filter(|key| view.full(key).is_none())
            .collect();
        missing.extend(changed.values().filter_map(|change| owner_node(view, &change.block)));
        if !missing.is_empty() {
            return Ok(Plan::Fetch(ReadSet::new().keys(missing)));
        }
        match self.batch(view, changed, done) {
            Ok(batch) if batch.is_empty() => Ok(Plan::Done(answer)),
            Ok(batch) => Ok(Plan::Commit { batch, answer }),
            Err(more) => Ok(Plan::Fetch(more)),
        }
    }

    fn observe(&mut self, report: &Report) {
        let applied = |index: usize| matches!(report.outcomes.get(index), Some(Outcome::Applied(_)));
        for (index, cidr, released) in std::mem::take(&mut self.intent) {
            if !applied(index) {
                continue;
            }
            self.ips.retain(|ip| !released.released.contains(&ip.addr));
            self.done.extend(released.released);
            for (id, n) in released.by_handle {
                *self.owed.entry(id).or_default().entry(cidr).or_default() += n;
            }
        }
        for (index, id, counts) in std::mem::take(&mut self.lowers) {
            if let (true, Some(owed)) = (applied(index), self.owed.get_mut(&id)) {
                for (block, n) in counts {
                    if let Some(left) = owed.get_mut(&block) {
                        *left = left.saturating_sub(n);
                    }
                }
            }
        }
        self.owed.retain(|_, counts| counts.values().any(|n| *n > 0));
    }
}

impl ReleaseIps {
    /// Groups the addresses by the block that holds them, or tells what must be read for that. All pools count, disabled ones too; an address outside of
    /// them may lie in a block whose pool is gone.
    fn by_block(
        &self,
        view: &View,
        answer: &mut ReleasedIps,
    ) -> Result<BTreeMap<BlockCidr, Vec<ReleaseIp>>, ReadSet> {
        let mut by_block: BTreeMap<BlockCidr, Vec<ReleaseIp>> = BTreeMap::new();
        let mut more = ReadSet::new();
        for ip in &self.ips {
            let pool = pools::all(view).find(|pool| pool.cidr.contains(ip.addr));
            if let Some(cidr) = pool.and_then(|pool| pool.block_of(ip.addr)) {
                by_block.entry(cidr).or_default().push(ip.clone());
                continue;
            }
            let scope = Scope::Blocks { family: Some(Family::of(ip.addr)) };
            if !view.is_complete(&scope, Depth::Key) {
                if !more.scopes.iter().any(|read| read.scope == scope) {
                    more = more.scope(scope, Depth::Key);
                }
                continue;
            }
            let holding = view.slots(&scope).filter(|(_, slot)| **slot != Slot::Absent).find_map(
                |(key, _)| match key {
                    Key::Block(cidr) if cidr.cidr().contains(ip.addr) => Some(*cidr),
                    _ => None,
                },
            );
            match holding {
                Some(cidr) => by_block.entry(cidr).or_default().push(ip.clone()),
                None => answer.unallocated.push(ip.addr),
            }
        }
        more.keys = by_block
            .keys()
            .map(|cidr| (Key::Block(*cidr), Depth::Full))
            .filter(|(key, _)| view.full(key).is_none())
            .collect();
        if more.is_empty() { Ok(by_block) } else { Err(more) }
    }

    fn batch(
        &mut self,
        view: &View,
        mut changed: BTreeMap<BlockCidr, Changed>,
        done: Vec<(BlockCidr, block::Released)>,
    ) -> Result<Batch, ReadSet> {
        let mut batch = Batch::new();
        let mut handles: BTreeMap<String, handle::Draft> = BTreeMap::new();
        let mut lower =
            |batch: &mut Batch, lowers: &mut Vec<(usize, String, Counts)>, id: &str, counts: Counts| {
                let Some(key) = HandleId::new(id) else { return };
                let Some(draft) = handles.get(id).cloned().or_else(|| handle::Draft::of(view, &key)) else {
                    return;
                };
                let draft = handles.entry(id.to_string()).or_insert(draft);
                let before = batch.writes.len();
                draft.lower(batch, &counts);
                if batch.writes.len() > before {
                    lowers.push((before, id.to_string(), counts));
                }
            };
        self.intent.clear();
        self.lowers.clear();
        for (id, counts) in self.owed.clone() {
            lower(&mut batch, &mut self.lowers, &id, counts);
        }
        for (cidr, released) in done {
            let Some(change) = changed.remove(&cidr) else { continue };
            let deselected = is_deselected(view, &change.block);
            if let Some(more) = write_back(&mut batch, view, change, deselected) {
                return Err(more);
            }
            let index =
                batch.writes.iter().rposition(|write| write.key == Key::Block(cidr)).unwrap_or_default();
            for (id, n) in released.by_handle.clone() {
                lower(&mut batch, &mut self.lowers, &id, Counts::from([(cidr, n)]));
            }
            self.intent.push((index, cidr, released));
        }
        Ok(batch)
    }
}

/// A block that addresses were released from, and how its record stands.
pub(crate) struct Changed {
    pub block: Block,
    pub expect: Expect,
}

impl Changed {
    /// The copy to change of a block that the view holds; `None` when it does not exist.
    pub fn of<'a>(
        view: &View,
        changed: &'a mut BTreeMap<BlockCidr, Changed>,
        cidr: BlockCidr,
    ) -> Option<&'a mut Changed> {
        let (stored, revision) = view.block(cidr)??;
        Some(
            changed
                .entry(cidr)
                .or_insert_with(|| Changed { block: stored.clone(), expect: handle::at(revision) }),
        )
    }
}

/// Writes a block that addresses were released from: deleted when it is empty and nobody's, or empty and its owner's node is no longer selected;
/// else rewritten. Tells what must be read first.
pub(crate) fn write_back(
    batch: &mut Batch,
    view: &View,
    change: Changed,
    deselected: bool,
) -> Option<ReadSet> {
    let Changed { mut block, expect } = change;
    let cidr = block.cidr;
    let empty = block::is_empty(&block);
    match block.owner() {
        None if empty && block.affinity.is_none() => {
            batch.delete(Key::Block(cidr), expect);
        }
        Some(owner) if empty && deselected => {
            let key = Key::Affinity { owner: owner.clone(), block: cidr };
            if view.full(&key).is_none() {
                return Some(ReadSet::new().key(key));
            }
            let found = view.affinity(&owner, cidr).flatten();
            affinity::release(batch, &owner, found, block, expect);
        }
        _ => {
            block::bump(&mut block);
            batch.put(Key::Block(cidr), expect, Value::Block(block));
        }
    }
    None
}

/// The node that must be read to know whether an empty block is to be given up.
pub(crate) fn owner_node(view: &View, block: &Block) -> Option<Key> {
    let Some(Owner::Host(host)) = block.owner() else { return None };
    let key = Key::global(Kind::Node, host);
    (block::is_empty(block) && view.full(&key).is_none()).then_some(key)
}

/// Whether the enabled pool of a block no longer selects the node that owns it. A node that does not exist, or a pool whose selector cannot be
/// read, decides nothing.
pub(crate) fn is_deselected(view: &View, block: &Block) -> bool {
    let Some(Owner::Host(host)) = block.owner() else { return false };
    let Some(Some((node, _))) = view.resource(&Key::global(Kind::Node, host)) else { return false };
    let pool = pools::enabled(view, block.cidr.family())
        .into_iter()
        .find(|p| p.cidr.contains(block.cidr.cidr().first()));
    pool.is_some_and(|pool| pools::selects_node(&pool, Some(&node.as_node().labels)) == Ok(false))
}
