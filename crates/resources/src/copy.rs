//! Copies everything from one store to another, of whatever kinds they are.

use std::time::Duration;

use store::{Batch, Outcome, Refusal, Store, StoreError, Write};

use crate::contents::{Contents, Counts, ReadError};
use crate::initialise::with_ready;

/// How often the two are looked at before the copy is given up because the source keeps changing.
const LOOKS: usize = 10;
/// Records written at once.
const BATCH: usize = 500;

/// Why nothing was copied, or not everything. What had been written is then to be taken back with [`Copying::undo`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// There is nothing in the source.
    #[error("the source is empty: there is nothing to copy")]
    NothingThere,
    /// There is something in the target.
    #[error("the target is not empty, and nothing was changed there. It holds: {0}")]
    NotEmpty(Counts),
    /// There is something in the target that nobody can read.
    #[error("the target is not empty, and nothing was changed there: {0}")]
    HoldsUnreadable(StoreError),
    /// The source cannot be read.
    #[error("the source cannot be read: {0}")]
    Source(ReadError),
    /// The target cannot be read.
    #[error("the target cannot be read: {0}")]
    Target(ReadError),
    /// The target cannot be written.
    #[error("the target cannot be written: {0}")]
    Write(StoreError),
    /// The target does not take a record.
    #[error("the target does not take {key}: {refusal}")]
    Refused {
        /// The record.
        key: String,
        /// Its words.
        refusal: Refusal,
    },
    /// Somebody writes to the source all the time.
    #[error(
        "the source is still being written to, so that no copy of it is complete. Stop those who use it, then copy again"
    )]
    Changing,
}

/// A copy that is being made.
#[derive(Debug)]
pub struct Copying<'a, S, T> {
    source: &'a S,
    target: &'a T,
    /// For each call to a store.
    within: Duration,
    /// Whether the datastore is ready, as the target is to say; `None` for what the source says.
    ready: Option<bool>,
    /// What the source held when it was last looked at, as the target is to hold it.
    wanted: Contents,
}

impl<'a, S: Store, T: Store> Copying<'a, S, T> {
    /// A copy from `source` to `target`. Where the source was locked for the copy's sake, `ready` is what it said before.
    pub fn new(source: &'a S, target: &'a T, within: Duration, ready: Option<bool>) -> Self {
        Copying { source, target, within, ready, wanted: Contents::default() }
    }

    /// Copies to a target that holds nothing, until a look at both finds no difference. `tell` is told how many records of how many are
    /// written. Values go as they are: uids and times of creation stay, revisions are the target's own.
    ///
    /// # Errors
    /// See [`CopyError`].
    pub async fn run(&mut self, mut tell: impl FnMut(usize, usize)) -> Result<Counts, CopyError> {
        let found = match Contents::read(self.target, self.within).await {
            Err(ReadError::Unreadable(error)) => return Err(CopyError::HoldsUnreadable(error)),
            found => found.map_err(CopyError::Target)?,
        };
        if !found.is_empty() {
            return Err(CopyError::NotEmpty(found.counts()));
        }
        for _ in 0..LOOKS {
            let source = Contents::read(self.source, self.within).await.map_err(CopyError::Source)?;
            if source.is_empty() {
                return Err(CopyError::NothingThere);
            }
            self.wanted = self.as_wanted(source);
            let found = Contents::read(self.target, self.within).await.map_err(CopyError::Target)?;
            let changes = self.wanted.changes_from(&found);
            if changes.is_empty() {
                return Ok(found.counts());
            }
            self.write(&changes, &mut tell).await?;
        }
        Err(CopyError::Changing)
    }

    fn as_wanted(&self, source: Contents) -> Contents {
        let information = self.ready.zip(source.cluster_information());
        match information.map(|(ready, information)| with_ready(information, ready)) {
            Some(information) => source.with(information),
            None => source,
        }
    }

    /// Takes back what the copy has written to the target, as far as nobody changed it; tells how many records.
    ///
    /// # Errors
    /// When it cannot be done; then some of it stays.
    pub async fn undo(&self) -> Result<usize, CopyError> {
        let mut removed = 0;
        // A batch in doubt may land after the first look.
        for _ in 0..LOOKS {
            let found = Contents::read(self.target, self.within).await.map_err(CopyError::Target)?;
            let removals = self.wanted.removals_from(&found);
            if removals.is_empty() {
                break;
            }
            self.write(&removals, &mut |_, _| {}).await?;
            removed += removals.len();
        }
        Ok(removed)
    }

    async fn write(&self, writes: &[Write], tell: &mut impl FnMut(usize, usize)) -> Result<(), CopyError> {
        for (at, part) in writes.chunks(BATCH).enumerate() {
            let batch = Batch { writes: part.to_vec(), guards: Vec::new() };
            let report = self.target.commit(&batch, self.within).await.map_err(CopyError::Write)?;
            if let Some((index, refusal)) = report.refusal() {
                let key = batch.writes[index].key.to_string();
                return Err(CopyError::Refused { key, refusal: refusal.clone() });
            }
            if report.outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Applied(_))) {
                // The next look tells what is still to be done.
                return Ok(());
            }
            tell(at * BATCH + part.len(), writes.len());
        }
        Ok(())
    }
}
