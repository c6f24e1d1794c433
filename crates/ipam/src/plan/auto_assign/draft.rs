//! What a request intends to do, and the batch that does it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use api::{Affinity, Block, BlockCidr, Family, Key, Owner, Pool, Revision};
use store::{Batch, Expect, View};

use super::{Address, Assigned};
use crate::affinity;
use crate::handle::Counts;
use crate::plan::progress::{Progress, WritePurposes};
use crate::pools;
use crate::verdict::{Sink, Verdict};

/// How the owner gets the block from which addresses are taken.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// The block exists, and its affinity needs no write.
    Stored(Revision),
    /// The block exists, and its affinity needs no write; but the block is rewritten before the handle is
    /// ([`Progress::must_fence`]).
    Fenced(Revision),
    /// The block is the owner's, and a claim or a release of it was left half done. It is healed first.
    Healed(Revision),
    /// The block does not exist. It is created with this content first.
    Claimed(Box<Block>),
    /// The block is another owner's, or nobody's, and empty. It is released or deleted, and then created with
    /// this content.
    Reclaimed(Box<Emptied>, Box<Block>),
}

/// An empty stored block; addresses that have cooled down are free in it.
#[derive(Clone, Debug)]
pub(super) struct Emptied {
    pub block: Block,
    pub revision: Revision,
}

/// Addresses to take from one block.
#[derive(Clone, Debug)]
pub(super) struct Taking {
    /// The content of the block to store; the write raises its sequence number.
    pub block: Block,
    /// How the owner gets the block.
    pub source: Source,
    /// The addresses that are taken.
    pub addresses: Vec<IpAddr>,
}

/// What a request intends to do in one family.
#[derive(Clone, Debug)]
pub(super) struct FamilyDraft {
    pub family: Family,
    /// The pools to take from, in order.
    pub pools: Vec<Arc<Pool>>,
    pub takings: Vec<Taking>,
    /// The owner's affinities that disagree with their blocks.
    pub stale: Vec<BlockCidr>,
    /// Empty blocks of the owner's whose pools no longer select it.
    pub deselected: Vec<Emptied>,
    /// Empty blocks of the owner's that cannot be proven.
    pub unproven: Vec<Emptied>,
    /// Empty blocks that are nobody's.
    pub nobodys: Vec<Emptied>,
    pub assigned: Assigned,
    /// Whether the request wants a block of the owner's, with room or without, and no address of it.
    pub wants_block: bool,
}

impl FamilyDraft {
    pub fn new(family: Family, requested: u32) -> FamilyDraft {
        let assigned = Assigned { requested, ..Assigned::default() };
        FamilyDraft {
            family,
            pools: Vec::new(),
            takings: Vec::new(),
            stale: Vec::new(),
            deselected: Vec::new(),
            unproven: Vec::new(),
            nobodys: Vec::new(),
            assigned,
            wants_block: false,
        }
    }

    /// The draft of a request that wants a block, and no address of it.
    pub fn of_block(family: Family) -> FamilyDraft {
        FamilyDraft { wants_block: true, ..FamilyDraft::new(family, 0) }
    }

    /// The draft of a request whose handle already holds as many addresses as it may, and at least as many as
    /// the request wants.
    pub fn of_held(family: Family, requested: u32, addresses: Vec<Address>) -> FamilyDraft {
        let mut draft = FamilyDraft::new(family, requested);
        draft.assigned.addresses = addresses;
        draft
    }

    /// How many addresses, or blocks, have still to be found.
    pub fn missing(&self) -> u32 {
        if self.wants_block {
            return u32::from(self.takings.is_empty());
        }
        self.assigned.requested.saturating_sub(self.assigned.addresses.len() as u32)
    }

    /// Whether empty blocks that the request releases or deletes may be in the way of others that it could
    /// claim.
    pub fn is_blocked(&self) -> bool {
        self.missing() > 0 && !(self.unproven.is_empty() && self.nobodys.is_empty())
    }

    /// Adds a message, unless the draft has it already.
    pub fn tell(&mut self, message: Verdict, sink: &impl Sink) {
        sink.tell(|| message.clone());
        if !self.assigned.messages.contains(&message) {
            self.assigned.messages.push(message);
        }
    }

    /// The empty blocks of the owner's that are released.
    pub fn released(&self) -> impl Iterator<Item = &Emptied> {
        self.deselected.iter().chain(&self.unproven)
    }

    /// The pool that a block lies in, of those that the request may use.
    pub fn pool_of(&self, block: BlockCidr) -> Option<&Arc<Pool>> {
        self.pools.iter().find(|pool| pool.cidr.contains(block.cidr().first()))
    }

    /// Whether the draft already takes addresses from a block.
    pub fn takes_from(&self, block: BlockCidr) -> bool {
        self.takings.iter().any(|taking| taking.block.cidr == block)
    }

    /// Adds a block, with the addresses taken from it.
    pub fn take(&mut self, taking: Taking) {
        let prefix = taking.block.cidr.cidr().prefix();
        self.assigned.addresses.extend(taking.addresses.iter().map(|addr| Address { addr: *addr, prefix }));
        self.takings.push(taking);
    }
}

/// Makes the batch of a request.
pub(super) struct Draft<'a> {
    pub owner: &'a Owner,
    pub node: Option<&'a Key>,
    pub view: &'a View,
}

impl Draft<'_> {
    /// The writes, in an order in which every prefix is a legal state: first claims (affinity pending, block,
    /// affinity confirmed), including those that finish claims of earlier attempts; then fences; then the
    /// handle; then the blocks with the addresses taken; at last the deletions of stale affinities and of
    /// nobody's blocks, and the releases of deselected and of unproven blocks.
    pub fn batch(&self, mut drafts: Vec<FamilyDraft>, progress: &mut Progress) -> Batch {
        let mut batch = Batch::new();
        let mut purposes = WritePurposes::default();
        let mut raised = Counts::new();
        let mut puts = Vec::new();
        let mut used = Vec::new();
        // Blocks whose affinity the batch confirms or ends already.
        let mut settled: BTreeSet<BlockCidr> = BTreeSet::new();
        for draft in &mut drafts {
            settled.extend(draft.takings.iter().map(|taking| taking.block.cidr));
            settled.extend(draft.released().map(|emptied| emptied.block.cidr));
            for Taking { block, source, addresses } in std::mem::take(&mut draft.takings) {
                let pool = draft.pool_of(block.cidr).cloned();
                used.extend(pool.clone().map(|pool| (block.cidr, pool)));
                let expect = self.come_by(&mut batch, block.cidr, source, &mut purposes);
                if !addresses.is_empty() {
                    *raised.entry(block.cidr).or_default() += addresses.len() as u32;
                    puts.push((block, addresses, expect, pool));
                }
            }
        }
        progress.heal(&mut batch, self.view, |cidr| settled.contains(&cidr), &mut purposes);
        let is_written = |cidr| puts.iter().any(|(block, ..)| block.cidr == cidr);
        progress.fence(&mut batch, self.view, is_written, &mut purposes);
        progress.count(&mut batch, self.view, raised, Counts::new());
        if !puts.is_empty() {
            self.guard(&mut batch, puts.iter().filter_map(|(.., pool)| pool.as_ref()));
        }
        for (block, addresses, expect, _) in puts {
            purposes.place(&mut batch, block, expect, addresses);
        }
        for (cidr, pool) in used {
            purposes.prove(&mut batch, self.view, self.owner, cidr, &pool);
        }
        purposes.only_tidies_from(&batch);
        for mut draft in drafts {
            // What the batch has claimed is not stale or nobody's any more.
            let is_claimed = |cidr| purposes.claims.iter().any(|claimed| claimed.block == cidr);
            draft.stale.retain(|cidr| !is_claimed(*cidr));
            draft.nobodys.retain(|emptied| !is_claimed(emptied.block.cidr));
            self.tidy(&mut batch, draft);
        }
        progress.intend(purposes);
        batch
    }

    /// Guards what the choice of pools rests on: the owner's node, and the pools.
    pub fn guard<'p>(&self, batch: &mut Batch, pools: impl IntoIterator<Item = &'p Arc<Pool>>) {
        if let Some(node) = self.node {
            let revision = self.view.resource(node).flatten().map(|(_, revision)| revision.clone());
            batch.guard(node.clone(), revision);
        }
        pools.into_iter().for_each(|pool| pools::guard(batch, self.view, pool));
    }

    /// Adds the writes that make the block the owner's, if any are needed. Gives what the write that takes
    /// addresses has to expect.
    fn come_by(
        &self,
        batch: &mut Batch,
        cidr: BlockCidr,
        source: Source,
        purposes: &mut WritePurposes,
    ) -> Expect {
        match source {
            Source::Stored(revision) => Expect::Revision(revision),
            Source::Fenced(revision) => match self.view.block(cidr) {
                Some(Some((stored, _))) => {
                    Expect::AsLeftBy(purposes.fence(batch, stored, Expect::Revision(revision)))
                }
                // Addresses are taken only from blocks that the view holds, so this case does not occur.
                _ => Expect::Revision(revision),
            },
            Source::Healed(revision) => match self.view.block(cidr) {
                Some(Some((stored, _))) => {
                    let found = self.affinity(self.owner, cidr);
                    let healed = affinity::heal(batch, self.owner, found, stored.clone(), &revision);
                    purposes.claims.push(healed);
                    Expect::AsLeftBy(healed.written)
                }
                // Only blocks that the view holds are healed, so this case does not occur.
                _ => Expect::Revision(revision),
            },
            Source::Claimed(block) => self.claim(batch, *block, purposes),
            Source::Reclaimed(emptied, block) => {
                let Emptied { block: theirs, revision } = *emptied;
                let expect = Expect::Revision(revision);
                match theirs.owner() {
                    Some(owner) => {
                        affinity::release(batch, &owner, self.affinity(&owner, cidr), theirs, expect);
                    }
                    None => {
                        batch.delete(Key::Block(cidr), expect);
                    }
                }
                self.claim(batch, *block, purposes)
            }
        }
    }

    fn claim(&self, batch: &mut Batch, block: Block, purposes: &mut WritePurposes) -> Expect {
        let found = self.affinity(self.owner, block.cidr);
        let claimed = affinity::claim(batch, self.owner, found, block);
        purposes.claims.push(claimed);
        Expect::AsLeftBy(claimed.written)
    }

    /// Deletes stale affinities and empty blocks that are nobody's, and releases empty blocks whose pools no
    /// longer select the owner, or that cannot be proven.
    fn tidy(&self, batch: &mut Batch, draft: FamilyDraft) {
        for cidr in draft.stale {
            if let Some((_, revision)) = self.affinity(self.owner, cidr) {
                affinity::drop_stale(batch, self.owner, cidr, revision);
            }
        }
        for Emptied { block, revision } in draft.nobodys {
            batch.delete(Key::Block(block.cidr), Expect::Revision(revision));
        }
        for Emptied { block, revision } in draft.deselected.into_iter().chain(draft.unproven) {
            let found = self.affinity(self.owner, block.cidr);
            affinity::release(batch, self.owner, found, block, Expect::Revision(revision));
        }
    }

    fn affinity(&self, owner: &Owner, block: BlockCidr) -> Option<(&Affinity, &Revision)> {
        self.view.affinity(owner, block).flatten()
    }
}
