//! What the attempts of one request for addresses have done so far, so that no retry takes an address twice or forgets one.

mod claims;
mod give_up;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use api::{Attribute, Block, BlockCidr, Family, Handle, HandleId, Key, Owner, Value};
use store::{Batch, Expect, Op, Outcome, ReadSet, Report, View};

use crate::affinity::{self, Claimed};
use crate::block;
use crate::handle::{self, Counts};
use crate::plan::attempts::{self, Tally, Writes};

/// Addresses that an attempt wrote into a block.
#[derive(Clone, Debug, PartialEq)]
struct Placed {
    block: BlockCidr,
    addresses: Vec<IpAddr>,
    /// The sequence number that they were taken with.
    sequence: u64,
    /// The empty block that the same write, or one that a transaction folds with it, creates: as long as there is no block, it may yet be applied.
    creation: Option<Arc<Value>>,
}

/// What one batch means to do; the indexes are those of its writes.
#[derive(Clone, Debug, Default)]
pub struct Intent {
    /// Each write of a block that takes addresses.
    places: Vec<(usize, Placed)>,
    /// Writes of a block after which no earlier write in doubt can be applied any more, beside those that take addresses.
    fences: Vec<(usize, BlockCidr)>,
    /// What makes blocks the owner's.
    pub claims: Vec<Claimed>,
    /// Writes after which none of the request's addresses are in a block.
    returns: Vec<(usize, BlockCidr)>,
}

impl Intent {
    /// Writes a block that addresses were taken from.
    pub fn place(
        &mut self,
        batch: &mut Batch,
        mut block: Block,
        expect: Expect,
        addresses: Vec<IpAddr>,
    ) {
        let (cidr, sequence) = (block.cidr, block.sequence_number);
        let claim =
            self.claims.iter().find(|claim| claim.block == cidr).map(|claim| &batch.writes[claim.written]);
        let creation =
            claim.filter(|write| write.expect == Expect::Absent).and_then(|write| match &write.op {
                Op::Put(value) => Some(value.clone()),
                Op::Delete => None,
            });
        block::bump(&mut block);
        let index = batch.put(Key::Block(cidr), expect, Value::Block(block));
        self.places.push((index, Placed { block: cidr, addresses, sequence, creation }));
    }

    /// Writes a fence; tells the index of the write.
    pub fn fence(&mut self, batch: &mut Batch, stored: &Block, expect: Expect) -> usize {
        let index = attempts::fence(batch, stored, expect);
        self.fences.push((index, stored.cidr));
        index
    }

    /// Writes after which no earlier write of the block can be applied any more.
    fn fencing(&self) -> impl Iterator<Item = (usize, BlockCidr)> {
        let places = self.places.iter().map(|(index, placed)| (*index, placed.block));
        let claims = self.claims.iter().map(|claim| (claim.written, claim.block));
        places.chain(claims).chain(self.fences.iter().copied())
    }
}

/// The request's memory over its attempts.
#[derive(Clone, Debug)]
pub struct Progress {
    owner: Owner,
    attribute: Arc<Attribute>,
    handle: Option<HandleId>,
    /// Addresses that are known to have been taken.
    placed: Vec<Placed>,
    /// Writes that take addresses.
    places: Writes<Placed>,
    /// What the handle counts too much.
    tally: Tally,
    /// Blocks that earlier attempts made, or may have made, the owner's.
    claimed: BTreeSet<BlockCidr>,
    /// Those of which the affinity was not confirmed then, or perhaps not. Between the writes of a claim somebody who had looked before the block was there may
    /// have dropped the affinity as stale: nobody but this request knows of the block then, and it must not end before that is healed.
    unconfirmed: BTreeSet<BlockCidr>,
    intent: Intent,
}

/// A `DEL` came between the attempts and took back what they had written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the handle was released while its addresses were being assigned")]
pub struct Overtaken;

impl Progress {
    /// Nothing done yet, for a request of that identity which claims blocks for `owner`.
    pub fn new(owner: Owner, attribute: Arc<Attribute>, handle: Option<HandleId>) -> Progress {
        Progress {
            owner,
            attribute,
            handle,
            placed: Vec::new(),
            places: Writes::default(),
            tally: Tally::default(),
            claimed: BTreeSet::new(),
            unconfirmed: BTreeSet::new(),
            intent: Intent::default(),
        }
    }

    /// The request's identity: its handle and owner attributes, fixed on arrival.
    pub fn attribute(&self) -> &Arc<Attribute> {
        &self.attribute
    }

    /// What must be read at the start of an attempt: the handle and affinities. The blocks are read after them ([`Progress::missing`]).
    pub fn reads(&self) -> ReadSet {
        let created = self.places.in_doubt().iter().filter(|placed| placed.creation.is_some());
        let claims: BTreeSet<_> =
            created.map(|placed| placed.block).chain(self.unconfirmed.iter().copied()).collect();
        let affinities = claims.into_iter().map(|block| self.affinity_key(block));
        ReadSet::new().keys(affinities).keys(self.handle.clone().map(Key::Handle))
    }

    /// What else must be known in full before anything is concluded from what earlier attempts did: also what a list of keys or headers that was read later has
    /// shown to have changed.
    pub fn missing(&self, view: &View) -> ReadSet {
        if !self.owes() {
            return ReadSet::new();
        }
        let first = self.reads().keys.into_iter().map(|(key, _)| key);
        view.missing(first.chain(self.blocks().into_iter().map(Key::Block)))
    }

    /// Whether an earlier attempt wrote a record, or may have: the request cannot end without knowing it.
    pub fn rests_on(&self, key: &Key) -> bool {
        self.owes()
            && match key {
                Key::Block(block) => self.blocks().contains(block),
                key => self.reads().keys.iter().any(|(own, _)| own == key),
            }
    }

    fn blocks(&self) -> BTreeSet<BlockCidr> {
        let placed = self.placed.iter().chain(self.places.in_doubt()).map(|placed| placed.block);
        placed.chain(self.claimed()).chain(self.tally.blocks()).collect()
    }

    /// Settles what was in doubt. Needs what is [`missing`](Progress::missing).
    ///
    /// # Errors
    /// When something known to have been written is gone.
    pub fn settle(&mut self, view: &View) -> Result<(), Overtaken> {
        if !self.owes() {
            return Ok(());
        }
        self.settle_claims(view);
        for placed in self.places.take_in_doubt() {
            if holds(view, &placed, &self.attribute) {
                self.tally.got(placed.block, placed.addresses.len() as u32);
                self.placed.push(placed);
            } else {
                self.places.doubt(placed);
            }
        }
        let is_counted_out = match self.handle.as_ref().and_then(|id| view.handle(id)) {
            Some(found) => {
                let found = found.filter(|(handle, _)| !handle.deleted);
                self.tally.settle(found.map(|(_, revision)| revision))
            }
            None => false,
        };
        let is_overtaken = !self.placed.iter().all(|placed| holds(view, placed, &self.attribute));
        if is_counted_out || is_overtaken { Err(Overtaken) } else { Ok(()) }
    }

    /// The addresses of a family that earlier attempts are known to have got.
    pub fn got(&self, family: Family) -> impl Iterator<Item = (IpAddr, BlockCidr)> {
        let placed = self.placed.iter().filter(move |placed| placed.block.family() == family);
        placed.flat_map(|placed| placed.addresses.iter().map(|addr| (*addr, placed.block)))
    }

    /// How many addresses of a family a handle holds, or others are about to take for it.
    pub fn held(&self, view: &View, id: &HandleId, handle: &Handle, family: Family) -> u32 {
        let counts = handle.blocks.iter().filter(|(block, _)| block.family() == family);
        // Where a block had to be read to know, it has been; an unreadable one counts in full.
        let held = counts.map(|(block, n)| self.tally.held(view, id, *block, *n).unwrap_or(*n));
        held.fold(0, u32::saturating_add)
    }

    /// Whether a block must be rewritten before the handle is written, so that its count can be set right.
    pub fn must_fence(&self, block: BlockCidr) -> bool {
        self.tally.is_unsure(block)
    }

    /// Notes what the batch that is about to be committed means.
    pub fn intend(&mut self, mut intent: Intent) {
        intent.fences = intent.fencing().collect();
        self.places.plan(std::mem::take(&mut intent.places));
        self.intent = intent;
    }

    /// Learns what came of it.
    pub fn observe(&mut self, report: &Report) {
        let intent = std::mem::take(&mut self.intent);
        let applied = |index: usize| matches!(report.outcomes.get(index), Some(Outcome::Applied(_)));
        let unknown = |index: usize| matches!(report.outcomes.get(index), Some(Outcome::Unknown(_)));
        for (_, block) in intent.returns.iter().filter(|(index, _)| applied(*index)) {
            self.placed.retain(|placed| placed.block != *block);
        }
        for claim in intent.claims.iter().filter(|claim| applied(claim.written) || unknown(claim.written)) {
            self.claimed.insert(claim.block);
            match applied(claim.confirmed) {
                true => self.unconfirmed.remove(&claim.block),
                false => self.unconfirmed.insert(claim.block),
            };
        }
        self.tally.observe(report);
        self.places.forget(|placed| {
            intent.fences.iter().any(|(index, block)| applied(*index) && *block == placed.block)
        });
        for placed in self.places.observe(report) {
            self.tally.got(placed.block, placed.addresses.len() as u32);
            self.placed.push(placed);
        }
    }

    /// Whether anything would have to be taken back.
    pub fn owes(&self) -> bool {
        !self.placed.is_empty()
            || !self.places.in_doubt().is_empty()
            || !self.unconfirmed.is_empty()
            || self.tally.owes()
    }

    /// Adds writes that keep what is in doubt from being applied later, and those that must stand before a count can be set right; but for blocks that the batch
    /// writes anyway.
    pub fn fence(
        &self,
        batch: &mut Batch,
        view: &View,
        is_written: impl Fn(BlockCidr) -> bool,
        intent: &mut Intent,
    ) {
        let in_doubt = self.places.in_doubt().iter().map(|placed| placed.block);
        let unsure = self.handle.iter().flat_map(|id| self.tally.to_fence(view, id));
        for cidr in in_doubt.chain(unsure).collect::<BTreeSet<_>>() {
            if is_written(cidr) || intent.fencing().any(|(_, fenced)| fenced == cidr) {
                continue;
            }
            match view.block(cidr) {
                Some(Some((stored, revision))) => {
                    intent.fence(batch, stored, Expect::at(revision));
                }
                Some(None) => self.claim_in_doubt(batch, view, cidr, intent),
                None => {}
            }
        }
    }

    /// A block whose creation is in doubt is created, empty: only what exists can be compared with. It stays, as the owner's.
    fn claim_in_doubt(&self, batch: &mut Batch, view: &View, cidr: BlockCidr, intent: &mut Intent) {
        let mut created = self.places.in_doubt().iter().filter(|placed| placed.block == cidr);
        if let Some(Value::Block(block)) = created.find_map(|placed| placed.creation.as_deref()) {
            let found = view.affinity(&self.owner, cidr).flatten();
            intent.claims.push(affinity::claim(batch, &self.owner, found, block.clone()));
        }
    }

    /// Writes the handle, for what the batch is about to take (`by`) and without what is counted too much. To be written after the fences and before the blocks
    /// that addresses are taken from; `left` are blocks that the batch has written with other contents than the view knows, and what they hold then.
    pub fn count(
        &mut self,
        handle: &mut handle::Draft,
        batch: &mut Batch,
        view: &View,
        by: Counts,
        left: &BTreeMap<BlockCidr, u32>,
    ) {
        let Some(id) = &self.handle else { return };
        let written: BTreeSet<BlockCidr> = match self.tally.owes() {
            true => batch.writes.iter().filter_map(|write| block_of(&write.key)).collect(),
            false => BTreeSet::new(),
        };
        let held = |block: BlockCidr, counted: u32| match (left.get(&block), view.block(block)?) {
            (Some(left), _) => Some(*left),
            (None, Some((stored, _))) => {
                let held = block::may_hold(stored, id.as_str());
                (written.contains(&block) || held == counted).then_some(held)
            }
            (None, None) => Some(0),
        };
        self.tally.write(batch, handle, by, held);
    }
}

fn block_of(key: &Key) -> Option<BlockCidr> {
    match key {
        Key::Block(block) => Some(*block),
        _ => None,
    }
}

/// Whether a block holds exactly what was placed: the request's attribute, taken with that sequence number.
fn holds(view: &View, placed: &Placed, attribute: &Arc<Attribute>) -> bool {
    let Some(Some((block, _))) = view.block(placed.block) else { return false };
    placed.addresses.iter().all(|addr| {
        block.cidr.ordinal(*addr).is_some_and(|ordinal| {
            block.attribute(ordinal) == Some(attribute) && block.sequence_of(ordinal) == placed.sequence
        })
    })
}
