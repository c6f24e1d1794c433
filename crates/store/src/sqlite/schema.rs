//! The tables in the database file, and the versions of their schema.

use api::fault::{excerpt, printable};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::fault::StepError;
use crate::error::StoreError;

/// `PRAGMA application_id` of our files: "RkPl".
pub(super) const APPLICATION: i32 = 0x526B_506C;
/// `PRAGMA user_version`: the version of the schema that this program writes.
pub(super) const VERSION: i32 = 1;

/// The number of changes that the log keeps at least. A watch that falls further behind starts anew.
pub(super) const LOG_KEPT: i64 = 4096;
/// How much longer than [`LOG_KEPT`] the log may become before it is trimmed, so that most commits do not
/// touch its old end.
pub(super) const LOG_SLACK: i64 = 512;

/// Makes this program's tables in an empty database.
///
/// `kv` has rowids, so the index of its keys lies apart from the records. In a table `WITHOUT ROWID` the tree
/// of keys holds the values as well, and a search would read the overflow pages of every large value that it
/// passes. The column `revision` stands before `value`, so that a walk over revisions does not read the
/// values either.
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

/// Adds a check sum to each record, which shows that the record is byte for byte as it was written; SQLite
/// itself has none. The column came after version 1 of the schema and does not change the version: programs
/// that do not know the column go on working, and the records that they write have no check sum. Neither have
/// records that were changed by hand.
const SUMS: [&str; 2] = ["ALTER TABLE kv ADD COLUMN sum INTEGER", KV_CHANGED];
const KV_CHANGED: &str = "CREATE TRIGGER kv_changed AFTER UPDATE ON kv WHEN NEW.sum IS OLD.sum BEGIN
    UPDATE kv SET sum = NULL WHERE key = NEW.key;
END";

/// Statements that make version `n + 1` of the schema from version `n`; the index is `n - 1`. They run in one
/// transaction with the change of `user_version`.
const MIGRATIONS: [&str; VERSION as usize - 1] = [];

/// What kind of database was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// The database is empty: it was just created, or its creation was cut short.
    Empty,
    /// One of this program's databases, at [`VERSION`].
    Current {
        /// Whether records have check sums.
        has_sums: bool,
    },
    /// One of this program's databases, at this earlier version.
    Older(i32),
}

/// Finds out what kind of database this is, in one read transaction, as another process may be creating it
/// now.
///
/// # Errors
/// See [`inspect`].
pub(super) fn inspect_once(conn: &Connection, file: &str) -> Result<Layout, StepError> {
    let snapshot = conn.unchecked_transaction()?;
    inspect(&snapshot, file)
}

/// Finds out what kind of database this is, within the caller's transaction.
///
/// # Errors
/// When the database is not one of this program's, or was written by a newer version.
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

/// Refuses a database that has something of another program on one of these tables, or in the place of one. A
/// view, a trigger, a computed column or a check there can compute without end, even when a table is only
/// read. Gives whether records have check sums.
fn check_ours(conn: &Connection, file: &str) -> Result<bool, StepError> {
    let mut has_sums = false;
    // Every program runs this when it opens the store, so it is the plainest statement: SQLite prepares that
    // fastest.
    let mut found = conn.prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema")?;
    let mut rows = found.query([])?;
    while let Some(row) = rows.next()? {
        // In a damaged schema a value may be no text; no such thing is of this program.
        let text = |column| row.get_ref(column).map(|value| value.as_str().unwrap_or_default());
        let table = text(2)?;
        // SQLite stores no statement for what it makes by itself, such as the index of a primary key.
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

/// The end of the statement that SQLite stores for a table to which the column of check sums was added.
const SUM: &str = ", sum INTEGER)";

/// Whether this statement, which made something in the database, is one of this program's.
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

/// Adds the column of check sums, within the caller's write transaction. Existing records get theirs when
/// they are next written.
pub(super) fn add_sums(conn: &Connection) -> Result<(), StepError> {
    if has_sums(conn)? { Ok(()) } else { run(conn, &SUMS) }
}

/// The check sum of a record (FNV-1a). It differs after any change of a single byte.
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

/// Brings the schema to [`VERSION`], within the caller's write transaction, in which `layout` was found.
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
