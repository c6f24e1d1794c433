//! Moving the -wal file's contents into the database, and detecting later that a -wal file is missing.
//!
//! After each move the database holds a mark that says "a -wal file belongs beside me". The first commit in
//! the -wal file after the move takes that mark back. So a database that still shows the mark, and has no
//! -wal file, or one whose first commit cannot be read, has lost commits. Where another program moved the
//! -wal file into the database and removed it on closing, the database shows no mark, and nothing was lost.
//!
//! The mark is a number above 0, new with each move. The commit that takes it back writes the same number
//! with a minus sign. The -wal file of another database holds another number, so it is recognised.

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

/// Pages in the -wal file after which a commit moves them into the database. A process that opens the
/// database while no other one has it open reads all of the -wal file, so a longer file makes every start
/// slower, and a shorter one makes moves, which cost syncs, more frequent.
const PAGES: c_int = 256;

thread_local! {
    /// Pages in the -wal file after this thread's last commit.
    static AFTER_COMMIT: Cell<c_int> = const { Cell::new(0) };
}

/// Replaces SQLite's automatic checkpoint. That one leaves the emptying of the -wal file to the next writer,
/// and notes only in the shared memory which pages were moved; the shared memory is gone when the last
/// process ends. With processes that come and go, the -wal file would grow for ever, and every commit would
/// move all of it.
pub(super) fn note_pages(_: &mut Wal, pages: c_int) -> rusqlite::Result<()> {
    AFTER_COMMIT.set(pages);
    Ok(())
}

/// Empties the -wal file where the last commit has made it long.
pub(super) fn after_commit(conn: &Connection) {
    if AFTER_COMMIT.replace(0) >= PAGES {
        // The commit stands in any case. If other processes keep the file from being emptied now, a later
        // commit empties it.
        let _ = run(conn);
    }
}

/// Empties the -wal file, except for the commit that takes back the mark. `false` where other processes use
/// the file.
pub(super) fn run(conn: &Connection) -> Result<bool, StepError> {
    if !move_all(conn, "TRUNCATE")? {
        return Ok(false);
    }
    note(conn, "(random() & 0x3FFFFFFFFFFFFFFF) | 2")?;
    // RESTART rather than TRUNCATE: an empty file beside a marked database always means that another program
    // has emptied it.
    let moved = move_all(conn, "RESTART");
    note(conn, "-abs((SELECT needs_wal FROM checkpoint))")?;
    moved
}

fn move_all(conn: &Connection, how: &str) -> Result<bool, StepError> {
    let busy: i64 = conn.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| row.get(0))?;
    Ok(busy == 0)
}

/// Takes back the mark in the database: no -wal file belongs beside it.
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
                // The caller gets the earlier error. This one is ignored: the transaction wrote nothing to
                // the file yet.
                let _ = conn.execute_batch("ROLLBACK");
            }
        })?)
}

/// Refuses a marked database whose -wal file is missing or belongs to another database. Creates no file
/// beside it.
///
/// # Errors
/// See [`without_wal`] and [`broken_wal`].
pub(super) fn check(path: &Path) -> Result<(), StepError> {
    let wal = wal_of(path);
    if find_wal(path, &wal)?.is_none() {
        return match needs_wal(path) {
            // The -wal file has not been created since the first look at it, either.
            Ok(Some(1..)) if find_wal(path, &wal)?.is_none() => Err(without_wal(path).into()),
            // Any other fault is found when the database is opened for use.
            _ => Ok(()),
        };
    }
    if shm_of(path).exists() || fs::metadata(path).is_ok_and(|found| found.len() == 0) {
        return Ok(());
    }
    // No process has the database open. It is opened exclusively, so that SQLite makes no -shm file: the next
    // process would take that for a sign that another one is at work.
    let Ok(number @ Some(2..)) = needs_wal(path) else { return Ok(()) };
    let conn = reach(path)?;
    conn.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let seen = match mark_in(&conn) {
        // A process has the database open after all, and only its -shm file was removed; that process has
        // made this check. It is not waited for, since it may be waiting for a lock that the caller holds.
        // Any other fault of the database is found when it is opened for use.
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
    // Another process that moves the -wal file at this moment looks the same. So the file is judged again
    // under the lock that keeps other processes from moving it; and through another connection, since a
    // connection that is writing is not told how many frames there are.
    let _lock = Lock::take(&wal_of(path))?;
    let guard = reach(path)?;
    match guard.execute_batch("BEGIN IMMEDIATE").map_err(StepError::from) {
        Ok(()) => {}
        Err(fault) if fault.is_busy() => return Err(fault),
        // The filesystem is mounted read-only, where no process can move anything: the suspicion stands.
        Err(_) => return Err(suspicion),
    }
    let judged = judge(conn, path);
    guard.execute_batch("ROLLBACK")?;
    judged
}

fn judge(conn: &Connection, path: &Path) -> Result<(), StepError> {
    let Ok(seen) = mark_in(conn) else { return Ok(()) };
    let Some(frames) = frames(conn)? else { return Ok(()) };
    let page: u32 = conn.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let page = page as usize;
    let file = wal_of(path);
    let length = fs::metadata(&file).map_or(0, |found| usize::try_from(found.len()).unwrap_or(usize::MAX));
    let is_unseen = frames == 0 && seen.is_some_and(|number| number > 0);
    if length <= wal::size(frames, page) && !is_unseen {
        return Ok(());
    }
    let Some((log, length)) = read_at_rest(&file) else { return Ok(()) };
    // The first commit after a move may be torn by a crash. The commit that set the mark was synced before
    // that.
    if is_unseen && (!log.has_header || length < wal::size(1, page)) {
        return Err(broken_wal(
            path,
            "does not hold the commits that it held: it was emptied, cut or overwritten",
        )
        .into());
    }
    refuse_cut(path, log, length)
}

/// Refuses to make a backup from a -wal file that may be damaged: SQLite takes damaged frames for the end of
/// the file, and a last transaction that cannot be read may have been cut short or damaged.
///
/// # Errors
/// See [`broken_wal`]; SQLite's.
pub(super) fn check_for_backup(conn: &Connection, path: &Path) -> Result<(), StepError> {
    let wal = wal_of(path);
    let Some(taken) = frames(conn)? else { return Ok(()) };
    let is_whole = |log: Log| log.has_header && !log.is_cut && !log.has_tail && log.frames >= taken;
    if read_at_rest(&wal).is_none_or(|(log, length)| length == 0 || is_whole(log)) {
        return Ok(());
    }
    // What looks like damage may be a commit of another process under way. So the file is read again under
    // the lock, when no process commits.
    let _lock = Lock::take(&wal)?;
    let guard = reach(path)?;
    guard.execute_batch("BEGIN IMMEDIATE")?;
    let judged = frames(conn).and_then(|taken| match (taken, read_at_rest(&wal)) {
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

/// What a -wal file holds, and its length, read while no process writes to it.
fn read_at_rest(wal: &Path) -> Option<(Log, usize)> {
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

/// The number of frames that SQLite finds in the -wal file, or 0 where SQLite does not tell. `None` where no
/// -wal file is in use.
fn frames(conn: &Connection) -> Result<Option<usize>, StepError> {
    match conn.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get::<_, i64>(1)) {
        // On a read-only filesystem SQLite does not tell. The caller then reads the whole file.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => Ok(Some(0)),
        frames => Ok(usize::try_from(frames?).ok()),
    }
}

fn mark_in(conn: &Connection) -> Result<Option<i64>, rusqlite::Error> {
    match conn.query_row("SELECT needs_wal FROM checkpoint", [], |row| row.get(0)).optional() {
        Err(rusqlite::Error::SqliteFailure(error, _))
            if error.extended_code == rusqlite::ffi::SQLITE_ERROR =>
        {
            Ok(None)
        }
        other => other,
    }
}

/// The mark in the database file, read without its -wal file: a number above 0 where a -wal file belongs to
/// it.
fn needs_wal(path: &Path) -> Result<Option<i64>, rusqlite::Error> {
    if fs::metadata(path).is_ok_and(|found| found.len() == 0) {
        return Ok(None);
    }
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(alone(path), flags)?;
    without_views(&conn)?;
    // A new store gets its tables first and the write-ahead log after that. (Earlier versions of this program
    // did it in the opposite order.)
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        return Ok(Some(1));
    }
    conn.query_row("SELECT needs_wal FROM checkpoint", [], |row| row.get(0)).optional()
}

/// The URI by which SQLite reads this one file, and neither creates nor looks at files beside it.
fn alone(path: &Path) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    let escaped = path.as_os_str().as_bytes().iter().map(|byte| match plain(byte) {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    format!("file:{}?immutable=1", escaped.collect::<String>())
}
