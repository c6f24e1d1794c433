//! Blocks in which a handle may hold addresses that it does not name, or though it does not exist, as after a
//! crash or a change by hand.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api::{BlockCidr, DecodeError, HandleId, Key, Owner};
use store::{Depth, ReadSet, Scope, Slot, View};

use crate::block;
use crate::handle::HandleDraft;
use crate::pools;

/// Further blocks in which a handle may hold addresses.
#[derive(Clone, Debug)]
pub(super) struct FurtherBlocks {
    /// The blocks that the handle does not name.
    pub blocks: Vec<BlockCidr>,
    /// Whether none of the blocks that the handle names exists.
    names_nothing: bool,
}

impl FurtherBlocks {
    /// The other blocks of a host, for a handle that holds no address in the blocks that it names. `None` for
    /// any other handle: there is nothing to look for.
    ///
    /// # Errors
    /// What must be read before.
    pub fn of_host(
        view: &View,
        host: &str,
        id: &HandleId,
        draft: &HandleDraft,
    ) -> Result<Option<FurtherBlocks>, ReadSet> {
        if !draft.exists() || draft.is_tombstone() || !holds_nothing(view, id, draft) {
            return Ok(None);
        }
        let scope = Scope::Affinities { owner: Some(Owner::Host(host.to_string())), family: None };
        if !view.is_complete(&scope, Depth::Key) {
            return Err(ReadSet::new().scope(scope, Depth::Key));
        }
        let own = view.slots(&scope).filter(|(_, slot)| **slot != Slot::Absent);
        let own = own.filter_map(|(key, _)| match key {
            Key::Affinity { block, .. } if !draft.counts().contains_key(block) => Some(*block),
            _ => None,
        });
        let blocks: Vec<BlockCidr> = own.collect();
        need_blocks(view, &blocks)?;
        let names_nothing = draft.counts().keys().all(|cidr| view.block(*cidr) == Some(None));
        Ok(Some(FurtherBlocks { blocks, names_nothing }))
    }

    /// The blocks of addresses that a caller was given, for a handle that does not exist.
    ///
    /// # Errors
    /// What must be read before.
    pub fn of_given(view: &View, given: &[IpAddr]) -> Result<FurtherBlocks, ReadSet> {
        let pool = |addr: IpAddr| pools::all(view).find(move |pool| pool.cidr.contains(addr));
        let blocks: BTreeSet<BlockCidr> =
            given.iter().filter_map(|addr| pool(*addr)?.block_of(*addr)).collect();
        need_blocks(view, &blocks)?;
        Ok(FurtherBlocks { blocks: blocks.into_iter().collect(), names_nothing: true })
    }

    /// A block that may hold addresses of the handle and cannot be parsed, with the reason. If the handle
    /// names a block that exists and holds none of its addresses, the count is merely too high, and there is
    /// no doubt.
    pub fn doubt(&self, view: &View) -> Option<(BlockCidr, DecodeError)> {
        let mut blocks = self.blocks.iter().filter(|_| self.names_nothing);
        blocks.find_map(|cidr| {
            if let Some(unreadable) = view.unreadable(&Key::Block(*cidr)) {
                return Some((*cidr, unreadable.error.clone()));
            }
            let addr = block::doubtful_holder(view.block(*cidr)??.0)?;
            let reason = format!("the handle of {addr} cannot be read");
            Some((*cidr, DecodeError::new(Key::Block(*cidr), "attributes", reason)))
        })
    }
}

/// Demands that blocks were read.
pub(super) fn need_blocks<'a>(
    view: &View,
    blocks: impl IntoIterator<Item = &'a BlockCidr>,
) -> Result<(), ReadSet> {
    let unread = view.unread(blocks.into_iter().copied().map(Key::Block));
    if unread.is_empty() { Ok(()) } else { Err(unread) }
}

/// Whether a handle certainly holds no address in the blocks that it names.
fn holds_nothing(view: &View, id: &HandleId, draft: &HandleDraft) -> bool {
    draft.counts().keys().all(|cidr| match view.block(*cidr) {
        Some(Some((block, _))) => {
            block::ordinals_of(block, id.as_str()).is_empty() && block::doubtful_holder(block).is_none()
        }
        Some(None) => true,
        None => false,
    })
}
