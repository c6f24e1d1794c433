//! What a request means to do, and the batch that does it.

use api::{Affinity, Block, BlockCidr, Family, HandleId, Key, Owner, Revision, Value};
use store::{Batch, Expect, View};

use super::{Address, Assigned};
use crate::affinity;
use crate::block;
use crate::handle::{self, Counts};
use crate::plan::progress::{Intent, Progress};

/// How the owner comes to the block that addresses are taken from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// It exists, and its affinity needs no write.
    Stored(Revision),
    /// It is the owner's, half claimed or half released.
    Healed(Revision),
    /// It is to be created.
    Claimed,
    /// It is another's and empty: released for its owner first, then created.
    Reclaimed(Revision),
}

/// Addresses to take from a block.
#[derive(Clone, Debug)]
pub(super) struct Taking {
    /// The block as it will be stored, but for the sequence number of the write.
    pub block: Block,
    /// Where it comes from.
    pub source: Source,
    /// The addresses.
    pub addresses: Vec<std::net::IpAddr>,
}

/// What a request means to do in one family.
#[derive(Clone, Debug)]
pub(super) struct FamilyDraft {
    pub family: Family,
    pub takings: Vec<Taking>,
    /// Affinities of the owner that disagree with their block.
    pub stale: Vec<BlockCidr>,
    /// Blocks of the owner in pools that no longer select it.
    pub deselected: Vec<BlockCidr>,
    pub assigned: Assigned,
}

impl FamilyDraft {
    pub fn new(family: Family, requested: u32) -> FamilyDraft {
        let assigned = Assigned { requested, ..Assigned::default() };
        FamilyDraft { family, takings: Vec::new(), stale: Vec::new(), deselected: Vec::new(), assigned }
    }

    /// The handle holds as many as it may, and as many as are wanted.
    pub fn held(family: Family, requested: u32, addresses: Vec<Address>) -> FamilyDraft {
        let mut draft = FamilyDraft::new(family, requested);
        draft.assigned.addresses = addresses;
        draft
    }

    /// How many addresses are still to be found.
    pub fn missing(&self) -> u32 {
        self.assigned.requested.saturating_sub(self.assigned.addresses.len() as u32)
    }

    /// Adds a message, once.
    pub fn tell(&mut self, message: String) {
        if !self.assigned.messages.contains(&message) {
            self.assigned.messages.push(message);
        }
    }

    /// Whether a block is part of the draft already.
    pub fn takes_from(&self, block: BlockCidr) -> bool {
        self.takings.iter().any(|taking| taking.block.cidr == block)
    }

    /// Notes a block and what is taken from it.
    pub fn take(&mut self, taking: Taking) {
        let prefix = taking.block.cidr.cidr().prefix();
        self.assigned.addresses.extend(taking.addresses.iter().map(|addr| Address { addr: *addr, prefix }));
        self.takings.push(taking);
    }
}

/// Makes the batch of a request.
pub(super) struct Draft<'a> {
    pub owner: &'a Owner,
    pub handle: Option<&'a HandleId>,
    pub view: &'a View,
}

impl Draft<'_> {
    /// The writes, in an order in which every prefix is a legal state: claims first (affinity pending, block, affinity confirmed), then the handle
    /// raised, then the blocks with the addresses taken, then what is healed by the way.
    pub fn batch(&self, drafts: Vec<FamilyDraft>, progress: &mut Progress) -> Batch {
        let mut batch = Batch::new();
        let mut intent = Intent::default();
        let mut raise = Counts::new();
        let mut puts = Vec::new();
        for taking in drafts.iter().flat_map(|draft| &draft.takings) {
            let expect = self.come_by(&mut batch, taking);
            if !taking.addresses.is_empty() {
                *raise.entry(taking.block.cidr).or_default() += taking.addresses.len() as u32;
                puts.push((taking, expect));
            }
        }
        let written = |cidr| puts.iter().any(|(taking, _)| taking.block.cidr == cidr);
        progress.fence(&mut batch, self.view, written, &mut intent);

        let mut handle = self.handle.and_then(|id| handle::Draft::of(self.view, id));
        if let (Some(handle), false) = (&mut handle, raise.is_empty()) {
            handle.raise(&mut batch, &raise);
            intent.raise = Some((batch.writes.len() - 1, raise));
        }
        for (taking, expect) in puts {
            let cidr = taking.block.cidr;
            let sequence = taking.block.sequence_number;
            let mut block = taking.block.clone();
            block::bump(&mut block);
            let index = batch.put(Key::Block(cidr), expect, Value::Block(block));
            intent.fences.push((index, cidr));
            intent.places.push((index, cidr, taking.addresses.clone(), sequence));
        }
        if let (Some(handle), true) = (&mut handle, progress.leftover().values().any(|n| *n > 0)) {
            handle.lower(&mut batch, progress.leftover());
            intent.take_back = batch.writes.len().checked_sub(1);
        }
        for draft in &drafts {
            self.tidy(&mut batch, draft);
        }
        progress.intend(intent);
        batch
    }

    /// Writes what makes the block the owner's, if anything; tells what the write that takes addresses has to expect.
    fn come_by(&self, batch: &mut Batch, taking: &Taking) -> Expect {
        let cidr = taking.block.cidr;
        let found = self.affinity(self.owner, cidr);
        match &taking.source {
            Source::Stored(revision) => handle::at(revision),
            Source::Healed(revision) => match self.view.block(cidr) {
                Some(Some((stored, _))) => {
                    Expect::AsLeftBy(affinity::heal(batch, self.owner, found, stored, revision))
                }
                // Only blocks that the view holds are healed.
                _ => handle::at(revision),
            },
            Source::Claimed => Expect::AsLeftBy(affinity::claim(batch, self.owner, found, untaken(taking))),
            Source::Reclaimed(revision) => {
                if let Some(Some((stored, _))) = self.view.block(cidr) {
                    let theirs = stored.owner();
                    let owner = theirs.as_ref().unwrap_or(self.owner);
                    let found = theirs.as_ref().and_then(|owner| self.affinity(owner, cidr));
                    affinity::release(batch, owner, found, stored.clone(), handle::at(revision));
                }
                Expect::AsLeftBy(affinity::claim(batch, self.owner, found, untaken(taking)))
            }
        }
    }

    /// Deletes stale affinities, and releases empty blocks in pools that no longer select the owner.
    fn tidy(&self, batch: &mut Batch, draft: &FamilyDraft) {
        for cidr in &draft.stale {
            if let Some((_, revision)) = self.affinity(self.owner, *cidr) {
                affinity::drop_stale(batch, self.owner, *cidr, revision);
            }
        }
        for cidr in &draft.deselected {
            if let Some(Some((stored, revision))) = self.view.block(*cidr) {
                let found = self.affinity(self.owner, *cidr);
                affinity::release(batch, self.owner, found, stored.clone(), handle::at(revision));
            }
        }
    }

    fn affinity(&self, owner: &Owner, block: BlockCidr) -> Option<(&Affinity, &Revision)> {
        self.view.affinity(owner, block).flatten()
    }
}

/// The block of a claim as it is created: nothing taken yet. `taking.block` was made by `block::create` and then taken from.
fn untaken(taking: &Taking) -> Block {
    let mut block = taking.block.clone();
    for addr in &taking.addresses {
        if let Some(ordinal) = block.cidr.ordinal(*addr) {
            block.allocations[ordinal as usize] = None;
        }
    }
    let free = |o: &u32| block.allocations[*o as usize].is_none();
    block.unallocated = (0..block.cidr.size()).filter(free).collect();
    block.attributes.retain(|a| a.handle_id.as_deref() == Some(block::WINDOWS_RESERVED_HANDLE));
    block.sequence_numbers.clear();
    block
}
