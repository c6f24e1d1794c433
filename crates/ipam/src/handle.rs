//! How a handle's counts change. They are raised before a block is written and lowered after it, so a count
//! may be too high and is never too low.

use std::collections::BTreeMap;

use api::{BlockCidr, Handle, HandleId, Key, Revision, Value};
use store::{Batch, Expect, View};

/// How many addresses a handle counts in each block.
pub type Counts = BTreeMap<BlockCidr, u32>;

/// A handle while a batch is being made: the content to store, and what the handle's next write has to
/// expect.
#[derive(Clone, Debug)]
pub struct HandleDraft {
    id: HandleId,
    handle: Handle,
    expect: Expect,
    is_changed: bool,
}

impl HandleDraft {
    /// The handle as a view holds it; `None` when it was not read.
    pub fn of(view: &View, id: &HandleId) -> Option<HandleDraft> {
        let (handle, expect) = match view.handle(id)? {
            Some((handle, revision)) => (handle.clone(), Expect::at(revision)),
            None => (Handle::default(), Expect::Absent),
        };
        Some(HandleDraft { id: id.clone(), handle, expect, is_changed: false })
    }

    /// The handle's identity.
    pub fn id(&self) -> &HandleId {
        &self.id
    }

    /// Whether the handle exists.
    pub fn exists(&self) -> bool {
        self.expect != Expect::Absent
    }

    /// The revision at which the handle was read; `None` for a handle that does not exist. Valid only before
    /// [`HandleDraft::write`].
    pub fn revision(&self) -> Option<&Revision> {
        match &self.expect {
            Expect::Revision(revision) => Some(revision),
            Expect::Absent | Expect::AsLeftBy(_) => None,
        }
    }

    /// The handle's counts.
    pub fn counts(&self) -> &Counts {
        &self.handle.blocks
    }

    /// Whether the handle is flagged for a deletion in two phases.
    pub fn is_tombstone(&self) -> bool {
        self.handle.deleted
    }

    /// Raises counts, for addresses that the batch takes after it writes the handle.
    pub fn raise(&mut self, by: &Counts) {
        for (block, n) in by.iter().filter(|(_, n)| **n > 0) {
            let count = self.handle.blocks.entry(*block).or_default();
            *count = count.saturating_add(*n);
            self.is_changed = true;
        }
    }

    /// Lowers counts that the caller itself raised. The caller must be certain that the handle still has
    /// these counts, and that no write can take the addresses any more. A block that the handle does not name
    /// is ignored.
    pub fn lower(&mut self, by: &Counts) {
        for (block, n) in by.iter().filter(|(_, n)| **n > 0) {
            if let Some(count) = self.handle.blocks.get(block) {
                let count = count.saturating_sub(*n);
                self.set(*block, count);
            }
        }
    }

    /// Sets a count to what the block holds, whatever the count was. The caller must either write the block
    /// earlier in the same batch, so that nobody adds an address unseen, or have read the block as absent
    /// after the handle.
    ///
    /// The handle is written even if it has this count already: it was read before the block, so by now it
    /// may count more. Then the write is refused, and the request looks again.
    pub fn set(&mut self, block: BlockCidr, count: u32) {
        match count {
            0 => self.handle.blocks.remove(&block),
            _ => self.handle.blocks.insert(block, count),
        };
        self.is_changed = true;
    }

    /// Adds the handle's write to the batch, if a count was raised or set; a handle without counts is
    /// deleted. Gives the index of the write.
    pub fn write(&mut self, batch: &mut Batch) -> Option<usize> {
        self.handle.blocks.retain(|_, count| *count > 0);
        let names_nothing = self.handle.blocks.is_empty();
        let is_needed = if names_nothing { self.exists() } else { self.is_changed };
        if !is_needed {
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
