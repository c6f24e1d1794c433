//! What the attempts of one request for addresses have done so far. With this memory, no retry takes an
//! address twice or forgets one.

mod claims;
mod give_up;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use api::{Attribute, Block, BlockCidr, Family, Handle, HandleId, Key, Owner, Pool, Value};
use store::{Batch, Expect, Op, Outcome, ReadSet, Report, View};

use crate::affinity::{self, Claimed, Proof};
use crate::block;
use crate::handle::{self, Counts};
use crate::plan::attempts::{self, Tally, Writes};
use crate::pools;

/// Addresses that an attempt wrote into a block.
#[derive(Clone, Debug, PartialEq)]
struct Placed {
    block: BlockCidr,
    addresses: Vec<IpAddr>,
    /// The sequence number that the addresses have.
    sequence: u64,
    /// The empty block with which the same batch creates the record; `None` for a block that existed. While
    /// the block is absent, that creation, and with it this write, may still be applied.
    creation: Option<Arc<Value>>,
}

/// What the writes of one batch are for. The indexes are those of the batch's writes.
#[derive(Clone, Debug, Default)]
pub struct WritePurposes {
    /// The writes that take addresses, one for each block.
    places: Vec<(usize, Placed)>,
    /// Fences. Once the batch is complete, all writes after which no earlier write of their block can be
    /// applied.
    fences: Vec<(usize, BlockCidr)>,
    /// The writes that claim or heal blocks.
    pub claims: Vec<Claimed>,
    /// The writes after which a block holds no address of the request.
    returns: Vec<(usize, BlockCidr)>,
    /// How many of the writes the answer needs; `None` for all.
    needed: Option<usize>,
    /// Whether the batch only prepares the next attempt: it has no answer.
    only_prepares: bool,
}

impl WritePurposes {
    /// Writes a block that addresses were taken from.
    pub fn place(&mut self, batch: &mut Batch, mut block: Block, expect: Expect, addresses: Vec<IpAddr>) {
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

    /// Adds a fence. Gives the index of the write.
    pub fn fence(&mut self, batch: &mut Batch, stored: &Block, expect: Expect) -> usize {
        let index = attempts::fence(batch, stored, expect);
        self.fences.push((index, stored.cidr));
        index
    }

    /// Has the batch go on only if what proves the block is unchanged once the block is stored (see
    /// [`affinity`]): before the affinity is confirmed, or else before addresses are taken. Where the proof
    /// is the block's pool, the planner must have found that no stored block overlaps the block.
    pub fn prove(&self, batch: &mut Batch, view: &View, owner: &Owner, cidr: BlockCidr, pool: &Pool) {
        let confirmed = self.claims.iter().find(|claim| claim.block == cidr).map(|claim| claim.confirmed);
        let taken = self.places.iter().find(|(_, placed)| placed.block == cidr).map(|(index, _)| *index);
        let Some(before) = confirmed.or(taken) else { return };
        match affinity::proof(view, owner, cidr) {
            Proof::Addresses => {}
            Proof::Affinity(revision) => {
                let key = affinity::key(owner, cidr);
                batch.guard(key.clone(), Some(revision.clone()));
                batch.look_again(&key, before);
            }
            Proof::Pool => {
                pools::guard(batch, view, pool);
                batch.look_again(&pools::key(pool), before);
            }
        }
    }

    /// Notes that what is written after the batch's present writes only tidies up: the answer stands without
    /// it, and the next request of the owner does it as well.
    pub fn only_tidies_from(&mut self, batch: &Batch) {
        self.needed = Some(batch.writes.len());
    }

    /// All writes after which no earlier write of their block can be applied.
    fn fencing(&self) -> impl Iterator<Item = (usize, BlockCidr)> {
        let places = self.places.iter().map(|(index, placed)| (*index, placed.block));
        let claims = self.claims.iter().map(|claim| (claim.written, claim.block));
        places.chain(claims).chain(self.returns.iter().chain(&self.fences).copied())
    }
}

/// A request's memory over its attempts.
#[derive(Clone, Debug)]
pub struct Progress {
    owner: Owner,
    attribute: Arc<Attribute>,
    handle: Option<HandleId>,
    /// Whether other requests for the same handle are answered what the handle holds, so that what this one
    /// has taken is not its own to take back.
    is_shared: bool,
    /// Addresses that were certainly taken.
    placed: Vec<Placed>,
    /// Writes that take addresses, and whose outcome is not known yet.
    places: Writes<Placed>,
    /// What the handle counts too much because of this request.
    tally: Tally,
    /// The blocks that earlier attempts claimed, or may have claimed.
    claimed: BTreeSet<BlockCidr>,
    /// Those claimed blocks whose affinity was not certainly confirmed. In the middle of a claim, another
    /// request that read the block before its creation may delete the affinity as stale. After that, only
    /// this request knows of the block, so it must not end before the affinity is written again.
    unconfirmed: BTreeSet<BlockCidr>,
    purposes: WritePurposes,
}

/// A `DEL` between two attempts took back what the request had written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the handle was released while its addresses were being assigned")]
pub struct Overtaken;

impl Progress {
    /// An empty memory, for a request with that identity which claims blocks for `owner`.
    pub fn new(owner: Owner, attribute: Arc<Attribute>, handle: Option<HandleId>) -> Progress {
        Progress {
            owner,
            attribute,
            handle,
            is_shared: false,
            placed: Vec::new(),
            places: Writes::default(),
            tally: Tally::default(),
            claimed: BTreeSet::new(),
            unconfirmed: BTreeSet::new(),
            purposes: WritePurposes::default(),
        }
    }

    /// The same for a request whose handle may hold only so many addresses: the handle is shared by several
    /// requests (the pods of one virtual machine), and any of them may be answered what another one took. So
    /// the addresses stay the handle's, even if the request that took them fails.
    pub fn of_limited(self, max_per_handle: Option<u32>) -> Progress {
        Progress { is_shared: max_per_handle.is_some(), ..self }
    }

    /// The request's identity: its handle and owner attributes. It is the same in every attempt.
    pub fn attribute(&self) -> &Arc<Attribute> {
        &self.attribute
    }

    /// What must be read at the start of an attempt: the handle, and affinities. The blocks must be read
    /// after them (see [`Progress::missing`]).
    pub fn reads(&self) -> ReadSet {
        ReadSet::new().keys(self.first_keys())
    }

    fn first_keys(&self) -> impl Iterator<Item = Key> {
        let created = self.places.in_doubt().iter().filter(|placed| placed.creation.is_some());
        let claims: BTreeSet<_> =
            created.map(|placed| placed.block).chain(self.unconfirmed.iter().copied()).collect();
        let affinities = claims.into_iter().map(|block| self.affinity_key(block));
        affinities.chain(self.handle.clone().map(Key::Handle))
    }

    /// What must be read in full before anything can be concluded about earlier attempts. That includes
    /// blocks whose key or header, in a list read later, shows that they have changed.
    pub fn missing(&self, view: &View) -> ReadSet {
        if !self.owes() {
            return ReadSet::new();
        }
        view.missing(self.first_keys().chain(self.blocks().into_iter().map(Key::Block)))
    }

    /// Whether an earlier attempt wrote a record, or may have written it. The request cannot end without
    /// knowing that record's state.
    pub fn rests_on(&self, key: &Key) -> bool {
        self.owes()
            && match key {
                Key::Block(block) => self.blocks().contains(block),
                key => self.first_keys().any(|own| own == *key),
            }
    }

    fn blocks(&self) -> BTreeSet<BlockCidr> {
        let placed = self.placed.iter().chain(self.places.in_doubt()).map(|placed| placed.block);
        placed.chain(self.claimed()).chain(self.tally.blocks()).collect()
    }

    /// Decides which writes in doubt were applied. [`missing`](Progress::missing) must have been read before.
    ///
    /// # Errors
    /// When addresses that were certainly taken are gone.
    pub fn settle(&mut self, view: &View) -> Result<(), Overtaken> {
        if !self.owes() {
            return Ok(());
        }
        self.settle_claims(view);
        let in_doubt = self.places.take_in_doubt().into_iter();
        let (whole, rest): (Vec<_>, Vec<_>) = in_doubt.partition(|placed| self.is_whole(view, placed));
        whole.into_iter().for_each(|placed| self.note_applied(placed));
        for placed in rest {
            // An address that no other write has taken: then this one was applied, and others have freed the
            // rest of what it took.
            let is_known = |addr: IpAddr| self.placed.iter().any(|other| other.addresses.contains(&addr));
            let is_in_doubt = self.held(view, &placed).all(is_known);
            match is_in_doubt {
                true => self.places.doubt(placed),
                false => self.note_applied(placed),
            }
        }
        let is_counted_out = match self.handle.as_ref().and_then(|id| view.handle(id)) {
            Some(found) => {
                let found = found.filter(|(handle, _)| !handle.deleted);
                self.tally.settle(found.map(|(_, revision)| revision))
            }
            None => false,
        };
        let is_overtaken = !self.placed.iter().all(|placed| self.is_whole(view, placed));
        if is_counted_out || is_overtaken { Err(Overtaken) } else { Ok(()) }
    }

    /// The addresses of a family that earlier attempts certainly took.
    pub fn taken_addresses(&self, family: Family) -> impl Iterator<Item = (IpAddr, BlockCidr)> {
        let placed = self.placed.iter().filter(move |placed| placed.block.family() == family);
        placed.flat_map(|placed| placed.addresses.iter().map(|addr| (*addr, placed.block)))
    }

    /// How many addresses of a family a handle holds, including those that other requests have counted and
    /// are about to take.
    pub fn held_count(&self, view: &View, id: &HandleId, handle: &Handle, family: Family) -> u32 {
        let counts = handle.blocks.iter().filter(|(block, _)| block.family() == family);
        // A block that had to be read for this has been read. A block that cannot be parsed counts in full.
        let held = counts.map(|(block, n)| self.tally.rightful_count(view, id, *block, *n).unwrap_or(*n));
        held.fold(0, u32::saturating_add)
    }

    /// Whether a block must be written before the handle: so that the handle's count of it can be set right,
    /// or because a write in doubt may still take more of its addresses than this attempt counts.
    pub fn must_fence(&self, block: BlockCidr) -> bool {
        self.tally.is_unsure(block) || self.places.in_doubt().iter().any(|placed| placed.block == block)
    }

    /// Remembers what the batch that is about to be committed is for.
    pub fn intend(&mut self, mut purposes: WritePurposes) {
        purposes.fences = purposes.fencing().collect();
        self.places.plan(std::mem::take(&mut purposes.places));
        self.purposes = purposes;
    }

    /// Notes that the batch only prepares the next attempt, which plans anew.
    pub fn only_prepares(&mut self) {
        self.purposes.only_prepares = true;
    }

    /// Whether the batch has an answer.
    pub fn has_answer(&self) -> bool {
        !self.purposes.only_prepares
    }

    /// Whether the answer of that batch stands: all writes were applied but those that only tidy up.
    pub fn is_answered_by(&self, report: &Report) -> bool {
        let needed = self.purposes.needed.unwrap_or(report.outcomes.len());
        let applied = |outcome: &Outcome| matches!(outcome, Outcome::Applied(_));
        let are_told = report.broken_guard.is_none() && report.outcomes.len() >= needed;
        self.has_answer() && are_told && report.outcomes.iter().take(needed).all(applied)
    }

    /// Takes in the report of that batch.
    pub fn observe(&mut self, report: &Report) {
        let purposes = std::mem::take(&mut self.purposes);
        let applied = |index: usize| matches!(report.outcomes.get(index), Some(Outcome::Applied(_)));
        let unknown = |index: usize| matches!(report.outcomes.get(index), Some(Outcome::Unknown(_)));
        for (_, block) in purposes.returns.iter().filter(|(index, _)| applied(*index)) {
            self.placed.retain(|placed| placed.block != *block);
        }
        for claim in purposes.claims.iter().filter(|claim| applied(claim.written) || unknown(claim.written)) {
            self.claimed.insert(claim.block);
            match applied(claim.confirmed) {
                true => self.unconfirmed.remove(&claim.block),
                false => self.unconfirmed.insert(claim.block),
            };
        }
        self.tally.observe(report);
        self.places.forget(|placed| {
            purposes.fences.iter().any(|(index, block)| applied(*index) && *block == placed.block)
        });
        for placed in self.places.observe(report) {
            self.note_applied(placed);
        }
    }

    /// A write that takes addresses was certainly applied.
    fn note_applied(&mut self, placed: Placed) {
        self.tally.count_as_held(placed.block, placed.addresses.len() as u32);
        self.placed.push(placed);
    }

    /// Whether something would have to be taken back if the request ended now.
    pub fn owes(&self) -> bool {
        !self.placed.is_empty()
            || !self.places.in_doubt().is_empty()
            || !self.unconfirmed.is_empty()
            || self.tally.owes()
    }

    /// Adds fences: for blocks with writes in doubt, so that these cannot be applied later, and for blocks
    /// that must be written before the handle's count of them can be set right. Leaves out blocks that the
    /// batch writes already.
    pub fn fence(
        &self,
        batch: &mut Batch,
        view: &View,
        is_written: impl Fn(BlockCidr) -> bool,
        purposes: &mut WritePurposes,
    ) {
        let in_doubt = self.places.in_doubt().iter().map(|placed| placed.block);
        let unsure = self.handle.iter().flat_map(|id| self.tally.to_fence(view, id));
        for cidr in in_doubt.chain(unsure).collect::<BTreeSet<_>>() {
            if is_written(cidr) || purposes.fencing().any(|(_, fenced)| fenced == cidr) {
                continue;
            }
            match view.block(cidr) {
                Some(Some((stored, revision))) => {
                    purposes.fence(batch, stored, Expect::at(revision));
                }
                Some(None) => self.claim_in_doubt(batch, view, cidr, purposes),
                None => {}
            }
        }
    }

    /// Creates, empty, a block whose creation is in doubt. An absent block cannot be fenced, as only an
    /// existing record has a revision to compare. The new block stays the owner's, and pending.
    fn claim_in_doubt(&self, batch: &mut Batch, view: &View, cidr: BlockCidr, purposes: &mut WritePurposes) {
        let mut created = self.places.in_doubt().iter().filter(|placed| placed.block == cidr);
        if let Some(Value::Block(block)) = created.find_map(|placed| placed.creation.as_deref()) {
            let found = view.affinity(&self.owner, cidr).flatten();
            let block = block.clone();
            purposes.claims.push(affinity::leave_pending(batch, &self.owner, found, block, Expect::Absent));
        }
    }

    /// Adds the handle's write, if the request has a handle: with the addresses that the batch is about to
    /// take (`by`), and without what is counted too much. The caller must add the fences before, and the
    /// blocks from which addresses are taken after. `left` says what the handle holds in each block that the
    /// batch has written with another content than the view's.
    pub fn count(&mut self, batch: &mut Batch, view: &View, by: Counts, left: Counts) {
        let Some(mut draft) = self.handle.as_ref().and_then(|id| handle::HandleDraft::of(view, id)) else {
            return;
        };
        let mut written = left;
        if self.tally.owes() {
            for write in &batch.writes {
                if let Key::Block(block) = &write.key
                    && let Some(Some((stored, _))) = view.block(*block)
                {
                    let held = || block::may_hold(stored, draft.id().as_str());
                    written.entry(*block).or_insert_with(held);
                }
            }
        }
        self.tally.write(batch, &mut draft, view, by, &written);
    }

    /// Whether the block still holds all of the placed addresses.
    fn is_whole(&self, view: &View, placed: &Placed) -> bool {
        self.held(view, placed).count() == placed.addresses.len()
    }

    /// Those of the placed addresses that their block holds: for the request, and with that sequence number.
    /// Whose pods an address of a shared handle is changes while a virtual machine moves.
    fn held<'a>(&'a self, view: &'a View, placed: &'a Placed) -> impl Iterator<Item = IpAddr> + 'a {
        let is_own = |attribute: &Arc<Attribute>| match self.is_shared {
            true => attribute.handle_id == self.attribute.handle_id,
            false => *attribute == self.attribute,
        };
        let block = view.block(placed.block).flatten().map(|(block, _)| block);
        let is_held = move |block: &Block, addr: IpAddr| {
            block.cidr.ordinal(addr).is_some_and(|ordinal| {
                block.attribute(ordinal).is_some_and(is_own) && block.sequence_of(ordinal) == placed.sequence
            })
        };
        let addresses = placed.addresses.iter().copied();
        addresses.filter(move |addr| block.is_some_and(|block| is_held(block, *addr)))
    }
}
