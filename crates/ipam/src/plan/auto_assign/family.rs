//! Plans one family of a request: it chooses the pools, then uses the host's own blocks, then other blocks.

use std::collections::BTreeMap;

use api::{
    AffinityState, Block, BlockCidr, Family, IpamConfig, Key, Owner, Revision, Timestamp, ipam_config,
};
use store::{Depth, ReadSet, Scope, View};

use super::draft::{Emptied, FamilyDraft, Source, Taking};
use super::own::{self, Own};
use super::search::Search;
use super::{Address, AutoAssign, AutoAssignError};
use crate::affinity::{self, Action};
use crate::block;
use crate::plan::progress::Progress;
use crate::pools::{self, Asker, Choice};
use crate::reservations::Reserved;
use crate::verdict::{self, BlockVerdict, Sink, Verdict};

/// How many of nobody's empty blocks one request deletes, at most: it came for addresses.
const NOBODYS_AT_ONCE: usize = 4;

/// Everything on which the plan of a family depends.
pub(super) struct Context<'a, S> {
    pub view: &'a View,
    pub request: &'a AutoAssign,
    pub owner: &'a Owner,
    pub owner_text: &'a str,
    pub node: Option<&'a Key>,
    pub progress: &'a Progress,
    pub reserved: &'a Reserved,
    pub config: &'a IpamConfig,
    pub now: Timestamp,
    pub seed: u64,
    /// Gets the verdict on each block.
    pub sink: &'a S,
}

impl<S: Sink> Context<'_, S> {
    /// What to do in a family; the error is what must be read before.
    pub fn draft(&self, family: Family) -> Result<FamilyDraft, ReadSet> {
        let mut draft = FamilyDraft::new(family, self.request.wanted(family));
        for (addr, block) in self.progress.taken_addresses(family) {
            draft.assigned.addresses.push(Address { addr, prefix: block.cidr().prefix() });
        }
        self.fill(draft)
    }

    /// How the owner comes by a block of a family, if it has none; the error is what must be read before.
    pub fn draft_of_block(&self, family: Family) -> Result<FamilyDraft, ReadSet> {
        self.fill(FamilyDraft::of_block(family))
    }

    fn fill(&self, mut draft: FamilyDraft) -> Result<FamilyDraft, ReadSet> {
        match self.search(draft.family, &mut draft) {
            Ok(()) => Ok(draft),
            Err(Stop::Fetch(set)) => Err(set),
            Err(Stop::Error(error)) => {
                draft.assigned.error = Some(error);
                Ok(draft)
            }
        }
    }

    fn search(&self, family: Family, draft: &mut FamilyDraft) -> Result<(), Stop> {
        let node_labels = self.node_labels()?;
        let asker = Asker {
            host: &self.request.host,
            node_labels,
            namespace_labels: self.request.namespace_labels.as_ref(),
            intended_use: self.request.intended_use,
            host_reserved: self.request.host_reserved.as_ref(),
        };
        let choice = pools::choose(self.view, family, self.request.pools(family), asker, self.sink)
            .map_err(|error| Stop::Error(error.into()))?;

        let mut allowed = Vec::new();
        let mut deselected = Vec::new();
        for (cidr, affinity, _) in self.view.affine_blocks(self.owner, family) {
            if holds(&choice.pools, cidr) {
                allowed.push((cidr, Some(affinity.state)));
            } else if !holds(&choice.before_use, cidr) && self.is_deselected(&choice, cidr, node_labels) {
                deselected.push(cidr);
            } else {
                self.tell(cidr, BlockVerdict::OtherPool);
            }
        }
        // A block that this request claimed may have lost its affinity, when another request released the
        // host's affinities in the meantime.
        let claimed = self.progress.claimed().filter(|cidr| cidr.family() == family);
        for cidr in claimed.filter(|cidr| holds(&choice.pools, *cidr)).collect::<Vec<_>>() {
            if !allowed.iter().any(|(known, _)| *known == cidr) && self.is_mine(cidr) {
                allowed.push((cidr, None));
            }
        }
        let search = Search::new(self, &choice);
        let mut own = Own::of(&search, allowed);
        own::keep_some(&mut deselected, self.seed);
        self.need_blocks(own.first().chain(deselected.iter().copied()))?;
        for cidr in deselected {
            if self.is_damaged(cidr) {
                self.tell(cidr, BlockVerdict::Unreadable);
            } else if self.is_mine(cidr) {
                let emptied = self.if_empty(cidr);
                self.tell(cidr, BlockVerdict::Deselected { is_empty: emptied.is_some() });
                draft.deselected.extend(emptied);
            } else {
                self.drop_stale(draft, cidr, BlockVerdict::Stale);
            }
        }

        draft.pools = choice.pools.iter().map(|pool| (*pool).clone()).collect();
        search.use_first_own(draft, &mut own)?;
        if draft.missing() > 0 {
            search.use_some_own(draft, &mut own)?;
        }
        if draft.missing() > 0 {
            self.take_more(draft, &search, &mut own)?;
        }
        Ok(())
    }

    /// Claims blocks, then borrows addresses, until nothing is missing.
    fn take_more(&self, draft: &mut FamilyDraft, search: &Search<'_, S>, own: &mut Own) -> Result<(), Stop> {
        self.need_next_page(draft.family)?;
        let limit = self.limit();
        let may_claim = |own: &Own| own.at_most() < limit && self.config.auto_allocate_blocks;
        if !may_claim(own) {
            search.use_all_own(draft, own)?;
        }
        if draft.missing() > 0 && may_claim(own) {
            own.owned += self.take_up(draft, search)?;
        }
        while draft.missing() > 0 {
            if may_claim(own) && search.claim_free(draft)? {
                own.owned += 1;
            } else if own.has_unseen() {
                search.use_all_own(draft, own)?;
            } else if own.owned >= limit {
                draft.tell(Verdict::BlockLimit(limit), self.sink);
                return Err(Stop::Error(AutoAssignError::BlockLimit));
            } else if !self.config.auto_allocate_blocks {
                return Err(Stop::Error(AutoAssignError::NoAutoAllocate));
            } else if search.take_over(draft)? {
                own.owned += 1;
            } else {
                break;
            }
        }
        if draft.missing() > 0 {
            if self.config.strict_affinity {
                draft.tell(Verdict::StrictAffinity, self.sink);
            } else if self.request.intended_use.is_never_borrowed() {
                draft.tell(Verdict::NeverBorrowed(self.request.intended_use), self.sink);
            } else if !draft.wants_block {
                search.borrow(draft)?;
            }
        }
        Ok(())
    }

    /// Takes up again the blocks that name the owner though it has no affinity to them: the affinity was
    /// lost, or taken back while the block was being claimed. The affinity is made again, also of a block
    /// that is full, so that the next request finds it and counts it. Gives how many blocks there are.
    fn take_up(&self, draft: &mut FamilyDraft, search: &Search<'_, S>) -> Result<u32, Stop> {
        let blocks = search.unattended()?;
        let unsettled = |cidr: &BlockCidr| !draft.takes_from(*cidr);
        let blocks: Vec<BlockCidr> = blocks.into_iter().filter(unsettled).collect();
        self.need_blocks(blocks.iter().copied())?;
        let nobodys = blocks.iter().filter(|cidr| self.is_nobodys(**cidr));
        draft.nobodys.extend(nobodys.filter_map(|cidr| self.if_empty(*cidr)).take(NOBODYS_AT_ONCE));
        let mut lost = 0;
        for cidr in blocks.into_iter().filter(|cidr| self.is_mine(*cidr)) {
            if !search.may_be_used(cidr)? {
                self.release_unproven(draft, cidr);
                continue;
            }
            lost += 1;
            self.take_stored(draft, cidr, Source::Healed);
            if let (false, Some(Some((stored, revision)))) = (draft.takes_from(cidr), self.view.block(cidr)) {
                let source = Source::Healed(revision.clone());
                draft.take(Taking { block: stored.clone(), source, addresses: Vec::new() });
            }
        }
        Ok(lost)
    }

    /// The smaller of the request's limit and the configuration's, where both are given. A negative one in
    /// the configuration is none.
    fn limit(&self) -> u32 {
        let global = u32::try_from(self.config.max_blocks_per_host).unwrap_or(u32::MAX);
        match (self.request.max_blocks_per_host, global) {
            (0, 0) => ipam_config::DEFAULT_MAX_BLOCKS_PER_HOST,
            (0, limit) | (limit, 0) => limit,
            (a, b) => a.min(b),
        }
    }

    fn node_labels(&self) -> Result<Option<&BTreeMap<String, String>>, Stop> {
        let Some(node) = self.node else { return Ok(None) };
        match self.view.resource(node) {
            Some(Some((resource, _))) => Ok(Some(&resource.as_node().labels)),
            _ => Err(Stop::Error(AutoAssignError::NoNode(self.request.host.clone()))),
        }
    }

    /// Whether the pool of a block is enabled, and its node selector leaves the node out. A selector that
    /// cannot be parsed leaves nobody out here.
    fn is_deselected(
        &self,
        choice: &Choice<'_>,
        block: BlockCidr,
        labels: Option<&BTreeMap<String, String>>,
    ) -> bool {
        let pool = choice.enabled.iter().find(|pool| pool.cidr.contains(block.cidr().first()));
        labels.is_some() && pool.is_some_and(|pool| pools::selects_node(pool, &labels) == Some(false))
    }

    /// Whether a block, or the owner's affinity to it, cannot be parsed. Nothing is done about such a block.
    pub fn is_damaged(&self, cidr: BlockCidr) -> bool {
        let affinity = Key::Affinity { owner: self.owner.clone(), block: cidr };
        [Key::Block(cidr), affinity].iter().any(|key| self.view.unreadable(key).is_some())
    }

    pub fn action(&self, cidr: BlockCidr, affinity: Option<AffinityState>) -> Action {
        affinity::action(affinity, affinity::block_state(self.view, cidr, self.owner_text))
    }

    fn is_mine(&self, cidr: BlockCidr) -> bool {
        affinity::block_state(self.view, cidr, self.owner_text) == affinity::BlockState::Mine
    }

    fn is_nobodys(&self, cidr: BlockCidr) -> bool {
        affinity::block_state(self.view, cidr, self.owner_text) == affinity::BlockState::Ownerless
    }

    /// Gives the sink a verdict on a block.
    pub fn tell(&self, cidr: BlockCidr, verdict: BlockVerdict) {
        verdict::of_block(self.sink, cidr, verdict);
    }

    pub fn drop_stale(&self, draft: &mut FamilyDraft, cidr: BlockCidr, why: BlockVerdict) {
        self.tell(cidr, why);
        draft.stale.push(cidr);
    }

    /// Releases an empty block of the owner's that cannot be proven.
    pub fn release_unproven(&self, draft: &mut FamilyDraft, cidr: BlockCidr) {
        self.tell(cidr, BlockVerdict::Overlapping);
        draft.unproven.extend(self.if_empty(cidr));
    }

    /// A block, if it is empty.
    pub fn if_empty(&self, cidr: BlockCidr) -> Option<Emptied> {
        let (stored, revision) = self.view.block(cidr)??;
        let block = self.collected_copy(stored);
        block::is_empty(&block).then(|| Emptied { block, revision: revision.clone() })
    }

    /// A copy of a block, in which addresses that have cooled down are free.
    pub fn collected_copy(&self, stored: &Block) -> Block {
        let mut block = block::copy(stored);
        block::collect(&mut block, self.now, self.config.cooldown_seconds);
        block
    }

    /// The source for a block that exists and whose affinity needs no write.
    pub fn source_of_stored(&self, cidr: BlockCidr, revision: Revision) -> Source {
        if self.progress.must_fence(cidr) { Source::Fenced(revision) } else { Source::Stored(revision) }
    }

    /// Takes missing addresses from a block of the owner's.
    pub fn take_stored(&self, draft: &mut FamilyDraft, cidr: BlockCidr, source: impl Fn(Revision) -> Source) {
        if draft.missing() == 0 || draft.takes_from(cidr) {
            return;
        }
        if self.reserved.covers(cidr) {
            return self.tell(cidr, BlockVerdict::Reserved);
        }
        let Some(Some((stored, revision))) = self.view.block(cidr).filter(|_| !self.is_damaged(cidr)) else {
            return self.tell(cidr, BlockVerdict::Unreadable);
        };
        if draft.wants_block {
            let (block, source) = (stored.clone(), source(revision.clone()));
            return draft.take(Taking { block, source, addresses: Vec::new() });
        }
        // The block was found to be the owner's, so strict affinity refuses nothing.
        let strict = self.config.strict_affinity.then_some(self.owner_text);
        self.take(draft, stored, source(revision.clone()), strict, BlockVerdict::Taken);
    }

    /// Takes missing addresses from a stored block; `owner` is who it must be affine to.
    pub fn take(
        &self,
        draft: &mut FamilyDraft,
        stored: &Block,
        source: Source,
        owner: Option<&str>,
        verdict: impl FnOnce(usize) -> BlockVerdict,
    ) {
        let mut block = self.collected_copy(stored);
        if matches!(source, Source::Healed(_) | Source::Fenced(_)) {
            // The write before this one raises the sequence number, too.
            block::bump(&mut block);
        }
        let attribute = self.progress.attribute();
        match block::assign(&mut block, draft.missing(), owner, attribute, self.reserved) {
            Ok(addresses) if !addresses.is_empty() => {
                self.tell(stored.cidr, verdict(addresses.len()));
                draft.take(Taking { block, source, addresses });
            }
            _ => self.tell(stored.cidr, BlockVerdict::Full),
        }
    }

    /// Takes missing addresses from a block that is created first.
    pub fn take_claimed(
        &self,
        draft: &mut FamilyDraft,
        cidr: BlockCidr,
        source: impl FnOnce(Box<Block>) -> Source,
    ) {
        let created = block::create(cidr, self.owner, self.request.host_reserved.as_ref(), self.now);
        let mut block = created.clone();
        let wanted = if draft.wants_block { 0 } else { draft.missing() };
        let attribute = self.progress.attribute();
        // The block is the owner's, so an error is impossible.
        let addresses = block::assign(&mut block, wanted, None, attribute, self.reserved).unwrap_or_default();
        self.tell(cidr, BlockVerdict::Claimed(addresses.len()));
        draft.take(Taking { block, source: source(Box::new(created)), addresses });
    }

    pub fn need_blocks(&self, blocks: impl Iterator<Item = BlockCidr>) -> Result<(), Stop> {
        let unread = self.view.unread(blocks.map(Key::Block));
        if unread.is_empty() { Ok(()) } else { Err(Stop::Fetch(unread)) }
    }

    /// Demands the next page of the blocks' headers, if there was a page before. The planner begins again
    /// after each page, and what led to the first one need not be worked out for all of them: that grows with
    /// the number of blocks, as the number of pages does.
    fn need_next_page(&self, family: Family) -> Result<(), Stop> {
        match self.view.page_end(&Scope::Blocks { family: Some(family) }) {
            Some(_) => self.need_all(family, Depth::Header),
            None => Ok(()),
        }
    }

    /// Demands that all blocks of the family are known to a depth.
    pub fn need_all(&self, family: Family, depth: Depth) -> Result<(), Stop> {
        let scope = Scope::Blocks { family: Some(family) };
        if self.view.is_complete(&scope, depth) {
            return Ok(());
        }
        let set = match depth {
            Depth::Key => ReadSet::new().scope(scope, depth),
            _ => {
                let after = self.view.page_end(&scope).cloned();
                ReadSet::new().page(scope, depth, store::Page { after, limit: super::search::PAGE })
            }
        };
        Err(Stop::Fetch(set))
    }
}

/// Why a search has to stop.
pub(super) enum Stop {
    /// This must be read before the search can continue.
    Fetch(ReadSet),
    /// The request ends with this error.
    Error(AutoAssignError),
}

fn holds(pools: &[&std::sync::Arc<api::Pool>], block: BlockCidr) -> bool {
    pools.iter().any(|pool| pool.cidr.contains(block.cidr().first()))
}
