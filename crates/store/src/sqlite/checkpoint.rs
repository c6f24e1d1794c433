//! Moving the -wal file's contents into the database, and knowing later whether a -wal file is missing.
//!
//! After a move the database says that a -wal file belongs beside it, and the -wal file begins with the commit that takes this back. So a database that says so
//! and has no -wal file has lost commits; whereas one whose -wal file was moved into it and removed, as other programs do when they close it, does not say so.

use std::cell::Cell;
use std::ffi::c_int;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::fault::Fault;
use super::place::{find_wal, wal_of, without_wal};
use crate::error::StoreError;

/// Pages in the -wal file after which a commit moves them into the database. A process that finds itself alone reads all of the -wal file
/// once, so a longer one makes every start slower, and a shorter one costs syncs more often.
const PAGES: c_int = 256;

thread_local! {
    /// Pages in the -wal file after the last commit of this thread.
    static AFTER_COMMIT: Cell<c_int> = const { Cell::new(0) };
}

/// Takes the place of SQLite's own automatic checkpoint, which leaves the -wal file for the next writer to begin again from its start: but which pages
/// were moved is known in the shared memory only, and that is gone when the last process ends. Among processes that come and go the file would
/// grow for ever, and every commit move all of it.
pub(super) fn note_pages(_: &mut Wal, pages: c_int) -> rusqlite::Result<()> {
    AFTER_COMMIT.set(pages);
    Ok(())
}

/// Empties the -wal file where the last commit has made it long.
pub(super) fn after_commit(conn: &Connection) {
    if AFTER_COMMIT.replace(0) >= PAGES {
        // The commit stands in any case. Others who are at work just now keep it from being emptied; a later commit does it.
        let _ = run(conn);
    }
}

/// Empties the -wal file, but for the commit that says so. `false` where others are in the way.
pub(super) fn run(conn: &Connection) -> Result<bool, Fault> {
    if !move_all(conn)? {
        return Ok(false);
    }
    note(conn, true)?;
    let moved = move_all(conn);
    note(conn, false)?;
    moved
}

fn move_all(conn: &Connection) -> Result<bool, Fault> {
    let busy: i64 = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(busy == 0)
}

/// Notes whether a -wal file belongs beside the database that this commit is moved into.
pub(super) fn note(conn: &Connection, is_needed: bool) -> Result<(), Fault> {
    Ok(conn.execute_batch(&format!(
        "BEGIN IMMEDIATE;
         CREATE TABLE IF NOT EXISTS checkpoint (one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1), needs_wal INTEGER NOT NULL);
         INSERT OR REPLACE INTO checkpoint (one, needs_wal) VALUES (1, {});
         COMMIT",
        i32::from(is_needed)
    ))
    .inspect_err(|_| {
        if !conn.is_autocommit() {
            // What failed is told; only memory is concerned here.
            let _ = conn.execute_batch("ROLLBACK");
        }
    })?)
}

/// Refuses a database without a -wal file that says that one belongs to it. Nothing is made beside it.
///
/// # Errors
/// See [`without_wal`].
pub(super) fn check(path: &Path) -> Result<(), StoreError> {
    let wal = wal_of(path);
    if find_wal(path, &wal)?.is_some() {
        return Ok(());
    }
    match needs_wal(path) {
        // Not created meanwhile, either.
        Ok(Some(true)) if find_wal(path, &wal)?.is_none() => Err(without_wal(path)),
        // What is wrong with it otherwise is found when it is opened to be used.
        _ => Ok(()),
    }
}

fn needs_wal(path: &Path) -> Result<Option<bool>, rusqlite::Error> {
    if fs::metadata(path).is_ok_and(|found| found.len() == 0) {
        return Ok(None);
    }
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(alone(path), flags)?;
    // Whoever creates a store writes its tables first, and only then has commits go to a -wal file. (Earlier programs had it the other way round.)
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(Some(true));
    }
    conn.query_row("SELECT needs_wal FROM checkpoint", [], |row| row.get(0)).optional()
}

/// The name by which SQLite reads a file, and neither makes nor looks at others beside it.
fn alone(path: &Path) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    let escaped = path.as_os_str().as_bytes().iter().map(|byte| match plain(byte) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    format!("file:{}?immutable=1", escaped.collect::<String>())
}
