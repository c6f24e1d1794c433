//! Copies everything from one store to another, whatever their backends are.

use std::time::Duration;

use store::{Batch, Outcome, Refusal, Store, StoreError, Write};

use crate::contents::{Contents, Counts, ReadError};
use crate::initialise::with_ready;

/// How many times the two stores are compared before the copy is given up because the source keeps changing.
const LOOKS: usize = 10;
/// How many records are written at once.
const BATCH: usize = 500;

/// Why nothing, or not everything, was copied. [`Copying::undo`] takes back what was written until then.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The source is empty.
    #[error("the source is empty: there is nothing to copy")]
    NothingThere,
    /// The target is not empty.
    #[error("the target is not empty, and nothing was changed there. It holds: {0}")]
    NotEmpty(Counts),
    /// The target is not empty: it holds a record that cannot be read.
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
    /// The target refuses a record.
    #[error("the target does not take {key}: {refusal}")]
    Refused {
        /// The record.
        key: String,
        /// The target's words.
        refusal: Refusal,
    },
    /// Others keep writing to the source.
    #[error(
        "the source is still being written to, so that no copy of it is complete. Stop those who use it, then copy again"
    )]
    Changing,
}

/// A copy in progress.
#[derive(Debug)]
pub struct Copying<'a, S, T> {
    source: &'a S,
    target: &'a T,
    /// The time limit of each call to a store.
    within: Duration,
    /// Whether the target is to say that the datastore is ready; `None` to keep what the source says.
    ready: Option<bool>,
    /// What the target is to hold: what the source held when it was last read, with `ready` in it.
    wanted: Contents,
}

impl<'a, S: Store, T: Store> Copying<'a, S, T> {
    /// A copy from `source` to `target`. If the source was locked for this copy, `ready` is what the source
    /// said before it was locked.
    pub fn new(source: &'a S, target: &'a T, within: Duration, ready: Option<bool>) -> Self {
        Copying { source, target, within, ready, wanted: Contents::default() }
    }

    /// Copies to a target that holds nothing, until a comparison of the two finds no difference. `tell` is
    /// called with the number of records that were written and the number of all. Values are copied as they
    /// are: uids and times of creation stay; revisions are the target's own.
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

    /// Deletes what the copy has written to the target, except records that others have changed since.
    /// Returns the number of deleted records.
    ///
    /// # Errors
    /// When the target cannot be read or written; then some of the records stay.
    pub async fn undo(&self) -> Result<usize, CopyError> {
        let mut removed = 0;
        // A batch whose outcome is unknown may still be applied after the first look.
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
            let batch = Batch { writes: part.to_vec(), ..Batch::default() };
            let report = self.target.commit(&batch, self.within).await.map_err(CopyError::Write)?;
            if let Some((index, refusal)) = report.refusal() {
                let key = batch.writes[index].key.to_string();
                return Err(CopyError::Refused { key, refusal: refusal.clone() });
            }
            if report.outcomes.iter().any(|outcome| !matches!(outcome, Outcome::Applied(_))) {
                // The next comparison shows what is still to be written.
                return Ok(());
            }
            tell(at * BATCH + part.len(), writes.len());
        }
        Ok(())
    }
}
