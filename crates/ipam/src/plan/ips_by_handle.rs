//! Finds the addresses that a handle holds (`libcalico-go/lib/ipam/ipam.go`, `IPsByHandle`). This planner
//! only reads.

use std::convert::Infallible;
use std::net::IpAddr;

use api::{Attribute, BlockCidr, DecodeError, HandleId, Key, Kind, Timestamp};
use store::{Depth, ReadSet, Scope, View};

use crate::block::{self, ReleaseIp};
use crate::handle::HandleDraft;
use crate::plan::further_blocks::{FurtherBlocks, need_blocks};
use crate::plan::release_by_handle::Stays;
use crate::plan::{Plan, Planner};

/// A question for the addresses that a handle holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpsByHandle {
    /// The handle.
    pub handle: HandleId,
    /// The host whose blocks are searched if the handle holds nothing in the blocks that it names.
    pub host: Option<String>,
    /// The addresses whose blocks are searched if the handle does not exist.
    pub given: Vec<IpAddr>,
}

/// What a handle holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldIps {
    /// The addresses in use, in ascending order, without those that cool down. Each has the sequence number
    /// of its assignment, so that a later release frees no later assignment of the same address.
    pub ips: Vec<ReleaseIp>,
    /// What cannot be parsed of blocks that may hold further addresses of the handle. Calico logs it.
    pub unreadable: Vec<DecodeError>,
}

impl HeldIps {
    /// The assignments: the addresses with their sequence numbers.
    pub fn assignments(&self) -> impl Iterator<Item = (IpAddr, u64)> {
        self.ips.iter().map(|ip| (ip.addr, ip.sequence.unwrap_or_default()))
    }
}

impl IpsByHandle {
    /// A question that looks only at the blocks that the handle names, as Calico does.
    pub fn new(handle: HandleId) -> IpsByHandle {
        IpsByHandle { handle, host: None, given: Vec::new() }
    }

    /// The planner for this question. It never writes.
    pub fn planner(self) -> IpsByHandlePlanner {
        IpsByHandlePlanner { request: self }
    }
}

/// The planner for [`IpsByHandle`].
#[derive(Clone, Debug)]
pub struct IpsByHandlePlanner {
    request: IpsByHandle,
}

impl Planner for IpsByHandlePlanner {
    /// `None` when the handle does not exist, and none of the given addresses' blocks holds an address of it.
    type Answer = Option<HeldIps>;
    type Error = Infallible;

    fn reads(&self) -> ReadSet {
        let set = ReadSet::new().key(Key::Handle(self.request.handle.clone()));
        if self.request.given.is_empty() { set } else { set.scope(Scope::kind(Kind::IPPool), Depth::Full) }
    }

    fn plan(&mut self, view: &View, _: Timestamp, _: u64) -> Result<Plan<Self::Answer>, Infallible> {
        Ok(self.held(view).map_or_else(Plan::Fetch, Plan::Done))
    }

    fn can_do_without(&self, key: &Key) -> bool {
        matches!(key, Key::Block(_))
    }
}

impl IpsByHandlePlanner {
    /// What the handle holds.
    ///
    /// # Errors
    /// What must be read before.
    fn held(&self, view: &View) -> Result<Option<HeldIps>, ReadSet> {
        let IpsByHandle { handle: id, host, given } = &self.request;
        let draft = HandleDraft::of(view, id).ok_or_else(|| self.reads())?;
        // Blocks are read after the handle: what it counted before is in them by then.
        need_blocks(view, draft.counts().keys())?;
        let search = match host {
            _ if !draft.exists() => Some(FurtherBlocks::of_given(view, given)?),
            Some(host) => FurtherBlocks::of_host(view, host, id, &draft)?,
            None => None,
        };
        let further = search.iter().flat_map(|search| &search.blocks);
        let mut held = HeldIps::default();
        held.ips.extend(addresses(view, id, draft.counts().keys().chain(further)).map(|(_, _, held)| held));
        held.ips.sort_by_key(|ip| ip.addr);
        for (cidr, count) in draft.counts() {
            if let Some(unreadable) = view.unreadable(&Key::Block(*cidr)) {
                held.unreadable.push(unreadable.error.clone());
            } else if let Some(Some((block, _))) = view.block(*cidr)
                && let Some(Stays::Unreadable(error)) = Stays::of(block, id, 0, *count)
            {
                held.unreadable.push(error);
            }
        }
        if let Some((_, error)) = search.filter(|_| held.ips.is_empty()).and_then(|it| it.doubt(view)) {
            held.unreadable.push(error);
        }
        Ok((draft.exists() || held != HeldIps::default()).then_some(held))
    }
}

/// The addresses that a handle holds in blocks, each with its attribute and what must hold for its release.
pub(super) fn addresses<'a>(
    view: &'a View,
    id: &'a HandleId,
    blocks: impl Iterator<Item = &'a BlockCidr>,
) -> impl Iterator<Item = (IpAddr, &'a Attribute, ReleaseIp)> {
    let stored = blocks.filter_map(|cidr| view.block(*cidr).flatten());
    stored.flat_map(move |(stored, _)| {
        block::ordinals_of(stored, id.as_str()).into_iter().filter_map(move |ordinal| {
            let (addr, attribute) = (stored.cidr.addr(ordinal)?, stored.attribute(ordinal)?);
            let sequence = Some(stored.sequence_of(ordinal));
            Some((addr, &**attribute, ReleaseIp { addr, handle: Some(id.as_str().to_string()), sequence }))
        })
    })
}
