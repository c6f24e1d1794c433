//! Moving the -wal file's contents into the database, and knowing later whether a -wal file is missing.
//!
//! After a move the database says that a -wal file belongs beside it, and the -wal file begins with the
//! commit that takes this back. So a database that says so and has no -wal file, or none whose first commit
//! can be read, has lost commits; whereas one whose -wal file was moved into it and removed, as other
//! programs do when they close it, does not say so. What it says is a number, new with each move, and the
//! commit that takes it back holds the same below zero: another database's -wal file holds another.

use std::cell::Cell;
use std::ffi::c_int;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::hooks::Wal;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension};

use super::connection::{reach, without_views};
use super::fault::StepError;
use super::place::{broken_wal, find_wal, shm_of, wal_of, without_wal};
use super::schema::CHECKPOINT;
use super::turn::Lock;
use super::wal::{self, Log, examine};

/// Pages in the -wal file after which a commit moves them into the database. A process that finds itself
/// alone reads all of the -wal file once, so a longer one makes every start slower, and a shorter one costs
/// syncs more often.
const PAGES: c_int = 256;

thread_local! {
    /// Pages in the -wal file after the last commit of this thread.
    static AFTER_COMMIT: Cell<c_int> = const { Cell::new(0) };
}

/// Takes the place of SQLite's own automatic checkpoint, which leaves the -wal file for the next writer to
/// begin again from its start: but which pages were moved is known in the shared memory only, and that is
/// gone when the last process ends. Among processes that come and go the file would grow for ever, and every
/// commit move all of it.
pub(super) fn note_pages(_: &mut Wal, pages: c_int) -> rusqlite::Result<()> {
    AFTER_COMMIT.set(pages);
    Ok(())
}

/// Empties the -wal file where the last commit has made it long.
pub(super) fn after_commit(conn: &Connection) {
    if AFTER_COMMIT.replace(0) >= PAGES {
        // The commit stands in any case. Others who are at work just now keep it from being emptied; a later
        // commit does it.
        let _ = run(conn);
    }
}

/// Empties the -wal file, but for the commit that says so. `false` where others are in the way.
pub(super) fn run(conn: &Connection) -> Result<bool, StepError> {
    if !move_all(conn, "TRUNCATE")? {
        return Ok(false);
    }
    note(conn, "(random() & 0x3FFFFFFFFFFFFFFF) | 2")?;
    // Not emptied: whoever finds an empty file beside such a database knows that somebody else did that.
    let moved = move_all(conn, "RESTART");
    note(conn, "-abs((SELECT needs_wal FROM checkpoint))")?;
    moved
}

fn move_all(conn: &Connection, how: &str) -> Result<bool, StepError> {
    let busy: i64 = conn.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| row.get(0))?;
    Ok(busy == 0)
}

/// Notes that no -wal file belongs beside the database.
pub(super) fn note_alone(conn: &Connection) -> Result<(), StepError> {
    note(conn, "0")
}

fn note(conn: &Connection, needs_wal: &str) -> Result<(), StepError> {
    Ok(conn
        .execute_batch(&format!(
            "BEGIN IMMEDIATE;
         {};
         INSERT OR REPLACE INTO checkpoint (one, needs_wal) VALUES (1, {needs_wal});
         COMMIT",
            CHECKPOINT.replace("TABLE", "TABLE IF NOT EXISTS")
        ))
        .inspect_err(|_| {
            if !conn.is_autocommit() {
                // What failed is told; only memory is concerned here.
                let _ = conn.execute_batch("ROLLBACK");
            }
        })?)
}

/// Refuses a database without a -wal file that says that one belongs to it, or with one that belongs to
/// another. Nothing is made beside it.
///
/// # Errors
/// See [`without_wal`] and [`broken_wal`].
pub(super) fn check(path: &Path) -> Result<(), StepError> {
    let wal = wal_of(path);
    if find_wal(path, &wal)?.is_none() {
        return match needs_wal(path) {
            // Not created meanwhile, either.
            Ok(Some(1..)) if find_wal(path, &wal)?.is_none() => Err(without_wal(path).into()),
            // What is wrong with it otherwise is found when it is opened to be used.
            _ => Ok(()),
        };
    }
    if shm_of(path).exists() || fs::metadata(path).is_ok_and(|found| found.len() == 0) {
        return Ok(());
    }
    // Nobody has it open. Alone with it, so that no -shm file is made that would hide from the next process
    // that it is the first.
    let Ok(number @ Some(2..)) = needs_wal(path) else { return Ok(()) };
    let conn = reach(path)?;
    conn.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let seen = match seen(&conn) {
        // Somebody has it open after all, and only the -shm file was removed; that process has looked. It is
        // not waited for: it may wait for a lock that the caller holds. What else is wrong with the database
        // is found when it is opened to be used.
        Err(_) => return Ok(()),
        Ok(seen) => seen,
    };
    if number == needs_wal(path).ok().flatten() && number != seen.map(i64::abs) {
        return Err(broken_wal(path, "does not belong to it: another file's was put in its place").into());
    }
    Ok(())
}

/// Refuses a database whose -wal file holds commits that SQLite does not find in it.
///
/// # Errors
/// See [`broken_wal`]; SQLite's.
pub(super) fn check_whole(conn: &Connection, path: &Path) -> Result<(), StepError> {
    let suspicion = match judge(conn, path) {
        Err(fault) if !fault.is_busy() => fault,
        judged => return judged,
    };
    // What looks so may be another process' move under way: it is judged again while there is none. Another
    // connection keeps them off, for one that writes is not told how many frames there are.
    let _lock = Lock::take(&wal_of(path))?;
    let guard = reach(path)?;
    match guard.execute_batch("BEGIN IMMEDIATE").map_err(StepError::from) {
        Ok(()) => {}
        Err(fault) if fault.is_busy() => return Err(fault),
        // On a filesystem that is mounted read-only nobody moves anything.
        Err(_) => return Err(suspicion),
    }
    let judged = judge(conn, path);
    guard.execute_batch("ROLLBACK")?;
    judged
}

fn judge(conn: &Connection, path: &Path) -> Result<(), StepError> {
    let Ok(seen) = seen(conn) else { return Ok(()) };
    let Some(frames) = frames(conn)? else { return Ok(()) };
    let page: u32 = conn.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let page = page as usize;
    let file = wal_of(path);
    let length = fs::metadata(&file).map_or(0, |found| usize::try_from(found.len()).unwrap_or(usize::MAX));
    let is_unseen = frames == 0 && seen.is_some_and(|number| number > 0);
    if length <= wal::size(frames, page) && !is_unseen {
        return Ok(());
    }
    let Some((log, length)) = still(&file) else { return Ok(()) };
    // The first commit after a move may be torn, but the one with which the database says so was written
    // before.
    if is_unseen && (!log.has_header || length < wal::size(1, page)) {
        return Err(broken_wal(
            path,
            "does not hold the commits that it held: it was emptied, cut or overwritten",
        )
        .into());
    }
    refuse_cut(path, log, length)
}

/// Refuses to take for whole what SQLite takes from a -wal file: neither what may have been damaged since it
/// was looked through, nor a last transaction that was either cut short or damaged.
///
/// # Errors
/// See [`broken_wal`]; SQLite's.
pub(super) fn check_for_backup(conn: &Connection, path: &Path) -> Result<(), StepError> {
    let wal = wal_of(path);
    let Some(taken) = frames(conn)? else { return Ok(()) };
    let is_whole = |log: Log| log.has_header && !log.is_cut && !log.has_tail && log.frames >= taken;
    if still(&wal).is_none_or(|(log, length)| length == 0 || is_whole(log)) {
        return Ok(());
    }
    // What may be somebody's commit under way is looked at while there is none.
    let _lock = Lock::take(&wal)?;
    let guard = reach(path)?;
    guard.execute_batch("BEGIN IMMEDIATE")?;
    let judged = frames(conn).and_then(|taken| match (taken, still(&wal)) {
        (Some(taken), Some((log, length))) => {
            refuse_cut(path, log, length)?;
            let why = match () {
                () if log.frames < taken => "is damaged: a commit in it is not what was written",
                () if log.has_tail => {
                    "does not end as it should: the last commit in it was cut short before it was answered, or is damaged"
                }
                () => return Ok(()),
            };
            Err(broken_wal(path, why).into())
        }
        _ => Ok(()),
    });
    guard.execute_batch("ROLLBACK")?;
    judged
}

fn refuse_cut(path: &Path, log: Log, length: usize) -> Result<(), StepError> {
    if !log.has_header && length > wal::size(0, 0) {
        return Err(broken_wal(path, "is damaged: it does not begin as a -wal file does").into());
    }
    if log.is_cut {
        let why = "is damaged: after what can be read of it there are more commits, which would be lost";
        return Err(broken_wal(path, why).into());
    }
    Ok(())
}

/// What a -wal file holds, and its length, at a moment when nobody writes to it.
fn still(wal: &Path) -> Option<(Log, usize)> {
    let mut bytes = fs::read(wal).ok()?;
    for _ in 0..3 {
        let log = examine(&bytes);
        if log.has_header && !log.is_cut {
            return Some((log, bytes.len()));
        }
        let again = fs::read(wal).ok()?;
        if again == bytes {
            return Some((log, bytes.len()));
        }
        bytes = again;
    }
    None
}

/// The frames that SQLite finds in the -wal file, 0 where it does not tell; `None` where there is no such
/// file in use.
fn frames(conn: &Connection) -> Result<Option<usize>, StepError> {
    match conn.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get::<_, i64>(1)) {
        // On a filesystem that is mounted so. The file is read whole then.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => Ok(Some(0)),
        frames => Ok(usize::try_from(frames?).ok()),
    }
}

fn seen(conn: &Connection) -> Result<Option<i64>, rusqlite::Error> {
    match conn.query_row("SELECT needs_wal FROM checkpoint", [], |row| row.get(0)).optional() {
        Err(rusqlite::Error::SqliteFailure(error, _))
            if error.extended_code == rusqlite::ffi::SQLITE_ERROR =>
        {
            Ok(None)
        }
        other => other,
    }
}

/// What the file by itself says: a number above 0 where a -wal file belongs to it.
fn needs_wal(path: &Path) -> Result<Option<i64>, rusqlite::Error> {
    if fs::metadata(path).is_ok_and(|found| found.len() == 0) {
        return Ok(None);
    }
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(alone(path), flags)?;
    without_views(&conn)?;
    // Whoever creates a store writes its tables first, and only then has commits go to a -wal file. (Earlier
    // programs had it the other way round.)
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(Some(1));
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
