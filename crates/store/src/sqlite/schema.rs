//! What lies in the file, and of which version it is.

use api::fault::{excerpt, printable};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::fault::StepError;
use crate::error::StoreError;

/// `PRAGMA application_id` of our files: "RkPl".
pub(super) const APPLICATION: i32 = 0x526B_506C;
/// `PRAGMA user_version`: the version of the schema that this program writes.
pub(super) const VERSION: i32 = 1;

/// Number of changes that the log keeps at least; watches that fall further behind start anew.
pub(super) const LOG_KEPT: i64 = 4096;
/// The log is trimmed when it is so much longer: most commits do not touch its old end.
pub(super) const LOG_SLACK: i64 = 512;

/// Makes an empty database ours.
///
/// `kv` has rowids, and so an index of its keys beside the records: a tree of keys that holds the values too
/// (`WITHOUT ROWID`) reads the overflow pages of every large value that a search passes by. `revision` stands
/// before `value`, so that a walk over revisions reads none either.
const CREATE: [&str; 4] = [KV, LOG, COUNTER, "INSERT INTO counter (one, revision, trimmed) VALUES (1, 0, 0)"];
const KV: &str = "CREATE TABLE kv (
    key TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    value TEXT NOT NULL
)";
const LOG: &str = "CREATE TABLE log (
    revision INTEGER NOT NULL PRIMARY KEY,
    key TEXT NOT NULL
)";
const COUNTER: &str = "CREATE TABLE counter (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL,
    trimmed INTEGER NOT NULL
)";

/// The table that tells whether a -wal file belongs to the database (`checkpoint.rs`).
pub(super) const CHECKPOINT: &str =
    "CREATE TABLE checkpoint (one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1), needs_wal INTEGER NOT NULL)";

/// A check sum of each record, which tells that it is what was written, byte for byte: SQLite has none. It
/// came after version 1, and is no other version: programs that do not know it work on. What they write, and
/// what is changed by hand, has none.
const SUMS: [&str; 2] = ["ALTER TABLE kv ADD COLUMN sum INTEGER", KV_CHANGED];
const KV_CHANGED: &str = "CREATE TRIGGER kv_changed AFTER UPDATE ON kv WHEN NEW.sum IS OLD.sum BEGIN
    UPDATE kv SET sum = NULL WHERE key = NEW.key;
END";

/// How the schema of version `n + 1` is made of that of version `n`, by `n - 1`. Runs in one transaction with
/// the change of `user_version`.
const MIGRATIONS: [&str; VERSION as usize - 1] = [];

/// What an opened database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Nothing is in it: it was just created, or its creation was cut short.
    Empty,
    /// Ours, at [`VERSION`].
    Current {
        /// Whether records have check sums.
        has_sums: bool,
    },
    /// Ours, of an earlier version.
    Older(i32),
}

/// Tells what a database is as of one moment: another process may be about to create it.
///
/// # Errors
/// As [`inspect`].
pub(super) fn inspect_once(conn: &Connection, file: &str) -> Result<Layout, StepError> {
    let snapshot = conn.unchecked_transaction()?;
    inspect(&snapshot, file)
}

/// Tells what a database is, in a transaction of the caller.
///
/// # Errors
/// For databases that are not ours, or newer than this program.
pub(super) fn inspect(conn: &Connection, file: &str) -> Result<Layout, StepError> {
    let application: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let has_sums = application == APPLICATION && check_ours(conn, file)?;
    match (application, version) {
        (APPLICATION, VERSION) => Ok(Layout::Current { has_sums }),
        (APPLICATION, older) if (1..VERSION).contains(&older) => Ok(Layout::Older(older)),
        (APPLICATION, other) => Err(unusable(format!(
            "{file} has schema version {other}; this program knows versions up to {VERSION}. Use the program's release that wrote the \
             file, or a newer one"
        ))),
        (0, 0) if is_without_tables(conn)? => Ok(Layout::Empty),
        (other, _) => Err(unusable(format!(
            "{file} is a database of another program (its application_id is {other}, not {APPLICATION}). It was left as it is: name another file"
        ))),
    }
}

/// The tables that this program makes.
const OUR_TABLES: [&str; 4] = ["kv", "log", "counter", "checkpoint"];

/// Refuses a database in which something stands on our tables, or in the place of one, that this program did
/// not make. A view there, a trigger, a computed column or a check can compute without end, also when a table
/// is only read. Tells whether records have check sums.
fn check_ours(conn: &Connection, file: &str) -> Result<bool, StepError> {
    let mut has_sums = false;
    // Every program looks at this when it opens the store. SQLite prepares the plainest statement fastest.
    let mut found = conn.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")?;
    let mut rows = found.query([])?;
    while let Some(row) = rows.next()? {
        // Of what is no text in a damaged schema nothing is ours.
        let text = |column| row.get_ref(column).map(|value| value.as_str().unwrap_or_default());
        let table = text(2)?;
        // What SQLite makes by itself, such as the index of a primary key, has no statement.
        let is_made_by_sqlite = row.get_ref(3)? == ValueRef::Null;
        if is_made_by_sqlite || !OUR_TABLES.iter().any(|ours| ours.eq_ignore_ascii_case(table)) {
            continue;
        }
        let sql = text(3)?;
        has_sums |= sql.ends_with(SUM);
        if is_ours(sql) {
            continue;
        }
        let (what, name) = (printable(text(0)?), excerpt(&text(1)?.into()));
        return Err(unusable(format!(
            "{file} cannot be used: the {what} {name} in it is not what this program makes, and may compute without end. It was left as it is: if it is your own, remove it \
             with `sqlite3 {file} 'DROP {what} {name}'`; otherwise move the file and its -wal file away and put back a backup (calicoctl datastore restore FILE)"
        )));
    }
    Ok(has_sums)
}

/// As SQLite ends a table to which the column of check sums was added.
const SUM: &str = ", sum INTEGER)";

/// Whether a statement that made something is one of this program's.
fn is_ours(sql: &str) -> bool {
    let before = sql.strip_suffix(SUM);
    [KV, LOG, COUNTER, CHECKPOINT, KV_CHANGED].contains(&sql)
        || before.is_some() && before == KV.strip_suffix(')')
}

/// Whether records have check sums.
pub(super) fn has_sums(conn: &Connection) -> Result<bool, StepError> {
    Ok(conn
        .query_row("SELECT count(*) FROM pragma_table_info('kv') WHERE name = 'sum'", [], |row| row.get(0))?)
}

/// Gives records check sums, in the caller's write transaction; those that are there get theirs when they are
/// next written.
pub(super) fn add_sums(conn: &Connection) -> Result<(), StepError> {
    if has_sums(conn)? { Ok(()) } else { run(conn, &SUMS) }
}

/// The check sum of a record (FNV-1a): no change of a single byte goes unnoticed.
pub(super) fn sum(key: &str, revision: i64, value: &str) -> i64 {
    let bytes = key.bytes().chain([0]).chain(revision.to_le_bytes()).chain(value.bytes());
    let sum = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    sum.cast_signed()
}

fn unusable(text: String) -> StepError {
    StoreError::Unusable(text).into()
}

fn is_without_tables(conn: &Connection) -> Result<bool, StepError> {
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(tables == 0)
}

/// Makes the schema current. Runs in the caller's write transaction, in which `layout` was found.
pub(super) fn bring_up(conn: &Connection, layout: Layout) -> Result<(), StepError> {
    match layout {
        Layout::Current { .. } => return Ok(()),
        Layout::Empty => {
            run(conn, &CREATE)?;
            conn.pragma_update(None, "application_id", APPLICATION)?;
        }
        Layout::Older(from) => {
            run(conn, &MIGRATIONS[from as usize - 1..])?;
        }
    }
    add_sums(conn)?;
    Ok(conn.pragma_update(None, "user_version", VERSION)?)
}

fn run(conn: &Connection, statements: &[&str]) -> Result<(), StepError> {
    Ok(statements.iter().try_for_each(|statement| conn.execute_batch(statement))?)
}
