//! What the attempts of one request have done so far, so that no retry takes an address twice or forgets one.

mod claims;
mod give_up;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use api::{Attribute, Block, BlockCidr, Family, Handle, HandleId, Key, Owner, Value};
use store::{Batch, Expect, Outcome, ReadSet, Report, View};

use crate::affinity::Claimed;
use crate::block;
use crate::handle::{self, Counts, Fate, Written};
use crate::pools;

/// Addresses that an attempt wrote into a block.
#[derive(Clone, Debug, PartialEq)]
struct Placed {
    block: BlockCidr,
    addresses: Vec<IpAddr>,
    /// The sequence number that they were taken with.
    sequence: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// They are in the block.
    Certain,
    /// The write that places them may or may not have been applied, or may yet be, until somebody writes the block.
    InDoubt,
    /// They were in the block, and a write that takes them back is in doubt.
    Returning,
}

/// What one batch means to do; the indexes are those of its writes.
#[derive(Clone, Debug, Default)]
pub struct Intent {
    /// Each write of a block that takes addresses, with them and the sequence number.
    places: Vec<(usize, BlockCidr, Vec<IpAddr>, u64)>,
    /// Writes that rewrite a block as it is, so that an earlier write in doubt can no longer be applied.
    fences: Vec<(usize, BlockCidr)>,
    /// What makes blocks the owner's.
    pub claims: Vec<Claimed>,
    /// Writes after which none of the request's addresses are in a block, and how many the handle is then to be lowered by.
    returns: Vec<(usize, BlockCidr, u32)>,
    /// The writes of the handle in their order, each with what is then raised and not (yet) followed by the write of the block, the batch's own
    /// blocks included.
    handle: Vec<(usize, Counts)>,
    written: Option<Written>,
}

impl Intent {
    /// Writes a block that addresses were taken from, and guards its pool.
    pub fn place(
        &mut self,
        batch: &mut Batch,
        view: &View,
        mut block: Block,
        expect: Expect,
        addresses: Vec<IpAddr>,
    ) {
        let (cidr, sequence) = (block.cidr, block.sequence_number);
        pools::guard(batch, view, cidr);
        block::bump(&mut block);
        let index = batch.put(Key::Block(cidr), expect, Value::Block(block));
        self.places.push((index, cidr, addresses, sequence));
    }

    /// Writes after which no earlier write of the block can be applied any more.
    fn fencing(&self) -> impl Iterator<Item = (usize, BlockCidr)> {
        let places = self.places.iter().map(|(index, block, ..)| (*index, *block));
        places.chain(self.fences.iter().copied())
    }
}

/// The request's memory over its attempts.
#[derive(Clone, Debug)]
pub struct Progress {
    owner: Owner,
    attribute: Arc<Attribute>,
    handle: Option<HandleId>,
    placed: Vec<Placed>,
    /// Raised in the handle, and not (yet) followed by the write of the block.
    leftover: Counts,
    /// Writes of the handle whose outcome is unknown, with what is left over after each.
    handle_in_doubt: Option<(Written, Vec<(usize, Counts)>)>,
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
            leftover: Counts::new(),
            handle_in_doubt: None,
            claimed: BTreeSet::new(),
            unconfirmed: BTreeSet::new(),
            intent: Intent::default(),
        }
    }

    /// The request's identity: its handle and owner attributes, fixed on arrival.
    pub fn attribute(&self) -> &Arc<Attribute> {
        &self.attribute
    }

    /// What must be read before anything is concluded from what earlier attempts did.
    pub fn reads(&self) -> ReadSet {
        let blocks = self.placed.iter().map(|p| p.block).chain(self.claimed()).map(Key::Block);
        let affinities = self.unconfirmed.iter().map(|block| self.affinity_key(*block));
        ReadSet::new().keys(blocks).keys(affinities).keys(self.handle.clone().map(Key::Handle))
    }

    /// Settles what was in doubt.
    ///
    /// # Errors
    /// When something known to have been written is gone.
    pub fn settle(&mut self, view: &View) -> Result<(), Overtaken> {
        if !self.owes() {
            return Ok(());
        }
        self.settle_claims(view);
        let mut is_overtaken = false;
        let is_clear = self.settle_handle(view);
        for placed in std::mem::take(&mut self.placed) {
            let ours = holds(view, &placed, &self.attribute);
            let count = placed.addresses.len() as u32;
            match (placed.state, ours) {
                (State::InDoubt, true) => {
                    lessen(&mut self.leftover, placed.block, count);
                    self.placed.push(Placed { state: State::Certain, ..placed });
                }
                (state, ours) => {
                    is_overtaken |= state == State::Certain && !ours;
                    self.placed.push(placed);
                }
            }
        }
        if let Some(handle) = self.handle.as_ref().and_then(|id| view.handle(id)) {
            let names =
                |block: &BlockCidr| handle.is_some_and(|(handle, _)| handle.blocks.contains_key(block));
            let certain = self.placed.iter().filter(|p| p.state == State::Certain).map(|p| &p.block);
            let leftover = self.leftover.iter().filter(|(_, n)| **n > 0).map(|(block, _)| block);
            is_overtaken |= is_clear && !certain.chain(leftover).all(names);
        }
        if is_overtaken { Err(Overtaken) } else { Ok(()) }
    }

    /// Finds out about writes of the handle in doubt; whether nothing about them is unclear. (Where it is, a count may stay too high.)
    fn settle_handle(&mut self, view: &View) -> bool {
        let Some((written, leftovers)) = &mut self.handle_in_doubt else { return true };
        let Some(found) = self.handle.as_ref().and_then(|id| view.handle(id)) else { return true };
        let fate = written.settle(found);
        if let Fate::Applied(index) = fate
            && let Some((_, leftover)) = leftovers.iter().find(|(at, _)| *at == index)
        {
            self.leftover = leftover.clone();
        }
        if written.is_settled() {
            self.handle_in_doubt = None;
        }
        fate != Fate::Unclear
    }

    /// The addresses of a family that earlier attempts are known to have got.
    pub fn got(&self, family: Family) -> impl Iterator<Item = (IpAddr, BlockCidr)> {
        self.placed
            .iter()
            .filter(move |p| p.state == State::Certain && p.block.family() == family)
            .flat_map(|p| p.addresses.iter().map(|addr| (*addr, p.block)))
    }

    /// Blocks whose last write is in doubt: the next batch must write each of them.
    fn in_doubt(&self) -> impl Iterator<Item = BlockCidr> {
        self.placed.iter().filter(|p| p.state != State::Certain).map(|p| p.block)
    }

    /// How many addresses of a family a handle held before this request raised it for nothing.
    pub fn held_before(&self, handle: &Handle, family: Family) -> u32 {
        let counts = handle.blocks.iter().filter(|(block, _)| block.family() == family);
        let others = |(block, n): (&BlockCidr, &u32)| {
            n.saturating_sub(self.leftover.get(block).copied().unwrap_or_default())
        };
        counts.map(others).fold(0, u32::saturating_add)
    }

    /// Notes what the batch that is about to be committed means.
    pub fn intend(&mut self, mut intent: Intent, batch: &Batch) {
        intent.written = self.handle.as_ref().map(|id| Written::of(batch, id));
        self.intent = intent;
    }

    /// Learns what came of it.
    pub fn observe(&mut self, report: &Report) {
        let intent = std::mem::take(&mut self.intent);
        let applied = |index: &usize| matches!(report.outcomes.get(*index), Some(Outcome::Applied(_)));
        let unknown = |index: &usize| matches!(report.outcomes.get(*index), Some(Outcome::Unknown(_)));
        self.observe_returns(&intent, applied, unknown);
        self.placed.retain(|p| {
            p.state == State::Certain
                || !intent.fencing().any(|(index, block)| applied(&index) && block == p.block)
        });
        for claim in intent.claims.iter().filter(|claim| applied(&claim.written) || unknown(&claim.written)) {
            self.claimed.insert(claim.block);
            match applied(&claim.confirmed) {
                true => self.unconfirmed.remove(&claim.block),
                false => self.unconfirmed.insert(claim.block),
            };
        }
        let mut leftovers = intent.handle;
        if let Some(last) = intent.written.as_ref().and_then(|written| written.applied(report)) {
            // Whatever was in doubt before, it was not applied and never will be.
            self.handle_in_doubt = None;
            if let Some((_, leftover)) = leftovers.iter().find(|(index, _)| *index == last) {
                self.leftover = leftover.clone();
            }
        }
        for (index, block, addresses, sequence) in intent.places {
            if applied(&index) {
                let count = addresses.len() as u32;
                lessen(&mut self.leftover, block, count);
                leftovers.iter_mut().for_each(|(_, leftover)| lessen(leftover, block, count));
                self.placed.push(Placed { block, addresses, sequence, state: State::Certain });
            } else if unknown(&index) {
                self.placed.push(Placed { block, addresses, sequence, state: State::InDoubt });
            }
        }
        if let Some(written) = intent.written.and_then(|written| written.in_doubt(report)) {
            self.handle_in_doubt = Some((written, leftovers));
        }
    }

    fn observe_returns(
        &mut self,
        intent: &Intent,
        applied: impl Fn(&usize) -> bool,
        unknown: impl Fn(&usize) -> bool,
    ) {
        for (index, block, count) in &intent.returns {
            if applied(index) {
                self.placed.retain(|placed| placed.block != *block);
                add(&mut self.leftover, *block, *count);
            } else if unknown(index) {
                let mine = self.placed.iter_mut().filter(|p| p.block == *block && p.state == State::Certain);
                mine.for_each(|placed| placed.state = State::Returning);
            }
        }
    }

    /// Whether anything would have to be taken back.
    pub fn owes(&self) -> bool {
        !self.placed.is_empty()
            || !self.unconfirmed.is_empty()
            || self.leftover.values().any(|n| *n > 0)
            || self.handle_in_doubt.is_some()
    }

    /// Adds writes that keep what is in doubt from being applied later, but for blocks that the batch writes anyway.
    pub fn fence(
        &self,
        batch: &mut Batch,
        view: &View,
        written: impl Fn(BlockCidr) -> bool,
        intent: &mut Intent,
    ) {
        for cidr in self.in_doubt().filter(|cidr| !written(*cidr)) {
            if let Some(Some((block, revision))) = view.block(cidr)
                && !intent.fencing().any(|(_, fenced)| fenced == cidr)
            {
                let mut fenced = block.clone();
                block::bump(&mut fenced);
                let index = batch.put(Key::Block(cidr), handle::at(revision), Value::Block(fenced));
                intent.fences.push((index, cidr));
            }
        }
    }

    /// Raises the handle for what the batch is about to take.
    pub fn raise(&self, handle: &mut handle::Draft, batch: &mut Batch, by: Counts, intent: &mut Intent) {
        let index = handle.raise(batch, &by);
        let mut leftover = by;
        self.leftover.iter().for_each(|(block, n)| add(&mut leftover, *block, *n));
        intent.handle.push((index, leftover));
    }

    /// Takes back what earlier attempts raised for nothing; what the same batch has raised is left. To be written after the blocks.
    pub fn take_back(&self, handle: &mut handle::Draft, batch: &mut Batch, intent: &mut Intent) {
        if let Some(index) = handle.lower(batch, &self.leftover) {
            let mut raised = intent.handle.last().map(|(_, all)| all.clone()).unwrap_or_default();
            self.leftover.iter().for_each(|(block, n)| lessen(&mut raised, *block, *n));
            intent.handle.push((index, raised));
        }
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

fn add(counts: &mut Counts, block: BlockCidr, by: u32) {
    let count = counts.entry(block).or_default();
    *count = count.saturating_add(by);
}

fn lessen(counts: &mut Counts, block: BlockCidr, by: u32) {
    if let Some(count) = counts.get_mut(&block) {
        *count = count.saturating_sub(by);
    }
}
