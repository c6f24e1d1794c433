//! What the attempts of one request have done so far, so that no retry takes an address twice or forgets one.

use std::net::IpAddr;
use std::sync::Arc;

use api::{Attribute, BlockCidr, Family, Handle, HandleId, Key, Revision, Timestamp, Value};
use store::{Batch, Op, Outcome, ReadSet, Report, View};

use crate::block::{self, ReleaseIp};
use crate::handle::{self, Counts};

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
    pub places: Vec<(usize, BlockCidr, Vec<IpAddr>, u64)>,
    /// Blocks that the batch writes, so that an earlier write in doubt can no longer be applied.
    pub fences: Vec<(usize, BlockCidr)>,
    /// Blocks that the request's addresses are taken out of again.
    returns: Vec<(usize, BlockCidr)>,
    /// The writes of the handle in their order, each with what is then raised and not (yet) followed by the write of the block, the batch's own
    /// blocks included.
    handle: Vec<(usize, Counts)>,
    /// What those store, and the revision of the handle before; for finding out later whether they were applied.
    stored: Vec<Option<Arc<Value>>>,
    before: Option<Revision>,
}

/// Writes of the handle whose outcome is unknown.
#[derive(Clone, Debug)]
struct HandleInDoubt {
    before: Option<Revision>,
    /// What each would have stored, and what is then left over.
    writes: Vec<(Option<Arc<Value>>, Counts)>,
}

/// The request's memory over its attempts.
#[derive(Clone, Debug)]
pub struct Progress {
    attribute: Arc<Attribute>,
    handle: Option<HandleId>,
    placed: Vec<Placed>,
    /// Raised in the handle, and not (yet) followed by the write of the block.
    leftover: Counts,
    handle_in_doubt: Option<HandleInDoubt>,
    intent: Intent,
}

/// A `DEL` came between the attempts and took back what they had written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the handle was released while its addresses were being assigned")]
pub struct Overtaken;

impl Progress {
    /// Nothing done yet, for a request of that identity.
    pub fn new(attribute: Arc<Attribute>, handle: Option<HandleId>) -> Progress {
        Progress {
            attribute,
            handle,
            placed: Vec::new(),
            leftover: Counts::new(),
            handle_in_doubt: None,
            intent: Intent::default(),
        }
    }

    /// The request's identity: its handle and owner attributes, fixed on arrival.
    pub fn attribute(&self) -> &Arc<Attribute> {
        &self.attribute
    }

    /// What must be read before anything is concluded from what earlier attempts did.
    pub fn reads(&self) -> ReadSet {
        let blocks = self.placed.iter().map(|p| Key::Block(p.block));
        ReadSet::new().keys(blocks).keys(self.handle.clone().map(Key::Handle))
    }

    /// Settles what was in doubt.
    ///
    /// # Errors
    /// When something known to have been written is gone.
    pub fn settle(&mut self, view: &View) -> Result<(), Overtaken> {
        let mut is_overtaken = false;
        let was_in_doubt = self.handle_in_doubt.is_some();
        self.settle_handle(view);
        for placed in std::mem::take(&mut self.placed) {
            let ours = holds(view, &placed, &self.attribute);
            let count = placed.addresses.len() as u32;
            match (placed.state, ours) {
                (State::Certain, false) => is_overtaken = true,
                (State::InDoubt, true) => {
                    lessen(&mut self.leftover, placed.block, count);
                    self.placed.push(Placed { state: State::Certain, ..placed });
                }
                (State::Returning, false) => add(&mut self.leftover, placed.block, count),
                _ => self.placed.push(placed),
            }
        }
        if let Some(handle) = self.handle.as_ref().and_then(|id| view.handle(id)) {
            let names =
                |block: &BlockCidr| handle.is_some_and(|(handle, _)| handle.blocks.contains_key(block));
            let certain = self.placed.iter().filter(|p| p.state == State::Certain).map(|p| &p.block);
            let leftover = self.leftover.iter().filter(|(_, n)| **n > 0).map(|(block, _)| block);
            is_overtaken |= !was_in_doubt && !certain.chain(leftover).all(names);
        }
        if is_overtaken { Err(Overtaken) } else { Ok(()) }
    }

    /// A write of the handle was applied if it stands there as that write left it. (Should somebody have written the handle since, that cannot be told;
    /// its count then stays too high.)
    fn settle_handle(&mut self, view: &View) {
        let Some(doubt) = self.handle_in_doubt.take() else { return };
        let Some(found) = self.handle.as_ref().and_then(|id| view.handle(id)) else { return };
        if found.map(|(_, revision)| revision) == doubt.before.as_ref() {
            return;
        }
        let stands = |stored: &Option<Arc<Value>>| match (stored.as_deref(), found) {
            (Some(Value::Handle(stored)), Some((handle, _))) => stored == handle,
            (None, None) => true,
            _ => false,
        };
        if let Some((_, leftover)) = doubt.writes.into_iter().rev().find(|(stored, _)| stands(stored)) {
            self.leftover = leftover;
        }
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
    pub fn intend(&mut self, mut intent: Intent, batch: &Batch, view: &View) {
        intent.before = self.handle.as_ref().and_then(|id| view.handle(id)).flatten().map(|(_, r)| r.clone());
        intent.stored = intent
            .handle
            .iter()
            .map(|(index, _)| match &batch.writes[*index].op {
                Op::Put(value) => Some(value.clone()),
                Op::Delete => None,
            })
            .collect();
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
                || !intent.fences.iter().any(|(i, block)| applied(i) && *block == p.block)
        });
        if let Some((_, leftover)) = intent.handle.iter().rev().find(|(index, _)| applied(index)) {
            self.leftover = leftover.clone();
        }
        let mut doubtful: Vec<_> = intent.handle.iter().zip(intent.stored).collect();
        doubtful.retain(|((index, _), _)| unknown(index));
        let mut writes: Vec<_> =
            doubtful.into_iter().map(|((_, leftover), stored)| (stored, leftover.clone())).collect();
        for (index, block, addresses, sequence) in intent.places {
            if applied(&index) {
                let count = addresses.len() as u32;
                lessen(&mut self.leftover, block, count);
                writes.iter_mut().for_each(|(_, leftover)| lessen(leftover, block, count));
                self.placed.push(Placed { block, addresses, sequence, state: State::Certain });
            } else if unknown(&index) {
                self.placed.push(Placed { block, addresses, sequence, state: State::InDoubt });
            }
        }
        if !writes.is_empty() {
            // Where an earlier write of the batch was applied, its revision is not known; any other than this one tells as much.
            self.handle_in_doubt = Some(HandleInDoubt { before: intent.before, writes });
        }
    }

    fn observe_returns(
        &mut self,
        intent: &Intent,
        applied: impl Fn(&usize) -> bool,
        unknown: impl Fn(&usize) -> bool,
    ) {
        for (index, block) in &intent.returns {
            let (applied, unknown) = (applied(index), unknown(index));
            for mut placed in std::mem::take(&mut self.placed) {
                if placed.block != *block || !(applied || unknown) {
                    self.placed.push(placed);
                } else if unknown {
                    if placed.state == State::Certain {
                        placed.state = State::Returning;
                    }
                    self.placed.push(placed);
                } else if placed.state == State::Certain {
                    add(&mut self.leftover, *block, placed.addresses.len() as u32);
                }
            }
        }
    }

    /// Whether anything would have to be taken back.
    pub fn owes(&self) -> bool {
        !self.placed.is_empty() || self.leftover.values().any(|n| *n > 0) || self.handle_in_doubt.is_some()
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
                && !intent.fences.iter().any(|(_, fenced)| *fenced == cidr)
            {
                let mut fenced = block.clone();
                block::bump(&mut fenced);
                let index = batch.put(Key::Block(cidr), handle::at(revision), Value::Block(fenced));
                intent.fences.push((index, cidr));
            }
        }
    }

    /// Raises the handle for what the batch is about to take.
    pub fn raise(&self, handle: &mut handle::Draft, batch: &mut Batch, by: &Counts, intent: &mut Intent) {
        let mut leftover = self.leftover.clone();
        by.iter().for_each(|(block, n)| add(&mut leftover, *block, *n));
        intent.handle.push((handle.raise(batch, by), leftover));
    }

    /// Takes back what earlier attempts raised for nothing; `raised` is what the same batch has raised. To be written after the blocks.
    pub fn take_back(
        &self,
        handle: &mut handle::Draft,
        batch: &mut Batch,
        raised: &Counts,
        intent: &mut Intent,
    ) {
        if let Some(index) = handle.lower(batch, &self.leftover) {
            intent.handle.push((index, raised.clone()));
        }
    }

    /// A batch that takes everything back; empty when nothing is left.
    pub fn take_all_back(&mut self, view: &View, now: Timestamp) -> Batch {
        // Overtaken or not: what is gone needs no taking back.
        let _ = self.settle(view);
        let mut batch = Batch::new();
        let mut intent = Intent::default();
        let mut lower: Counts = self.leftover.clone();
        let mut blocks: Vec<BlockCidr> = self.placed.iter().map(|p| p.block).collect();
        blocks.sort_unstable();
        blocks.dedup();
        for cidr in blocks {
            let Some(Some((stored, revision))) = view.block(cidr) else { continue };
            let mut changed = stored.clone();
            let held = self.placed.iter().filter(|p| p.block == cidr && holds(view, p, &self.attribute));
            let ours: Vec<ReleaseIp> = held
                .flat_map(|p| p.addresses.iter())
                .map(|addr| ReleaseIp { addr: *addr, handle: None, sequence: None })
                .collect();
            // Without cooldown: nobody has used the addresses. A block with nothing of ours is rewritten as a fence.
            if block::release(&mut changed, &ours, now, 0).is_ok() {
                block::bump(&mut changed);
                let index = batch.put(Key::Block(cidr), handle::at(revision), Value::Block(changed));
                intent.returns.push((index, cidr));
                intent.fences.push((index, cidr));
                add(&mut lower, cidr, ours.len() as u32);
            }
        }
        // What is in doubt and in no block any more can never be applied.
        self.placed.retain(|p| view.block(p.block) != Some(None));
        if let Some(mut draft) = self.handle.as_ref().and_then(|id| handle::Draft::of(view, id)) {
            match draft.lower(&mut batch, &lower) {
                Some(index) => intent.handle.push((index, Counts::new())),
                None => self.leftover.clear(),
            }
        }
        self.intend(intent, &batch, view);
        batch
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
