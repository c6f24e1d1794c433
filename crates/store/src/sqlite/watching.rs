//! Watches: `PRAGMA data_version` shows that another process has committed, and the log shows which keys it
//! changed.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use api::{Key, Revision};
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tokio::sync::watch as signal;

use super::Shared;
use super::fault::StepError;
use super::reading::{as_seen, counter, read_scope};
use crate::error::WatchError;
use crate::port::Watch;
use crate::read::{Depth, Scope, ScopeRead};
use crate::view::{Slot, View};
use crate::watch::{Event, present};

/// A watch of a [`SqliteStore`](super::SqliteStore).
#[derive(Debug)]
pub struct SqliteWatch {
    shared: Arc<Shared>,
    committed: signal::Receiver<u64>,
    scope: Scope,
    queue: VecDeque<Event>,
    /// The revision up to which events were queued. `None` before the first event, and after an error.
    seen: Option<i64>,
    /// `PRAGMA data_version` when the revision `seen` was read; `None` where it is not known, so that the log
    /// is read.
    version: Option<i64>,
}

impl SqliteWatch {
    pub(super) fn new(shared: Arc<Shared>, scope: Scope) -> SqliteWatch {
        let committed = shared.committed.subscribe();
        SqliteWatch { shared, committed, scope, queue: VecDeque::new(), seen: None, version: None }
    }

    /// Queues the new events. When another process is in the way, nothing changes.
    fn gather(&mut self) -> Result<(), StepError> {
        let (scope, seen, known) = (&self.scope, self.seen, self.version);
        let gathered = self.shared.with(false, |live| match (live, seen) {
            (Some(live), _) => {
                let (events, now, version) = changes(&live.conn, scope, seen, known)?;
                Ok((events, now, Some(version)))
            }
            (None, Some(seen)) => Ok((Vec::new(), seen, None)),
            (None, None) => Ok((vec![Event::Init, Event::InitDone(Revision::from(0))], 0, None)),
        });
        match gathered {
            Ok((events, now, version)) => {
                self.queue.extend(events);
                self.seen = Some(now);
                self.version = version;
                Ok(())
            }
            Err(fault) if fault.is_busy() => Ok(()),
            Err(fault) => {
                self.seen = None;
                self.version = None;
                Err(fault)
            }
        }
    }
}

impl Watch for SqliteWatch {
    async fn next(&mut self) -> Result<Event, WatchError> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(event);
            }
            if let Err(fault) = self.gather() {
                return Err(WatchError::of(fault.explain(&self.shared.path)));
            }
            if self.queue.is_empty() {
                let poll = self.shared.options.poll;
                if tokio::time::timeout(poll, self.committed.changed()).await.is_ok() {
                    // A commit through this process's own connection does not change the data version as that
                    // connection sees it.
                    self.version = None;
                }
            }
        }
    }
}

/// The events since `seen`, the revision up to which they reach, and the data version at that moment. While
/// the data version is still `known`, the log is not read.
fn changes(
    conn: &Connection,
    scope: &Scope,
    seen: Option<i64>,
    known: Option<i64>,
) -> Result<(Vec<Event>, i64, i64), StepError> {
    let version: i64 = conn.pragma_query_value(None, "data_version", |row| row.get(0))?;
    if let (Some(seen), true) = (seen, known == Some(version)) {
        return Ok((Vec::new(), seen, version));
    }
    // A commit after the data version was read and before the snapshot gives another data version: its change
    // is looked for once more, and never missed.
    let snapshot = conn.unchecked_transaction()?;
    let (now, trimmed) = counter(&snapshot)?;
    let events = match seen {
        Some(seen) if trimmed <= seen && seen <= now => since(&snapshot, scope, seen)?,
        _ => state(&snapshot, scope, now)?,
    };
    Ok((events, now, version))
}

fn state(conn: &Connection, scope: &Scope, now: i64) -> Result<Vec<Event>, StepError> {
    let mut view = View::new();
    read_scope(conn, &ScopeRead { scope: scope.clone(), depth: Depth::Full, page: None }, &mut view)?;
    Ok(present(view, scope, Revision::from(now)))
}

/// The last change since `seen` of every key of the scope, in the order of revisions.
fn since(conn: &Connection, scope: &Scope, seen: i64) -> Result<Vec<Event>, StepError> {
    let mut found = conn.prepare_cached(
        "SELECT kv.key, kv.revision, kv.value, log.key, log.revision FROM log LEFT JOIN kv ON kv.key = log.key \
         WHERE log.revision > ?1 ORDER BY log.revision DESC",
    )?;
    let mut rows = found.query([seen])?;
    let mut told = HashSet::new();
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let key = row.get_ref(3)?.as_str().ok().and_then(Key::from_etcd_path);
        let Some(key) = key.filter(|key| scope.holds(key)) else { continue };
        if !told.insert(key.clone()) {
            continue;
        }
        let is_gone = row.get_ref(0)? == ValueRef::Null;
        let slot = if is_gone { Slot::Absent } else { as_seen(key.clone(), row, Depth::Full)? };
        events.push(match slot {
            Slot::Full(record) => Event::Apply(record),
            Slot::Unreadable(unreadable) => Event::Unreadable(key, unreadable),
            _ => Event::Delete(key, Revision::from(row.get::<_, i64>(4)?)),
        });
    }
    events.reverse();
    Ok(events)
}
