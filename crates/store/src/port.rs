//! The port: what every backend does.

use std::future::Future;
use std::time::Duration;

use api::Key;

use crate::batch::{Batch, Report};
use crate::error::{StoreError, WatchError};
use crate::read::{ReadSet, Scope};
use crate::view::View;
use crate::watch::Event;

/// A store of records.
///
/// What callers may rely on, in every backend:
/// * A [`View`] is no snapshot: its records may be of different moments, each at or after the call to [`Store::read`]. A read that began after a
///   commit was answered sees it (reads are linearizable record by record).
/// * A record that cannot be read stops no other: it is an unreadable slot of the view, by its key and in scopes, in as far as the depth asks for its value. What
///   lies in a scope and is no record is told beside them ([`View::faults`]).
/// * A [`Batch`] is applied in its order; what is applied is a prefix of it (transactional backends: all or nothing within a
///   transaction). Every prefix of a batch that a planner makes is a legal state.
/// * A write whose expectation fails is refused, and nothing after it is tried.
/// * What was answered as applied is durable.
///
/// `within` bounds the call in real time; where it runs out, reads give [`StoreError::Unavailable`], and a commit reports what may have
/// landed as unknown.
pub trait Store: Send + Sync {
    /// The watch of this backend.
    type Watch: Watch;

    /// Reads a set of keys and scopes.
    ///
    /// # Errors
    /// When any part of it could not be read; there are no half views.
    fn read(&self, set: &ReadSet, within: Duration) -> impl Future<Output = Result<View, StoreError>> + Send;

    /// Applies a batch.
    ///
    /// # Errors
    /// Only when it is certain that nothing was applied; everything else is in the report.
    fn commit(
        &self,
        batch: &Batch,
        within: Duration,
    ) -> impl Future<Output = Result<Report, StoreError>> + Send;

    /// Watches a scope, from its present state on.
    fn watch(&self, scope: Scope) -> impl Future<Output = Result<Self::Watch, StoreError>> + Send;

    /// What the backend's own messages call a record, as in `ippools.crd.projectcalico.org "a" not found`; `None` where it says nothing of the sort.
    fn title(&self, _key: &Key) -> Option<String> {
        None
    }
}

/// A running watch.
///
/// The contract: [`Event::Init`], one [`Event::InitApply`] a record, [`Event::InitDone`]; then [`Event::Apply`] and [`Event::Delete`] for every change since, in the
/// order of revisions for a key; changes of one key may be folded into the last. A record that cannot be read is told by [`Event::Unreadable`] in either place, what is
/// no record by [`Event::Stray`]. After a gap (compaction, lost connection) the sequence starts anew at [`Event::Init`]: what is not named between it and
/// `InitDone` is gone. [`View::fold`] makes a view of all that.
pub trait Watch: Send {
    /// Waits for the next event. Dropping the future loses no event.
    ///
    /// # Errors
    /// The watch can be asked again after an error; it starts anew.
    fn next(&mut self) -> impl Future<Output = Result<Event, WatchError>> + Send;
}
