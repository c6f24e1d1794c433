//! Writes that a request has to know the outcome of.

use store::{Outcome, Report};

/// Writes of a request, each with what it does (`W`).
#[derive(Clone, Debug)]
pub(crate) struct Writes<W> {
    /// Of the batch at hand, by the index of the write.
    planned: Vec<(usize, W)>,
    /// Of earlier batches: they may or may not have been applied, or may yet be.
    in_doubt: Vec<W>,
}

impl<W> Default for Writes<W> {
    fn default() -> Writes<W> {
        Writes { planned: Vec::new(), in_doubt: Vec::new() }
    }
}

impl<W> Writes<W> {
    /// Notes what the batch that is about to be committed does; what was noted of one that never was is forgotten.
    pub fn plan(&mut self, writes: Vec<(usize, W)>) {
        self.planned = writes;
    }

    /// Learns what came of the batch; gives what was applied. What is unknown is in doubt from now on.
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

    /// What may or may not have been applied.
    pub fn in_doubt(&self) -> &[W] {
        &self.in_doubt
    }

    /// Takes out what is in doubt, for the caller to look at; [`Writes::doubt`] takes back what stays so.
    pub fn take_in_doubt(&mut self) -> Vec<W> {
        std::mem::take(&mut self.in_doubt)
    }

    /// The outcome of that write is unknown still.
    pub fn doubt(&mut self, write: W) {
        self.in_doubt.push(write);
    }

    /// Writes that can no longer be applied are not in doubt: somebody has written their record since.
    pub fn forget(&mut self, is_void: impl Fn(&W) -> bool) {
        self.in_doubt.retain(|write| !is_void(write));
    }
}
