//! How a handle's counts move: by differences, raised before a block is written and lowered after it, so that a count may be
//! too high but never too low.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::{BlockCidr, Handle, HandleId, Key, Revision, Value};
use store::{Batch, Expect, Op, Outcome, Report, View};

/// Counts by block.
pub type Counts = BTreeMap<BlockCidr, u32>;

/// A handle while a batch is made: what is, or will be, stored, and what its next write has to expect.
#[derive(Clone, Debug)]
pub struct Draft {
    id: HandleId,
    handle: Handle,
    expect: Expect,
    /// Whether blocks were forgotten that are still stored.
    is_cleared: bool,
}

impl Draft {
    /// The handle as a view knows it; `None` when it was not read.
    pub fn of(view: &View, id: &HandleId) -> Option<Draft> {
        let (handle, expect) = match view.handle(id)? {
            Some((handle, revision)) => (handle.clone(), Expect::Revision(revision.clone())),
            None => (Handle::default(), Expect::Absent),
        };
        Some(Draft { id: id.clone(), handle, expect, is_cleared: false })
    }

    /// Whether the handle exists.
    pub fn exists(&self) -> bool {
        self.expect != Expect::Absent
    }

    /// The counts.
    pub fn counts(&self) -> &Counts {
        &self.handle.blocks
    }

    /// Whether it is one that is being deleted in two steps.
    pub fn is_tombstone(&self) -> bool {
        self.handle.deleted
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

    /// Forgets a block, for [`Draft::end`] to write. Only when that block is written earlier in the same batch, or was read as absent after the
    /// handle.
    pub fn clear(&mut self, block: BlockCidr) {
        self.is_cleared |= self.handle.blocks.remove(&block).is_some();
    }

    /// Counts what of a block is left. Only when that block is written earlier in the same batch.
    pub fn leave(&mut self, block: BlockCidr, count: u32) {
        self.is_cleared |= self.handle.blocks.insert(block, count) != Some(count);
    }

    /// Writes what [`Draft::clear`] forgot, of all blocks at once, as the count may be too high until then; and that a handle which names nothing is gone.
    pub fn end(&mut self, batch: &mut Batch) {
        if self.is_cleared || self.exists() && self.handle.blocks.is_empty() {
            self.is_cleared = false;
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

/// The writes of a handle in a batch, for finding out what came of them.
#[derive(Clone, Debug)]
pub struct Written {
    /// The handle's revision before the first of them.
    before: Option<Revision>,
    /// Their indexes, and what each stores; `None` for a deletion.
    writes: Vec<(usize, Option<Arc<Value>>)>,
}

/// What is known of writes in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// None was applied so far.
    NotApplied,
    /// Those up to and with the one of that index were applied.
    Applied(usize),
    /// Somebody has written the handle since. It cannot be told what was applied before that; nothing of it can be any more.
    Unclear,
}

impl Written {
    /// The writes of a handle in a batch; the first of them expects what was there before.
    pub fn of(batch: &Batch, id: &HandleId) -> Written {
        let writes = batch.writes.iter().enumerate().filter(|(_, write)| match &write.key {
            Key::Handle(other) => other == id,
            _ => false,
        });
        let before = writes.clone().next().and_then(|(_, first)| match &first.expect {
            Expect::Revision(revision) => Some(revision.clone()),
            Expect::Absent | Expect::AsLeftBy(_) => None,
        });
        let stored = |op: &Op| match op {
            Op::Put(value) => Some(value.clone()),
            Op::Delete => None,
        };
        Written { before, writes: writes.map(|(index, write)| (index, stored(&write.op))).collect() }
    }

    /// The index of the last one that was applied for certain.
    pub fn applied(&self, report: &Report) -> Option<usize> {
        let applied = |index: &usize| matches!(report.outcomes.get(*index), Some(Outcome::Applied(_)));
        self.writes.iter().map(|(index, _)| *index).rfind(applied)
    }

    /// Those whose outcome is unknown; `None` when there are none.
    pub fn in_doubt(mut self, report: &Report) -> Option<Written> {
        for (index, stored) in &self.writes {
            if let Some(Outcome::Applied(revision)) = report.outcomes.get(*index) {
                self.before = stored.as_ref().map(|_| revision.clone());
            }
        }
        self.writes.retain(|(index, _)| matches!(report.outcomes.get(*index), Some(Outcome::Unknown(_))));
        (!self.writes.is_empty()).then_some(self)
    }

    /// What came of writes in doubt, by the handle as it is found later. Keeps those that may yet be applied: until somebody writes the handle.
    pub fn settle(&mut self, found: Option<(&Handle, &Revision)>) -> Fate {
        let revision = found.map(|(_, revision)| revision);
        if revision == self.before.as_ref() {
            return Fate::NotApplied;
        }
        let stands = |(_, stored): &(usize, Option<Arc<Value>>)| match (stored.as_deref(), found) {
            (Some(Value::Handle(stored)), Some((handle, _))) => stored == handle,
            (None, None) => true,
            _ => false,
        };
        self.before = revision.cloned();
        match self.writes.iter().rposition(stands) {
            Some(at) => Fate::Applied(self.writes.drain(..=at).map(|(index, _)| index).fold(0, usize::max)),
            None => {
                self.writes.clear();
                Fate::Unclear
            }
        }
    }

    /// Whether nothing is in doubt any more.
    pub fn is_settled(&self) -> bool {
        self.writes.is_empty()
    }
}

/// A revision as a write's expectation.
pub fn at(revision: &Revision) -> Expect {
    Expect::Revision(revision.clone())
}
