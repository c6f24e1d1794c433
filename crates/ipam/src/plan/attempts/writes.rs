//! Tracks writes whose outcome a request has to know.

use store::{Outcome, Report};

/// A request's writes; `W` says what a write does.
#[derive(Clone, Debug)]
pub(crate) struct Writes<W> {
    /// The writes of the batch that is being committed, each with its index in the batch.
    planned: Vec<(usize, W)>,
    /// Writes of earlier batches with unknown outcome: each may have been applied, or may still be applied
    /// later.
    in_doubt: Vec<W>,
}

impl<W> Default for Writes<W> {
    fn default() -> Writes<W> {
        Writes { planned: Vec::new(), in_doubt: Vec::new() }
    }
}

impl<W> Writes<W> {
    /// Remembers the writes of the batch that is about to be committed. They replace those of a batch that
    /// was never committed.
    pub fn plan(&mut self, writes: Vec<(usize, W)>) {
        self.planned = writes;
    }

    /// Takes in the report of the batch. Gives the writes that were applied. Writes with unknown outcome are
    /// in doubt from now on.
    pub fn observe(&mut self, report: &Report) -> Vec<W> {
        let mut applied = Vec::new();
        for (index, write) in std::mem::take(&mut self.planned) {
            match report.outcomes.get(index) {
                Some(Outcome::Applied(_)) => applied.push(write),
                Some(Outcome::Unknown(_)) => self.in_doubt.push(write),
                _ => {}
            }
        }
        applied
    }

    /// The writes in doubt.
    pub fn in_doubt(&self) -> &[W] {
        &self.in_doubt
    }

    /// Takes out the writes in doubt. The caller decides each one, and gives those that stay in doubt back to
    /// [`Writes::doubt`].
    pub fn take_in_doubt(&mut self) -> Vec<W> {
        std::mem::take(&mut self.in_doubt)
    }

    /// Marks a write as still in doubt.
    pub fn doubt(&mut self, write: W) {
        self.in_doubt.push(write);
    }

    /// Forgets writes in doubt that can no longer be applied, because their record was written since.
    pub fn forget(&mut self, is_void: impl Fn(&W) -> bool) {
        self.in_doubt.retain(|write| !is_void(write));
    }
}
