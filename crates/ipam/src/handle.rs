//! How a handle's counts move: raised before a block is written and lowered after it, so that a count may be too high but never too low.

use std::collections::BTreeMap;

use api::{BlockCidr, Handle, HandleId, Key, Revision, Value};
use store::{Batch, Expect, View};

/// Counts by block.
pub type Counts = BTreeMap<BlockCidr, u32>;

/// A handle while a batch is made: what is to be stored of it, and what its next write has to expect.
#[derive(Clone, Debug)]
pub struct Draft {
    id: HandleId,
    handle: Handle,
    expect: Expect,
    is_changed: bool,
}

impl Draft {
    /// The handle as a view knows it; `None` when it was not read.
    pub fn of(view: &View, id: &HandleId) -> Option<Draft> {
        let (handle, expect) = match view.handle(id)? {
            Some((handle, revision)) => (handle.clone(), Expect::at(revision)),
            None => (Handle::default(), Expect::Absent),
        };
        Some(Draft { id: id.clone(), handle, expect, is_changed: false })
    }

    /// Whether the handle exists.
    pub fn exists(&self) -> bool {
        self.expect != Expect::Absent
    }

    /// The revision that it was read with; `None` for a handle that does not exist. Only before it is written.
    pub fn revision(&self) -> Option<&Revision> {
        match &self.expect {
            Expect::Revision(revision) => Some(revision),
            Expect::Absent | Expect::AsLeftBy(_) => None,
        }
    }

    /// The counts.
    pub fn counts(&self) -> &Counts {
        &self.handle.blocks
    }

    /// Whether it is one that is being deleted in two steps.
    pub fn is_tombstone(&self) -> bool {
        self.handle.deleted
    }

    /// Counts more, for what the batch writes after the handle.
    pub fn raise(&mut self, by: &Counts) {
        for (block, n) in by.iter().filter(|(_, n)| **n > 0) {
            let count = self.handle.blocks.entry(*block).or_default();
            *count = count.saturating_add(*n);
            self.is_changed = true;
        }
    }

    /// Counts less: what was raised by somebody who is certain that the handle still counts it, and that no write takes it any more. A block that the handle
    /// does not name is passed over.
    pub fn lower(&mut self, by: &Counts) {
        for (block, n) in by.iter().filter(|(_, n)| **n > 0) {
            if let Some(count) = self.handle.blocks.get(block) {
                let count = count.saturating_sub(*n);
                self.set(*block, count);
            }
        }
    }

    /// Counts what a block holds, whatever was counted of it. Only when that block is written earlier in the same batch, so that nothing is added to it unseen,
    /// or was read as absent after the handle.
    pub fn set(&mut self, block: BlockCidr, count: u32) {
        let before = match count {
            0 => self.handle.blocks.remove(&block),
            _ => self.handle.blocks.insert(block, count),
        };
        self.is_changed |= before.unwrap_or_default() != count;
    }

    /// Writes it, where it is to be stored otherwise than it is; the handle goes with its last count. Tells the index of the write.
    pub fn write(&mut self, batch: &mut Batch) -> Option<usize> {
        self.handle.blocks.retain(|_, count| *count > 0);
        let names_nothing = self.handle.blocks.is_empty();
        let is_to_go = names_nothing && self.exists();
        if !(self.is_changed || is_to_go) {
            return None;
        }
        self.is_changed = false;
        let key = Key::Handle(self.id.clone());
        let index = match names_nothing {
            true => batch.delete(key, self.expect.clone()),
            false => batch.put(key, self.expect.clone(), Value::Handle(self.handle.clone())),
        };
        self.expect = Expect::AsLeftBy(index);
        Some(index)
    }
}
