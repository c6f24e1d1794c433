//! Commits: a batch is one SQLite transaction, and so takes one sync.

use api::{Key, Revision};
use rusqlite::Connection;

use super::fault::{StepError, is_full};
use super::reading::{counter, has_changed, revision_of, slot};
use super::schema::{LOG_KEPT, LOG_SLACK, sum};
use crate::batch::{Batch, Current, Expect, Guard, Op, Operation, Outcome, Report, Transaction};
use crate::error::Refusal;
use crate::read::Depth;
use crate::view::Slot;

/// Applies a batch. After an error nothing of it is applied.
pub(super) fn commit(conn: &Connection, batch: &Batch) -> Result<Report, StepError> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let mut applied = match apply(conn, batch) {
        Ok(applied) => applied,
        Err(fault) => {
            roll_back(conn);
            return Err(fault);
        }
    };
    if !applied.has_written {
        roll_back(conn);
        return Ok(applied.report);
    }
    if let Err(error) = conn.execute_batch("COMMIT") {
        roll_back(conn);
        let fault = StepError::Sql(error);
        if fault.is_busy() || matches!(&fault, StepError::Sql(error) if is_full(error)) {
            return Err(fault);
        }
        // All frames may have been written, and only their sync failed: after a crash the commit may be there
        // or not.
        let StepError::Sql(error) = fault else { return Err(fault) };
        doubt(&mut applied.report, &error.to_string());
    }
    Ok(applied.report)
}

/// Changes the report: an applied write may have been applied or not, a refused one counts as not tried.
pub(super) fn doubt(report: &mut Report, why: &str) {
    for outcome in &mut report.outcomes {
        match outcome {
            Outcome::Applied(_) => *outcome = Outcome::Unknown(why.to_string()),
            Outcome::Refused(_) => *outcome = Outcome::NotTried,
            _ => {}
        }
    }
}

/// Ends the transaction, unless SQLite has rolled it back by itself, as it does after some errors.
fn roll_back(conn: &Connection) {
    if !conn.is_autocommit() {
        // An error is ignored: nothing of the transaction is in the file, only in memory.
        let _ = conn.execute_batch("ROLLBACK");
    }
}

struct Applied {
    report: Report,
    has_written: bool,
}

/// Applies the transactions of the batch in order until one is refused. Those before it stand.
fn apply(conn: &Connection, batch: &Batch) -> Result<Applied, StepError> {
    let mut report = Report { outcomes: vec![Outcome::NotTried; batch.writes.len()], broken_guard: None };
    for (index, guard) in batch.guards.iter().enumerate() {
        if !is_as_guarded(conn, guard)? {
            report.broken_guard = Some(index);
            return Ok(Applied { report, has_written: false });
        }
    }
    let (mut revision, trimmed) = counter(conn)?;
    let first = revision;
    for Transaction { operations } in batch.transactions(usize::MAX) {
        let paths: Vec<String> = operations.iter().map(|operation| operation.key.etcd_path()).collect();
        if let Some((at, current)) = first_refused(conn, batch, &report.outcomes, &operations, &paths)? {
            report.outcomes[operations[at].writes[0]] = Outcome::Refused(Refusal::Conflict(current));
            break;
        }
        for (operation, path) in operations.iter().zip(&paths) {
            revision += 1;
            store(conn, path, &operation.op, revision)?;
            for write in &operation.writes {
                report.outcomes[*write] = Outcome::Applied(Revision::from(revision));
            }
        }
    }
    if revision > first {
        advance(conn, revision, trimmed)?;
    }
    Ok(Applied { report, has_written: revision > first })
}

/// The first operation of a transaction whose expectation does not hold, and the record that is stored
/// instead.
fn first_refused(
    conn: &Connection,
    batch: &Batch,
    outcomes: &[Outcome],
    operations: &[Operation],
    paths: &[String],
) -> Result<Option<(usize, Current)>, StepError> {
    for (at, (operation, path)) in operations.iter().zip(paths).enumerate() {
        let found = revision_of(conn, path)?;
        let holds = match &operation.expect {
            Expect::Absent => found.is_none(),
            Expect::Revision(revision) => found.as_ref() == Some(revision),
            Expect::AsLeftBy(index) => {
                match (batch.writes.get(*index).map(|w| &w.op), outcomes.get(*index)) {
                    (Some(Op::Put(_)), Some(Outcome::Applied(left))) => found.as_ref() == Some(left),
                    (Some(Op::Delete), Some(Outcome::Applied(_))) => found.is_none(),
                    _ => false,
                }
            }
        };
        if !holds {
            return Ok(Some((at, current(conn, &operation.key)?)));
        }
    }
    Ok(None)
}

fn is_as_guarded(conn: &Connection, guard: &Guard) -> Result<bool, StepError> {
    match guard {
        Guard::Record { key, revision } => Ok(revision_of(conn, &key.etcd_path())? == *revision),
        // A revision of another kind of store cannot be compared with this store's.
        Guard::Scope { scope, since } => match since.as_str().parse::<i64>() {
            Ok(since) if since >= 0 => Ok(!has_changed(conn, scope, since)?),
            _ => Ok(false),
        },
    }
}

fn current(conn: &Connection, key: &Key) -> Result<Current, StepError> {
    match slot(conn, key, Depth::Full) {
        Ok(Slot::Full(record)) => Ok(Current::Record(record)),
        Ok(Slot::Absent) => Ok(Current::Absent),
        // The record is there and cannot be decoded; a later read of it gives the reason.
        Ok(_) | Err(StepError::Store(_)) => Ok(Current::Unknown),
        Err(fault) => Err(fault),
    }
}

fn store(conn: &Connection, path: &str, op: &Op, revision: i64) -> Result<(), StepError> {
    match op {
        Op::Put(value) => put(conn, path, &value.to_stored_text(), revision)?,
        Op::Delete => {
            conn.prepare_cached("DELETE FROM kv WHERE key IN (?1, CAST(?1 AS BLOB))")?.execute([path])?;
        }
    }
    let mut log = conn.prepare_cached("INSERT INTO log (revision, key) VALUES (?1, ?2)")?;
    log.execute((revision, path))?;
    Ok(())
}

/// Writes a value under its key, without a line in the log.
pub(super) fn put(conn: &Connection, path: &str, text: &str, revision: i64) -> Result<(), StepError> {
    // Not `INSERT OR REPLACE`: that would make a new row, and so change the index of keys as well.
    let mut put = conn.prepare_cached(
        "INSERT INTO kv (key, revision, value, sum) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, value = excluded.value, sum = excluded.sum",
    )?;
    put.execute((path, revision, text, sum(path, revision, text)))?;
    Ok(())
}

/// Raises the counter to `revision`, and now and then removes the oldest lines of the log.
fn advance(conn: &Connection, revision: i64, trimmed: i64) -> Result<(), StepError> {
    let mut keep = trimmed;
    if revision - trimmed > LOG_KEPT + LOG_SLACK {
        keep = revision - LOG_KEPT;
        conn.execute("DELETE FROM log WHERE revision <= ?1", [keep])?;
    }
    set_counter(conn, revision, keep)
}

/// Sets the counter.
pub(super) fn set_counter(conn: &Connection, revision: i64, trimmed: i64) -> Result<(), StepError> {
    let mut set = conn.prepare_cached("UPDATE counter SET revision = ?1, trimmed = ?2")?;
    set.execute((revision, trimmed))?;
    Ok(())
}
