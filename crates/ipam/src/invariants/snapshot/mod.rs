//! What holds of stored records at one moment, over a stream of them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use api::{Block, BlockCidr, DecodeError, Key, Record, Timestamp};

use super::Violation;

mod affinities;
pub(super) mod capacity;
mod handles;
mod one_owner;
mod overlaps;
mod places;
mod readable;

/// When the records were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Requests are under way, or were cut short: a handle may count too much.
    Between,
    /// No request is under way, and none was cut short: handles are exact.
    AtRest,
}

/// A block with addresses that somebody holds and that are in no pool, because the pool was deleted or
/// changed. This is legal: the addresses go when they are released.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Orphan {
    /// The block.
    pub block: BlockCidr,
    /// The first of the addresses.
    pub first: IpAddr,
    /// How many there are.
    pub count: u32,
}

/// Checks the records of a cluster, which it is fed one by one: pools, affinities, blocks and handles, in any
/// order, each once. Other records are only looked at for parts that cannot be read.
///
/// It keeps no record. It keeps for each
/// * block about 60 bytes and one bit for each of its addresses;
/// * handle in a block, however many addresses that are, about 110 bytes and the handle's name;
/// * affinity about 40 bytes, and the names of all owners once;
/// * pool about 70 bytes and its name.
///
/// A violation is told as soon as it is certain, so violations are not kept, either. [`Snapshot::bytes`]
/// tells what is kept.
///
/// Records that were listed at different moments, while requests were under way, can seem to disagree though
/// each is sound. Whoever acts on a violation reads the records that it names again, together.
#[derive(Debug)]
pub struct Snapshot {
    moment: Moment,
    now: Option<Timestamp>,
    owners: Names,
    blocks: Vec<BlockSummary>,
    handles: handles::Handles,
    affinities: Vec<affinities::Affinity>,
    pools: Vec<places::Pool>,
}

/// What is kept of a block.
#[derive(Debug)]
struct BlockSummary {
    cidr: BlockCidr,
    /// Its owner as in the field `affinity`, where that names an owner.
    owner: Option<Arc<str>>,
    /// A bit for each ordinal: whether somebody holds the address. An address that cools down, or that a
    /// Windows host keeps for itself, is held by nobody.
    held: Box<[u64]>,
    /// Whether none of its addresses is held or cools down.
    is_empty: bool,
}

impl BlockSummary {
    fn of(block: &Block, owners: &mut Names) -> BlockSummary {
        let mut held = vec![0; block.allocations.len().div_ceil(64)].into_boxed_slice();
        for ordinal in 0..block.allocations.len() as u32 {
            if is_held(block, ordinal) {
                held[ordinal as usize / 64] |= 1 << (ordinal % 64);
            }
        }
        let owner = block.affinity.as_ref().filter(|_| block.owner().is_some());
        let (owner, is_empty) = (owner.map(|text| owners.intern(text)), crate::block::is_empty(block));
        BlockSummary { cidr: block.cidr, owner, held, is_empty }
    }

    fn holds(&self, addr: IpAddr) -> bool {
        let word = |ordinal: u32| self.held.get(ordinal as usize / 64).map(|word| word >> (ordinal % 64));
        self.cidr.ordinal(addr).and_then(word).is_some_and(|bits| bits & 1 == 1)
    }

    /// The addresses that somebody holds.
    fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let is_held = |ordinal: &u32| self.held[*ordinal as usize / 64] >> (ordinal % 64) & 1 == 1;
        let size = self.cidr.size().min(self.held.len() as u32 * 64);
        (0..size).filter(is_held).filter_map(|ordinal| self.cidr.addr(ordinal))
    }
}

/// Whether somebody holds an address of a block: neither does it cool down, nor does a Windows host keep it
/// for itself. An allocation without attribute counts as held.
pub(super) fn is_held(block: &Block, ordinal: u32) -> bool {
    match block.attribute(ordinal) {
        Some(attribute) => {
            attribute.released_at.is_none() && !attribute.handle().is_some_and(api::block::is_kept_by_windows)
        }
        None => matches!(block.allocations.get(ordinal as usize), Some(Some(_))),
    }
}

/// Texts that many records repeat, each kept once.
#[derive(Debug, Default)]
pub struct Names(BTreeSet<Arc<str>>);

impl Names {
    /// The one copy of a text.
    pub fn intern(&mut self, text: &str) -> Arc<str> {
        match self.0.get(text) {
            Some(known) => known.clone(),
            None => {
                let new: Arc<str> = text.into();
                self.0.insert(new.clone());
                new
            }
        }
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|name| in_tree(size_of::<Arc<str>>()) + in_arc(name)).sum()
    }
}

/// The bytes of a shared text: two counters, and the text.
fn in_arc(text: &str) -> usize {
    2 * size_of::<usize>() + text.len()
}

/// The bytes of an entry of a B-tree, whose nodes have room for 11 entries and hold at least 5.
fn in_tree(entry: usize) -> usize {
    entry * 11 / 5
}

impl Snapshot {
    /// Of no records yet. With `now`, a release in the future is a violation.
    pub fn new(moment: Moment, now: Option<Timestamp>) -> Snapshot {
        Snapshot {
            moment,
            now,
            owners: Names::default(),
            blocks: Vec::new(),
            handles: handles::Handles::default(),
            affinities: Vec::new(),
            pools: Vec::new(),
        }
    }

    /// Takes the next record.
    pub fn feed(&mut self, record: &Record, tell: &mut impl FnMut(Violation)) {
        readable::check(record, tell);
        match &record.key {
            Key::Block(_) => {
                if let Some(block) = record.block() {
                    capacity::check(block, self.now, tell);
                    self.handles.feed_block(block);
                    self.blocks.push(BlockSummary::of(block, &mut self.owners));
                }
            }
            Key::Affinity { owner, block } => {
                if let Some(affinity) = record.affinity() {
                    let owner = self.owners.intern(&owner.affinity_text());
                    let (block, state) = (*block, affinity.state.into());
                    self.affinities.push(affinities::Affinity { owner, block, state });
                }
            }
            Key::Handle(id) => {
                if let Some(handle) = record.handle() {
                    self.handles.feed_handle(id, handle);
                }
            }
            Key::Resource { .. } => {
                if let Some(Ok(pool)) = record.resource().map(|resource| resource.as_pool()) {
                    self.pools.push(places::Pool::of(pool));
                }
            }
            Key::IpamConfig | Key::IpamHost(_) => {}
        }
    }

    /// Takes a record that cannot be read; without `key` something that lies among the records and is none.
    pub fn feed_unreadable(
        &mut self,
        key: Option<&Key>,
        error: &DecodeError,
        tell: &mut impl FnMut(Violation),
    ) {
        readable::unreadable(key, error, tell);
    }

    /// About how many bytes it keeps.
    pub fn bytes(&self) -> usize {
        let blocks = self.blocks.iter().map(|block| size_of_val(&*block.held)).sum::<usize>()
            + self.blocks.capacity() * size_of::<BlockSummary>();
        let affinities = self.affinities.capacity() * size_of::<affinities::Affinity>();
        let pools = self.pools.iter().map(places::Pool::bytes).sum::<usize>();
        blocks + affinities + pools + self.handles.bytes() + self.owners.bytes()
    }

    /// Ends the check, when all records were fed. Gives the orphans, in the order of their blocks.
    pub fn end(mut self, tell: &mut impl FnMut(Violation)) -> Vec<Orphan> {
        self.blocks.sort_unstable_by_key(|block| block.cidr);
        self.affinities.sort_unstable();
        self.pools.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        overlaps::nested(&self.blocks, |block, around| {
            overlaps::check(block, around, &self.affinities, tell);
            one_owner::check(block, around, tell);
        });
        self.handles.check(self.moment, tell);
        affinities::check(&self.blocks, &self.affinities, tell);
        places::check(&self.blocks, &self.pools, tell);
        places::orphans(&self.blocks, &self.pools)
    }
}

/// Checks a list of all blocks, affinities, handles and pools of a store, in which requests may be under way.
/// Gives the violations, ordered by invariant, then by record. With `now`, an
/// address that was released at a later time than `now` is a violation, too.
pub fn check(records: &[Arc<Record>], now: Option<Timestamp>) -> Vec<Violation> {
    all(records, Moment::Between, now)
}

/// The same where no request is under way and none was cut short.
pub fn check_at_rest(records: &[Arc<Record>], now: Option<Timestamp>) -> Vec<Violation> {
    all(records, Moment::AtRest, now)
}

fn all(records: &[Arc<Record>], moment: Moment, now: Option<Timestamp>) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut tell = |violation| violations.push(violation);
    let mut snapshot = Snapshot::new(moment, now);
    records.iter().for_each(|record| snapshot.feed(record, &mut tell));
    snapshot.end(&mut tell);
    violations.sort();
    violations
}

#[cfg(test)]
mod tests;
