//! Handles agree with blocks: a count is never lower than what the block holds for the handle, because a
//! release by handle finds only blocks that the handle names. At rest, it is not higher, either.

use std::collections::{BTreeMap, BTreeSet};

use api::{Block, BlockCidr, Handle, HandleId};

use super::{Moment, in_arc, in_tree, is_held};
use crate::invariants::Violation;

#[derive(Debug, Default)]
pub(super) struct Handles {
    /// By handle and block.
    counts: BTreeMap<(HandleId, BlockCidr), Count>,
    /// Handles that count nothing at all.
    empty: BTreeSet<HandleId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    counted: u32,
    held: u32,
}

impl Handles {
    pub fn feed_block(&mut self, block: &Block) {
        for ordinal in 0..block.allocations.len() as u32 {
            // No handle record exists for what Windows keeps.
            let attribute = block.attribute(ordinal).filter(|_| is_held(block, ordinal));
            if let Some(id) = attribute.and_then(|a| a.handle()).and_then(HandleId::new) {
                self.counts.entry((id, block.cidr)).or_default().held += 1;
            }
        }
    }

    pub fn feed_handle(&mut self, id: &HandleId, handle: &Handle) {
        for (block, counted) in handle.blocks.iter().filter(|(_, counted)| **counted > 0) {
            self.counts.entry((id.clone(), *block)).or_default().counted += counted;
        }
        if handle.blocks.values().all(|counted| *counted == 0) {
            self.empty.insert(id.clone());
        }
    }

    pub fn bytes(&self) -> usize {
        let entry = in_tree(size_of::<((HandleId, BlockCidr), Count)>());
        let counts = self.counts.keys().map(|(id, _)| entry + in_arc(id.as_str())).sum::<usize>();
        let empty = self.empty.iter().map(|id| in_tree(size_of::<HandleId>()) + in_arc(id.as_str()));
        counts + empty.sum::<usize>()
    }

    pub fn check(&self, moment: Moment, tell: &mut impl FnMut(Violation)) {
        for ((id, block), Count { counted, held }) in &self.counts {
            if counted < held || moment == Moment::AtRest && counted > held {
                let counted = (*counted > 0 || self.exists(id)).then_some(*counted);
                let (handle, block, held) = (id.clone(), *block, *held);
                tell(Violation::Handle { handle, block, counted, held });
            }
        }
        if moment == Moment::AtRest {
            self.empty.iter().for_each(|id| tell(Violation::EmptyHandle(id.clone())));
        }
    }

    /// Whether the handle has a record.
    fn exists(&self, id: &HandleId) -> bool {
        let all = self.counts.range((id.clone(), BlockCidr::LEAST)..);
        let mut mine = all.take_while(|((other, _), _)| other == id);
        self.empty.contains(id) || mine.any(|(_, count)| count.counted > 0)
    }
}
