//! Assigns an address that the caller names (`libcalico-go/lib/ipam/ipam.go`, `AssignIP`). Selectors,
//! reservations and limits on blocks play no part.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use api::{Attribute, Block, BlockCidr, HandleId, Key, Kind, Owner, Pool, Timestamp, Use};
use store::{Batch, Depth, Expect, ReadSet, Report, Scope, Slot, View};

use crate::affinity::{self, Action, BlockState};
use crate::block::{self, AssignError};
use crate::config;
use crate::handle::Counts;
use crate::plan::progress::{Overtaken, Progress, WritePurposes};
use crate::plan::{Plan, Planner};
use crate::pools;

/// A request for one address.
#[derive(Clone, Debug)]
pub struct AssignIp {
    /// The address.
    pub addr: IpAddr,
    /// The host that gets the address.
    pub host: String,
    /// What the address is for; `None` to ignore the pool's `allowedUses`.
    pub intended_use: Option<Use>,
    /// The handle by which the address can be released.
    pub handle: Option<HandleId>,
    /// The owner of the address. Together with the handle, the attributes are the request's identity.
    pub attributes: BTreeMap<String, String>,
    /// How many addresses of the family the handle may hold. When the handle already holds this very address,
    /// that is success. If the request fails, the handle keeps what the request has taken: another request
    /// may have been answered it.
    pub max_per_handle: Option<u32>,
}

/// Why the address cannot be assigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignIpError {
    /// No enabled pool contains the address. (The line break is Calico's.)
    #[error("The provided IP address is not in a configured pool\n")]
    NoPool,
    /// The pool that contains the address is for other uses.
    #[error(
        "IP address {addr} is in IP pool {pool:?}, which is not allowed for use {wanted:?} (allowedUses: [{allowed}])"
    )]
    Use {
        /// The address.
        addr: IpAddr,
        /// The pool.
        pool: String,
        /// The use that the request names.
        wanted: &'static str,
        /// The uses that the pool allows.
        allowed: String,
    },
    /// The address is in use or cooling down; or its block has another owner, and affinity is strict
    /// or the address is for a tunnel.
    #[error(transparent)]
    Assign(#[from] AssignError),
    /// The handle holds as many addresses as it may.
    #[error(
        "handle {handle} already has IP(s) allocated, cannot assign additional IP {addr} (maxAllocPerIPVersion={most})"
    )]
    HandleLimit {
        /// The handle.
        handle: HandleId,
        /// The address.
        addr: IpAddr,
        /// How many addresses of the family the handle may hold.
        most: u32,
    },
    /// The block that would have to be created overlaps a block of another size, left by an earlier pool.
    /// Release the addresses of that block, or give the pool its block size.
    #[error("block {cidr} overlaps the existing block {other}")]
    Overlap {
        /// The block that would have to be created.
        cidr: BlockCidr,
        /// The block that exists.
        other: BlockCidr,
    },
    /// Another request has released the handle in the meantime.
    #[error(transparent)]
    Overtaken(#[from] Overtaken),
}

/// A stored block of the scope that overlaps `cidr`, and is another one.
pub(super) fn overlapping(view: &View, scope: &Scope, cidr: BlockCidr) -> Option<BlockCidr> {
    let mut stored = view.slots(scope).filter(|(_, slot)| **slot != Slot::Absent);
    stored.find_map(|(key, _)| match key {
        Key::Block(other) if *other != cidr && other.cidr().overlaps(&cidr.cidr()) => Some(*other),
        _ => None,
    })
}

impl AssignIp {
    /// The planner for this request.
    pub fn planner(self) -> AssignIpPlanner {
        let attribute = Attribute {
            handle_id: self.handle.as_ref().map(|id| id.as_str().to_string()),
            owner: self.attributes.clone(),
            ..Attribute::default()
        };
        let owner = match self.intended_use {
            Some(Use::LoadBalancer) => Owner::load_balancer(),
            _ => Owner::Host(self.host.clone()),
        };
        let progress = Progress::new(owner.clone(), Arc::new(attribute), self.handle.clone())
            .of_limited(self.max_per_handle);
        AssignIpPlanner { request: self, owner, progress, refusal: config::Refusal::default() }
    }
}

/// The planner for [`AssignIp`].
#[derive(Clone, Debug)]
pub struct AssignIpPlanner {
    request: AssignIp,
    owner: Owner,
    progress: Progress,
    refusal: config::Refusal,
}

impl AssignIpPlanner {
    fn pool<'a>(&self, view: &'a View) -> Result<&'a Arc<Pool>, AssignIpError> {
        let addr = self.request.addr;
        let pool = pools::all(view)
            .find(|pool| pool.is_enabled() && pool.cidr.contains(addr))
            .ok_or(AssignIpError::NoPool)?;
        match self.request.intended_use {
            Some(wanted) if !pool.allows(wanted) => Err(AssignIpError::Use {
                addr,
                pool: pool.name.clone(),
                wanted: wanted.name(),
                allowed: pool.allowed_uses.join(" "),
            }),
            _ => Ok(pool),
        }
    }

    /// Whether the handle holds as many addresses of the family as it may, and this address is one of them.
    fn holds_it_already(&self, view: &View, cidr: BlockCidr) -> Result<bool, AssignIpError> {
        let Some((id, most)) = self.limit(view) else { return Ok(false) };
        match self.is_held(view, cidr, id) {
            true => Ok(true),
            false => {
                let (handle, addr) = (id.clone(), self.request.addr);
                Err(AssignIpError::HandleLimit { handle, addr, most })
            }
        }
    }

    /// The handle and its limit of addresses of the family, where it holds as many as that.
    fn limit(&self, view: &View) -> Option<(&HandleId, u32)> {
        let (most, id) = (self.request.max_per_handle?, self.request.handle.as_ref()?);
        let (handle, _) = view.handle(id)??;
        let held = self.progress.held_count(view, id, handle, api::Family::of(self.request.addr));
        (held >= most).then_some((id, most))
    }

    fn is_held(&self, view: &View, cidr: BlockCidr, id: &HandleId) -> bool {
        let Some(Some((block, _))) = view.block(cidr) else { return false };
        let ordinal = cidr.ordinal(self.request.addr);
        ordinal.is_some_and(|ordinal| block::ordinals_of(block, id.as_str()).contains(&ordinal))
    }

    /// The block with the address taken, and what its write has to expect. Adds the writes that make the
    /// block the owner's first.
    fn take(
        &self,
        batch: &mut Batch,
        view: &View,
        cidr: BlockCidr,
        now: Timestamp,
        purposes: &mut WritePurposes,
    ) -> Result<(Block, Expect), AssignIpError> {
        let owner_text = self.owner.affinity_text();
        let found = view.affinity(&self.owner, cidr).flatten();
        let seen = affinity::block_state(view, cidr, &owner_text);
        let config = config::of(view);
        let stored = view.block(cidr).flatten();
        let (mut block, expect) = match (affinity::action(found.map(|(a, _)| a.state), seen), stored) {
            (Action::Heal, Some((stored, revision))) => {
                let healed = affinity::heal(batch, &self.owner, found, stored.clone(), revision);
                purposes.claims.push(healed);
                let mut block = stored.clone();
                block::bump(&mut block);
                (block, Expect::AsLeftBy(healed.written))
            }
            (_, Some((stored, revision))) if self.progress.must_fence(cidr) => {
                let index = purposes.fence(batch, stored, Expect::at(revision));
                let mut block = stored.clone();
                block::bump(&mut block);
                (block, Expect::AsLeftBy(index))
            }
            (_, Some((stored, revision))) => (stored.clone(), Expect::at(revision)),
            (_, None) => {
                let block = block::create(cidr, &self.owner, None, now);
                let claimed = affinity::claim(batch, &self.owner, found, block.clone());
                purposes.claims.push(claimed);
                (block, Expect::AsLeftBy(claimed.written))
            }
        };
        block::collect(&mut block, now, config.cooldown_seconds);
        let is_strict =
            config.strict_affinity || self.request.intended_use.is_some_and(Use::is_never_borrowed);
        let strict = is_strict.then_some(owner_text.as_str());
        block::assign_addr(&mut block, self.request.addr, strict, self.progress.attribute())?;
        Ok((block, expect))
    }

    /// Deletes the owner's affinity, if it is stale. The caller must write the block before, with the
    /// revision by which the affinity was found to be stale: otherwise it could be that of a claim which the
    /// owner has begun since.
    fn tidy(&self, batch: &mut Batch, view: &View, cidr: BlockCidr) {
        let seen = affinity::block_state(view, cidr, &self.owner.affinity_text());
        let found = view.affinity(&self.owner, cidr).flatten();
        if let (BlockState::Anothers | BlockState::Ownerless, Some((_, revision))) = (seen, found) {
            affinity::drop_stale(batch, &self.owner, cidr, revision);
        }
    }
}

impl Planner for AssignIpPlanner {
    type Answer = ();
    type Error = AssignIpError;

    fn reads(&self) -> ReadSet {
        ReadSet::new()
            .key(Key::IpamConfig)
            .and(self.progress.reads())
            .scope(Scope::kind(Kind::IPPool), Depth::Full)
    }

    fn plan(&mut self, view: &View, now: Timestamp, _seed: u64) -> Result<Plan<()>, AssignIpError> {
        let pool = self.pool(view)?;
        let cidr = pool.block_of(self.request.addr).ok_or(AssignIpError::NoPool)?;
        let block = [Key::Block(cidr), Key::Affinity { owner: self.owner.clone(), block: cidr }];
        let missing = self.progress.missing(view).and(view.missing(block));
        if !missing.is_empty() {
            return Ok(Plan::Fetch(missing));
        }
        self.progress.settle(view)?;
        if !affinity::is_proven(view, &self.owner, cidr) {
            // The block must not overlap a block of another size, left by an earlier pool.
            let scope = Scope::Blocks { family: Some(cidr.family()) };
            if !view.is_complete(&scope, Depth::Key) {
                return Ok(Plan::Fetch(ReadSet::new().scope(scope, Depth::Key)));
            }
            let overlapping = overlapping(view, &scope, cidr);
            if let Some(other) = overlapping {
                return Err(AssignIpError::Overlap { cidr, other });
            }
        }
        let mut batch = Batch::new();
        let mut purposes = WritePurposes::default();
        let is_got = self.progress.taken_addresses(cidr.family()).next().is_some()
            || self.holds_it_already(view, cidr)?;
        let taken = match is_got {
            true => None,
            false => match self.take(&mut batch, view, cidr, now, &mut purposes) {
                Err(AssignIpError::Assign(refused @ AssignError::HostAffinity)) => {
                    let missing = self.refusal.missing(view);
                    return if missing.is_empty() { Err(refused.into()) } else { Ok(Plan::Fetch(missing)) };
                }
                taken => Some(taken?),
            },
        };
        self.progress.heal(&mut batch, view, |_| !is_got, &mut purposes);
        self.progress.fence(&mut batch, view, |block| taken.is_some() && block == cidr, &mut purposes);
        let by = taken.iter().map(|_| (cidr, 1)).collect();
        self.progress.count(&mut batch, view, by, Counts::new());
        if let Some((block, expect)) = taken {
            pools::guard(&mut batch, view, pool);
            purposes.place(&mut batch, block, expect, vec![self.request.addr]);
            purposes.prove(&mut batch, view, &self.owner, cidr, pool);
            purposes.only_tidies_from(&batch);
            self.tidy(&mut batch, view, cidr);
        }
        self.progress.intend(purposes);
        Ok(if batch.is_empty() { Plan::Done(()) } else { Plan::Commit { batch, answer: () } })
    }

    fn is_answered_by(&self, report: &Report) -> bool {
        self.progress.is_answered_by(report)
    }

    fn observe(&mut self, report: &Report) {
        self.progress.observe(report);
    }

    fn owes(&self) -> bool {
        self.progress.owes()
    }

    fn give_up(&mut self, view: &View, now: Timestamp) -> Plan<()> {
        self.progress.give_up(view, now)
    }
}
