//! What the attempts of one request have done so far, so that no retry takes an address twice or forgets one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::{Attribute, BlockCidr, Family, HandleId, Key, Timestamp, Value};
use store::{Batch, Outcome, ReadSet, Report, View};

use crate::block::{self, ReleaseIp};
use crate::handle::{self, Counts};

/// Addresses that an attempt wrote into a block.
#[derive(Clone, Debug, PartialEq)]
struct Placed {
    block: BlockCidr,
    addresses: Vec<IpAddr>,
    /// The sequence number that they were taken with.
    sequence: u64,
    /// Whether the write is known to have been applied. If not, it may yet be, until the block is written by somebody else.
    certain: bool,
}

/// What one batch means to do; the indexes are those of its writes.
#[derive(Clone, Debug, Default)]
pub struct Intent {
    /// The write that raises the handle, and by how much.
    pub raise: Option<(usize, Counts)>,
    /// The write that takes back what earlier attempts raised for nothing.
    pub take_back: Option<usize>,
    /// Each write of a block that takes addresses, with them and the sequence number.
    pub places: Vec<(usize, BlockCidr, Vec<IpAddr>, u64)>,
    /// Blocks that the batch writes, so that an earlier write in doubt can no longer be applied.
    pub fences: Vec<(usize, BlockCidr)>,
}

/// The request's memory over its attempts.
#[derive(Clone, Debug)]
pub struct Progress {
    attribute: Arc<Attribute>,
    handle: Option<HandleId>,
    placed: Vec<Placed>,
    /// Raised in the handle, and not (yet) followed by the write of the block.
    leftover: Counts,
    intent: Intent,
}

/// A `DEL` came between the attempts and took back what they had written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the handle was released while its addresses were being assigned")]
pub struct Overtaken;

impl Progress {
    /// Nothing done yet, for a request of that identity.
    pub fn new(attribute: Arc<Attribute>, handle: Option<HandleId>) -> Progress {
        Progress { attribute, handle, placed: Vec::new(), leftover: Counts::new(), intent: Intent::default() }
    }

    /// The request's identity: its handle and owner attributes, fixed on arrival.
    pub fn attribute(&self) -> &Arc<Attribute> {
        &self.attribute
    }

    /// Blocks that must be read before anything is concluded.
    pub fn unread(&self, view: &View) -> Vec<Key> {
        self.placed.iter().filter(|p| view.block(p.block).is_none()).map(|p| Key::Block(p.block)).collect()
    }

    /// What earlier attempts got, of a family, with the prefix of the block. Settles what was in doubt and has turned out applied.
    ///
    /// # Errors
    /// When something known to have been written is gone.
    pub fn settle(&mut self, view: &View) -> Result<(), Overtaken> {
        for placed in &mut self.placed {
            let ours = holds(view, placed, &self.attribute);
            if ours && !placed.certain {
                placed.certain = true;
                lessen(&mut self.leftover, placed.block, placed.addresses.len() as u32);
            } else if !ours && placed.certain {
                return Err(Overtaken);
            }
            if let (true, Some(id)) = (placed.certain, &self.handle)
                && let Some(handle) = view.handle(id)
                && !handle.is_some_and(|(handle, _)| handle.blocks.contains_key(&placed.block))
            {
                return Err(Overtaken);
            }
        }
        Ok(())
    }

    /// The addresses of a family that earlier attempts are known to have got.
    pub fn got(&self, family: Family) -> impl Iterator<Item = (IpAddr, BlockCidr)> {
        self.placed
            .iter()
            .filter(move |p| p.certain && p.block.family() == family)
            .flat_map(|p| p.addresses.iter().map(|addr| (*addr, p.block)))
    }

    /// Existing blocks whose last write is in doubt: the next batch must write each of them.
    pub fn in_doubt(&self) -> impl Iterator<Item = BlockCidr> {
        self.placed.iter().filter(|p| !p.certain).map(|p| p.block)
    }

    /// What earlier attempts raised for nothing.
    pub fn leftover(&self) -> &Counts {
        &self.leftover
    }

    /// Notes what the batch that is about to be committed means.
    pub fn intend(&mut self, intent: Intent) {
        self.intent = intent;
    }

    /// Learns what came of it.
    pub fn observe(&mut self, report: &Report) {
        let intent = std::mem::take(&mut self.intent);
        let applied = |index: &usize| matches!(report.outcomes.get(*index), Some(Outcome::Applied(_)));
        let unknown = |index: &usize| matches!(report.outcomes.get(*index), Some(Outcome::Unknown(_)));
        if let Some((index, counts)) = &intent.raise
            && applied(index)
        {
            for (block, n) in counts {
                *self.leftover.entry(*block).or_default() += n;
            }
        }
        if intent.take_back.as_ref().is_some_and(applied) {
            self.leftover.clear();
        }
        self.placed.retain(|p| p.certain || !intent.fences.iter().any(|(i, b)| applied(i) && *b == p.block));
        for (index, block, addresses, sequence) in intent.places {
            let certain = applied(&index);
            if certain {
                lessen(&mut self.leftover, block, addresses.len() as u32);
            }
            if certain || unknown(&index) {
                self.placed.push(Placed { block, addresses, sequence, certain });
            }
        }
    }

    /// Whether anything would have to be taken back.
    pub fn owes(&self) -> bool {
        !self.placed.is_empty() || self.leftover.values().any(|n| *n > 0)
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
            if let Some(Some((block, revision))) = view.block(cidr) {
                let mut fenced = block.clone();
                block::bump(&mut fenced);
                let index = batch.put(Key::Block(cidr), handle::at(revision), Value::Block(fenced));
                intent.fences.push((index, cidr));
            }
        }
    }

    /// What to read to take everything back.
    pub fn reads(&self) -> ReadSet {
        let blocks = self.placed.iter().map(|p| Key::Block(p.block));
        ReadSet::new().keys(blocks).keys(self.handle.clone().map(Key::Handle))
    }

    /// A batch that takes everything back; empty when nothing is left.
    pub fn take_all_back(&self, view: &View, now: Timestamp) -> Batch {
        let mut batch = Batch::new();
        let mut lower: Counts = self.leftover.clone();
        let mut by_block: BTreeMap<BlockCidr, Vec<&Placed>> = BTreeMap::new();
        for placed in &self.placed {
            by_block.entry(placed.block).or_default().push(placed);
        }
        for (cidr, placed) in by_block {
            let Some(Some((stored, revision))) = view.block(cidr) else { continue };
            let mut changed = stored.clone();
            let ours: Vec<ReleaseIp> = placed
                .iter()
                .filter(|p| holds(view, p, &self.attribute))
                .flat_map(|p| p.addresses.iter())
                .map(|addr| ReleaseIp { addr: *addr, handle: None, sequence: None })
                .collect();
            // Without cooldown: nobody has used the addresses. A block with nothing of ours is rewritten as a fence.
            if block::release(&mut changed, &ours, now, 0).is_ok() {
                block::bump(&mut changed);
                batch.put(Key::Block(cidr), handle::at(revision), Value::Block(changed));
                *lower.entry(cidr).or_default() += ours.len() as u32;
            }
        }
        if let Some(mut draft) = self.handle.as_ref().and_then(|id| handle::Draft::of(view, id)) {
            draft.lower(&mut batch, &lower);
        }
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

fn lessen(counts: &mut Counts, block: BlockCidr, by: u32) {
    if let Some(count) = counts.get_mut(&block) {
        *count = count.saturating_sub(by);
    }
}
