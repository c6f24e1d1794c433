//! How a handle's counts move: by differences, raised before a block is written and lowered after it, so that a count may be
//! too high but never too low.

use std::collections::BTreeMap;

use api::{BlockCidr, Handle, HandleId, Key, Revision, Value};
use store::{Batch, Expect, View};

/// Counts by block.
pub type Counts = BTreeMap<BlockCidr, u32>;

/// A handle while a batch is made: what is, or will be, stored, and what its next write has to expect.
#[derive(Clone, Debug)]
pub struct Draft {
    id: HandleId,
    handle: Handle,
    expect: Expect,
}

impl Draft {
    /// The handle as a view knows it; `None` when it was not read.
    pub fn of(view: &View, id: &HandleId) -> Option<Draft> {
        let (handle, expect) = match view.handle(id)? {
            Some((handle, revision)) => (handle.clone(), Expect::Revision(revision.clone())),
            None => (Handle::default(), Expect::Absent),
        };
        Some(Draft { id: id.clone(), handle, expect })
    }

    /// Whether the handle exists.
    pub fn exists(&self) -> bool {
        self.expect != Expect::Absent
    }

    /// The counts.
    pub fn counts(&self) -> &Counts {
        &self.handle.blocks
    }

    /// Writes higher counts; tells the index of the write.
    pub fn raise(&mut self, batch: &mut Batch, by: &Counts) -> usize {
        for (block, n) in by.iter().filter(|(_, n)| **n > 0) {
            let count = self.handle.blocks.entry(*block).or_default();
            *count = count.saturating_add(*n);
        }
        self.put(batch)
    }

    /// Writes lower counts; the handle goes with its last one. A block that it does not name is passed over. Tells the index of the write, if there
    /// was anything to lower.
    pub fn lower(&mut self, batch: &mut Batch, by: &Counts) -> Option<usize> {
        let mut changed = false;
        for (block, n) in by.iter().filter(|(_, n)| **n > 0) {
            if let Some(count) = self.handle.blocks.get_mut(block) {
                *count = count.saturating_sub(*n);
                changed = true;
            }
        }
        changed.then(|| self.store(batch))
    }

    /// Writes that the handle holds nothing of a block. Only beside a write of that block in the same batch, or when the block was
    /// read as absent after the handle.
    pub fn clear(&mut self, batch: &mut Batch, block: BlockCidr) {
        if self.handle.blocks.remove(&block).is_some() {
            self.store(batch);
        }
    }

    /// Writes that a handle which names nothing is gone.
    pub fn end(&mut self, batch: &mut Batch) {
        if self.exists() && self.handle.blocks.is_empty() && !matches!(self.expect, Expect::AsLeftBy(_)) {
            self.store(batch);
        }
    }

    fn store(&mut self, batch: &mut Batch) -> usize {
        self.handle.blocks.retain(|_, count| *count > 0);
        if !self.handle.blocks.is_empty() {
            return self.put(batch);
        }
        let index = batch.delete(Key::Handle(self.id.clone()), self.expect.clone());
        self.expect = Expect::AsLeftBy(index);
        index
    }

    fn put(&mut self, batch: &mut Batch) -> usize {
        let value = Value::Handle(self.handle.clone());
        let index = batch.put(Key::Handle(self.id.clone()), self.expect.clone(), value);
        self.expect = Expect::AsLeftBy(index);
        index
    }
}

/// A revision as a write's expectation.
pub fn at(revision: &Revision) -> Expect {
    Expect::Revision(revision.clone())
}
