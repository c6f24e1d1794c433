//! Releases addresses (`libcalico-go/lib/ipam/ipam.go`, `ReleaseIPs`), and what every release has in common.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use api::{Block, BlockCidr, DecodeError, HandleId, Key, Kind, Owner, Timestamp, Value};
use store::{Batch, Depth, Expect, Op, Outcome, ReadSet, Report, Scope, View};

use crate::affinity;
use crate::block::{self, ReleaseError, ReleaseIp};
use crate::config;
use crate::handle::{self, Counts, Fate, Written};
use crate::plan::{Plan, Planner};
use crate::pools;
use crate::usage;

/// Addresses to release.
#[derive(Clone, Debug, Default)]
pub struct ReleaseIps {
    ips: Vec<ReleaseIp>,
    /// Released by earlier attempts, whose handles were not lowered yet.
    owed: BTreeMap<HandleId, Counts>,
    done: Vec<IpAddr>,
    intent: Vec<Intent>,
    /// Of earlier attempts, what may have been released: the reply was lost.
    in_doubt: Vec<Intent>,
    /// The writes of handles, and what they lower.
    lowers: Vec<(usize, HandleId, Counts)>,
    written: Vec<(HandleId, Written)>,
    /// Of earlier attempts, writes of handles that may have been applied, and what each lowers.
    handles_in_doubt: BTreeMap<HandleId, (Written, Vec<(usize, Counts)>)>,
}

/// Addresses that a write takes out of a block.
#[derive(Clone, Debug)]
struct Intent {
    index: usize,
    cidr: BlockCidr,
    released: block::Released,
    /// The block as the write leaves it; `None` when it deletes it.
    left: Option<Arc<Value>>,
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
    /// Its block, or one that may hold it, cannot be read. Mend that record.
    #[error(transparent)]
    Unreadable(#[from] DecodeError),
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
        let in_doubt = self.in_doubt.iter().map(|intent| Key::Block(intent.cidr));
        let in_doubt = in_doubt.chain(self.handles_in_doubt.keys().cloned().map(Key::Handle));
        let missing: Vec<Key> = in_doubt.filter(|key| view.full(key).is_none()).collect();
        if !missing.is_empty() {
            return Ok(Plan::Fetch(ReadSet::new().keys(missing)));
        }
        self.settle(view);
        self.settle_handles(view);
        let mut answer = ReleasedIps { released: self.done.clone(), ..ReleasedIps::default() };
        let by_block = match self.by_block(view, &mut answer) {
            Ok(by_block) => by_block,
            Err(more) => return Ok(Plan::Fetch(more)),
        };
        let cooldown = config::of(view).cooldown_seconds;
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
        let handles = done.iter().flat_map(|(_, r)| r.by_handle.keys()).filter_map(|id| HandleId::new(id));
        let handles = handles.chain(self.owed.keys().cloned()).map(Key::Handle);
        let mut missing: Vec<Key> = handles.filter(|key| view.full(key).is_none()).collect();
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

    fn can_do_without(&self, key: &Key) -> bool {
        // A block whose write is in doubt decides what has been released.
        let in_doubt = |block: &BlockCidr| self.in_doubt.iter().any(|intent| intent.cidr == *block);
        match key {
            Key::Block(block) => !in_doubt(block),
            Key::IpamConfig | Key::Resource { kind: Kind::Node, .. } => true,
            _ => false,
        }
    }

    fn observe(&mut self, report: &Report) {
        let applied = |index: usize| matches!(report.outcomes.get(index), Some(Outcome::Applied(_)));
        for intent in std::mem::take(&mut self.intent) {
            match report.outcomes.get(intent.index) {
                Some(Outcome::Applied(_)) => {
                    self.in_doubt.retain(|earlier| earlier.cidr != intent.cidr);
                    self.note(intent.cidr, intent.released);
                }
                // At most one of a block's writes in doubt can have been applied; should it be the earlier one, its handles stay too high.
                Some(Outcome::Unknown(_)) => {
                    self.in_doubt.retain(|earlier| earlier.cidr != intent.cidr);
                    self.in_doubt.push(intent);
                }
                _ => {}
            }
        }
        let lowers = std::mem::take(&mut self.lowers);
        for (id, written) in std::mem::take(&mut self.written) {
            let mine = lowers.iter().filter(|(_, other, _)| *other == id);
            let mine: Vec<(usize, Counts)> =
                mine.map(|(index, _, counts)| (*index, counts.clone())).collect();
            if let Some(last) = written.applied(report) {
                self.handles_in_doubt.remove(&id);
                self.lessen(&id, mine.iter().filter(|(index, _)| *index <= last));
            }
            if let Some(in_doubt) = written.in_doubt(report) {
                let unknown = mine.into_iter().filter(|(index, _)| !applied(*index)).collect();
                self.handles_in_doubt.insert(id, (in_doubt, unknown));
            }
        }
        self.owed.retain(|_, counts| counts.values().any(|n| *n > 0));
    }
}

impl ReleaseIps {
    /// What was in doubt has been released if the block is as that write left it. If somebody has written the block since, an address that is free now counts as
    /// released, but its handle is not lowered: whoever released it may have done that, and a count may be too high, never too low.
    /// What is still held stays in doubt: the write may yet arrive, until somebody writes the block.
    fn settle(&mut self, view: &View) {
        for mut intent in std::mem::take(&mut self.in_doubt) {
            let found = view.block(intent.cidr).flatten().map(|(block, _)| block);
            let stands = match (intent.left.as_deref(), found) {
                (Some(Value::Block(left)), Some(found)) => left == found,
                (None, None) => true,
                _ => false,
            };
            if stands {
                self.note(intent.cidr, intent.released);
                continue;
            }
            let is_free = |addr: &IpAddr| {
                let ordinal = intent.cidr.ordinal(*addr);
                let attribute = ordinal.and_then(|o| found.and_then(|block| block.attribute(o)));
                attribute.is_none_or(|a| a.released_at.is_some())
            };
            let (free, held) = std::mem::take(&mut intent.released.released).into_iter().partition(is_free);
            let free = block::Released { released: free, ..block::Released::default() };
            if !free.released.is_empty() {
                intent.released.by_handle.clear();
            }
            self.note(intent.cidr, free);
            intent.released.released = held;
            if !intent.released.released.is_empty() {
                self.in_doubt.push(intent);
            }
        }
    }

    /// Notes what is certain to be released.
    fn note(&mut self, cidr: BlockCidr, released: block::Released) {
        self.ips.retain(|ip| !released.released.contains(&ip.addr));
        self.done.extend(released.released);
        for (id, n) in released.by_handle {
            let Some(id) = HandleId::new(&id) else { continue };
            *self.owed.entry(id).or_default().entry(cidr).or_default() += n;
        }
    }

    /// Finds out about writes of handles in doubt. Where that cannot be told, what they were to lower stays: a count may be too high, never too low.
    fn settle_handles(&mut self, view: &View) {
        for (id, (mut written, mut lowers)) in std::mem::take(&mut self.handles_in_doubt) {
            match view.handle(&id).map(|found| written.settle(found)) {
                None | Some(Fate::NotApplied) => {}
                Some(Fate::Applied(last)) => {
                    self.lessen(&id, lowers.iter().filter(|(index, _)| *index <= last));
                    lowers.retain(|(index, _)| *index > last);
                }
                Some(Fate::Unclear) => drop(self.owed.remove(&id)),
            }
            if !written.is_settled() {
                self.handles_in_doubt.insert(id, (written, lowers));
            }
        }
    }

    /// Notes that a handle was lowered.
    fn lessen<'a>(&mut self, id: &HandleId, lowers: impl Iterator<Item = &'a (usize, Counts)>) {
        let Some(owed) = self.owed.get_mut(id) else { return };
        for (block, n) in lowers.flat_map(|(_, counts)| counts) {
            if let Some(left) = owed.get_mut(block) {
                *left = left.saturating_sub(*n);
            }
        }
    }

    /// Groups the addresses by the block that holds them, or tells what must be read for that. All pools count, disabled ones too; an address whose pool is
    /// gone, or has been made anew with blocks of another size, is looked for in blocks of every size.
    fn by_block(
        &self,
        view: &View,
        answer: &mut ReleasedIps,
    ) -> Result<BTreeMap<BlockCidr, Vec<ReleaseIp>>, ReadSet> {
        let mut by_block: BTreeMap<BlockCidr, Vec<ReleaseIp>> = BTreeMap::new();
        let mut unread: BTreeSet<BlockCidr> = BTreeSet::new();
        for ip in &self.ips {
            let pool = pools::all(view).find(|pool| pool.cidr.contains(ip.addr));
            let first = pool.and_then(|pool| pool.block_of(ip.addr));
            match first.map(|cidr| (cidr, view.block(cidr))) {
                Some((cidr, Some(Some(_)))) => by_block.entry(cidr).or_default().push(ip.clone()),
                Some((cidr, None)) => match view.unreadable(&Key::Block(cidr)) {
                    Some(block) => drop(answer.error.get_or_insert(block.error.clone().into())),
                    None => drop(unread.insert(cidr)),
                },
                Some((_, Some(None))) | None => {
                    let around = || usage::blocks_around(ip.addr).map(Key::Block);
                    let damaged = around().find_map(|key| view.unreadable(&key));
                    let around = usage::blocks_around(ip.addr);
                    let is_unread = |cidr: &BlockCidr| {
                        view.block(*cidr).is_none() && view.unreadable(&Key::Block(*cidr)).is_none()
                    };
                    unread.extend(around.filter(is_unread));
                    let holding =
                        usage::blocks_around(ip.addr).find(|cidr| view.block(*cidr).flatten().is_some());
                    match holding {
                        Some(cidr) => by_block.entry(cidr).or_default().push(ip.clone()),
                        None => match damaged {
                            Some(block) => drop(answer.error.get_or_insert(block.error.clone().into())),
                            None => answer.unallocated.push(ip.addr),
                        },
                    }
                }
            }
        }
        if unread.is_empty() {
            return Ok(by_block);
        }
        Err(ReadSet::new().keys(unread.into_iter().map(Key::Block)))
    }

    fn batch(
        &mut self,
        view: &View,
        mut changed: BTreeMap<BlockCidr, Changed>,
        done: Vec<(BlockCidr, block::Released)>,
    ) -> Result<Batch, ReadSet> {
        let mut batch = Batch::new();
        let mut handles: BTreeMap<HandleId, handle::Draft> = BTreeMap::new();
        self.intent.clear();
        self.lowers.clear();
        for (id, counts) in self.owed.clone() {
            if !self.lower(&mut batch, view, &mut handles, &id, counts) {
                // The handle names nothing of what is owed: there is nothing to lower.
                self.owed.remove(&id);
            }
        }
        for (cidr, released) in done {
            let Some(change) = changed.remove(&cidr) else { continue };
            let deselected = is_deselected(view, &change.block);
            let index = write_back(&mut batch, view, change, deselected)?;
            let left = match &batch.writes[index].op {
                Op::Put(value) => Some(value.clone()),
                Op::Delete => None,
            };
            for (id, n) in &released.by_handle {
                let Some(id) = HandleId::new(id) else { continue };
                self.lower(&mut batch, view, &mut handles, &id, Counts::from([(cidr, *n)]));
            }
            self.intent.push(Intent { index, cidr, released, left });
        }
        let written = |id: HandleId| (id.clone(), Written::of(&batch, &id));
        self.written = handles.into_keys().map(written).collect();
        Ok(batch)
    }

    /// Writes a handle's lower counts; whether there was anything to lower.
    fn lower(
        &mut self,
        batch: &mut Batch,
        view: &View,
        handles: &mut BTreeMap<HandleId, handle::Draft>,
        id: &HandleId,
        counts: Counts,
    ) -> bool {
        let Some(draft) = handles.get(id).cloned().or_else(|| handle::Draft::of(view, id)) else {
            return false;
        };
        let index = handles.entry(id.clone()).or_insert(draft).lower(batch, &counts);
        self.lowers.extend(index.map(|index| (index, id.clone(), counts)));
        index.is_some()
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
/// else rewritten. Tells the index of the block's write.
///
/// # Errors
/// What must be read first.
pub(crate) fn write_back(
    batch: &mut Batch,
    view: &View,
    change: Changed,
    deselected: bool,
) -> Result<usize, ReadSet> {
    let Changed { mut block, expect } = change;
    let cidr = block.cidr;
    let empty = block::is_empty(&block);
    match block.owner() {
        None if empty && block.affinity.is_none() => Ok(batch.delete(Key::Block(cidr), expect)),
        Some(owner) if empty && deselected => {
            let key = Key::Affinity { owner: owner.clone(), block: cidr };
            if view.full(&key).is_none() {
                return Err(ReadSet::new().key(key));
            }
            let found = view.affinity(&owner, cidr).flatten();
            Ok(affinity::release(batch, &owner, found, block, expect))
        }
        _ => {
            block::bump(&mut block);
            Ok(batch.put(Key::Block(cidr), expect, Value::Block(block)))
        }
    }
}

/// The node that must be read to know whether an empty block is to be given up.
pub(crate) fn owner_node(view: &View, block: &Block) -> Option<Key> {
    let Some(Owner::Host(host)) = block.owner() else { return None };
    let key = Key::global(Kind::Node, host);
    (block::is_empty(block) && view.full(&key).is_none() && view.unreadable(&key).is_none()).then_some(key)
}

/// Whether the enabled pool of a block no longer selects the node that owns it. A node that does not exist, or a pool whose selector cannot be
/// read, decides nothing.
pub(crate) fn is_deselected(view: &View, block: &Block) -> bool {
    let Some(Owner::Host(host)) = block.owner() else { return false };
    let Some(Some((node, _))) = view.resource(&Key::global(Kind::Node, host)) else { return false };
    let pool = pools::enabled(view, block.cidr.family()).find(|p| p.cidr.contains(block.cidr.cidr().first()));
    pool.is_some_and(|pool| pools::selects_node(pool, &node.as_node().labels) == Some(false))
}
