//! The port: the interface of every backend.

use std::future::Future;
use std::time::Duration;

use crate::batch::{Batch, Report};
use crate::error::{StoreError, WatchError};
use crate::read::{ReadSet, Scope};
use crate::view::View;
use crate::watch::Event;

/// A store of records.
///
/// Callers may rely on this, in every backend:
/// * A [`View`] is no snapshot: its records may be of different moments, each at or after the call to
///   [`Store::read`]. A read that begins after a commit was answered sees that commit (reads are linearizable
///   record by record).
/// * A record that cannot be parsed does not stop the others: it is an unreadable slot of the view, found by
///   its key and in scopes, wherever the depth asks for its value. A key in a scope that is no record is
///   reported beside the records ([`View::faults`]).
/// * A [`Batch`] is applied in its order, so a prefix of it is applied (in transactional backends, all or
///   nothing of each transaction). Every prefix of a batch that a planner makes is a legal state.
/// * A write whose expectation fails is refused, and no write after it is tried.
/// * A write that was answered as applied is durable.
///
/// `within` bounds the call in real time. When it runs out, a read gives [`StoreError::Unavailable`], and a
/// commit reports the writes that may have been applied as unknown.
pub trait Store: Send + Sync {
    /// The type of this backend's watches.
    type Watch: Watch;

    /// Reads a set of keys and scopes.
    ///
    /// # Errors
    /// When any part of the set could not be read: a view is never partial.
    fn read(&self, set: &ReadSet, within: Duration) -> impl Future<Output = Result<View, StoreError>> + Send;

    /// Applies a batch.
    ///
    /// # Errors
    /// Only when certainly nothing was applied. Every other failure is in the report.
    fn commit(
        &self,
        batch: &Batch,
        within: Duration,
    ) -> impl Future<Output = Result<Report, StoreError>> + Send;

    /// Watches a scope, beginning with its present state.
    fn watch(&self, scope: Scope) -> impl Future<Output = Result<Self::Watch, StoreError>> + Send;

    /// As [`Store::watch`], without what does not matter to routes, where the backend can leave it out: of a
    /// Node what a kubelet reports (the addresses of other types than `CalicoNodeIP`, and the pod CIDRs), so
    /// that labels and what agents have made known are left; and affinities that are pending.
    fn watch_short(&self, scope: Scope) -> impl Future<Output = Result<Self::Watch, StoreError>> + Send {
        self.watch(scope)
    }
}

/// A running watch.
///
/// Its events come in this order: [`Event::Init`], one [`Event::InitApply`] for each record,
/// [`Event::InitDone`]; then [`Event::Apply`] and [`Event::Delete`] for every change since. The changes of
/// one key come in the order of revisions; several of them may be folded into the last. In both parts,
/// [`Event::Unreadable`] stands for a record that cannot be read, and [`Event::Stray`] for something that is
/// no record. After a gap (compaction, lost connection) the sequence starts again with [`Event::Init`]: what
/// is not named between it and `InitDone` is gone. [`View::fold`] makes a view from these events.
pub trait Watch: Send {
    /// Waits for the next event. Dropping the future loses no event.
    ///
    /// # Errors
    /// A watch can be asked again after an error; it then begins again.
    fn next(&mut self) -> impl Future<Output = Result<Event, WatchError>> + Send;
}
