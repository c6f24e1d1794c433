//! Finding, checking, creating and opening the file.

use std::ffi::c_int;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, OpenFlags};

use super::fault::{Fault, file_error, not_a_database};
use super::schema::{self, Layout};
use super::{Options, filesystem};
use crate::error::StoreError;

/// Pages in the -wal file after which a commit moves them into the database. A process that finds itself alone reads all of the -wal file
/// once, so a longer one makes every start slower, and a shorter one costs syncs more often.
const CHECKPOINT_PAGES: c_int = 256;

/// The smallest page of a database, in bytes.
const LEAST_PAGE: u64 = 512;

/// An open file that is known to be ours.
pub(super) struct Live {
    pub(super) conn: Connection,
    file: FileId,
}

/// Device and inode.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileId(u64, u64);

/// POSIX drops all locks that a process holds on a file when it closes any descriptor of it. SQLite minds that for its own descriptors; this keeps
/// the one with which a new file is created closed before anyone in this process opens it through SQLite.
static CREATING: Mutex<()> = Mutex::new(());

impl Live {
    /// Opens the file if it exists and holds anything.
    pub(super) fn open(path: &Path) -> Result<Option<Live>, Fault> {
        if find(path)?.is_none() {
            return Ok(None);
        }
        filesystem::check(path)?;
        let conn = connect(path)?;
        match schema::inspect_once(&conn, &path.display().to_string())? {
            Layout::Empty => return Ok(None),
            Layout::Older(_) => write_schema(&conn, path)?,
            Layout::Current => {}
        }
        Live::checked(conn, path).map(Some)
    }

    /// Opens the file, which is created where it does not exist.
    pub(super) fn create(path: &Path, options: &Options) -> Result<Live, Fault> {
        filesystem::check(path)?;
        if find(path)?.is_none() {
            create_file(path, options)?;
        }
        let conn = connect(path)?;
        // While the database is empty, this takes an exclusive lock for a moment; of several creators one goes first.
        use_wal(&conn)?;
        write_schema(&conn, path)?;
        Live::checked(conn, path)
    }

    fn checked(conn: Connection, path: &Path) -> Result<Live, Fault> {
        let Some(file) = find(path)? else { return Err(replaced(path).into()) };
        Ok(Live { conn, file })
    }

    /// Makes sure that the file is still the one under its name: what is committed into a removed file would be lost.
    pub(super) fn check_place(&self, path: &Path) -> Result<(), StoreError> {
        if find(path)? == Some(self.file) { Ok(()) } else { Err(replaced(path)) }
    }

    /// Switches on the write-ahead log where it is off, as in a backup that was put in place by hand.
    pub(super) fn ready_to_write(&self) -> Result<(), Fault> {
        let mode: String = self.conn.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        if mode == "wal" { Ok(()) } else { use_wal(&self.conn) }
    }
}

fn replaced(path: &Path) -> StoreError {
    StoreError::Unusable(format!(
        "{} was removed or replaced while this process had it open. Start the process again; to put back a backup, use restore",
        path.display()
    ))
}

/// The file under that name, if there is one.
fn find(path: &Path) -> Result<Option<FileId>, StoreError> {
    match fs::metadata(path) {
        // SQLite takes a file that is shorter than a page for an empty one, and would overwrite it.
        Ok(found) if found.is_file() && (1..LEAST_PAGE).contains(&found.len()) => Err(not_a_database(path)),
        Ok(found) if found.is_file() => Ok(Some(FileId(found.dev(), found.ino()))),
        Ok(found) => {
            let what = if found.is_dir() { "a directory" } else { "a device, a pipe or a socket" };
            Err(StoreError::Unusable(format!(
                "{} is {what}, not a file. Name a file, for example {}",
                path.display(),
                path.join("rackpool.db").display()
            )))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error(path, "opened", &error)),
    }
}

pub(super) fn connect(path: &Path) -> Result<Connection, Fault> {
    let creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    drop(creating);
    // Waiting is done outside, where it does not hold up the thread.
    conn.busy_timeout(Duration::ZERO)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.wal_hook(Some(checkpoint))?;
    Ok(conn)
}

/// Empties a long -wal file. SQLite's own automatic checkpoint leaves it for the next writer to begin again from its start, but which pages
/// were moved is known in the shared memory only, and that is gone when the last process ends: among processes that come and go the file would
/// grow for ever, and every commit move all of it.
fn checkpoint(wal: &mut Wal, pages: c_int) -> rusqlite::Result<()> {
    if pages >= CHECKPOINT_PAGES {
        // The commit stands in any case. Others who read just now keep it from being emptied; a later commit does it.
        let _ = wal.checkpoint_v2(CheckpointMode::TRUNCATE);
    }
    Ok(())
}

fn use_wal(conn: &Connection) -> Result<(), Fault> {
    Ok(conn.pragma_update(None, "journal_mode", "WAL")?)
}

fn write_schema(conn: &Connection, path: &Path) -> Result<(), Fault> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let written = schema::inspect(conn, &path.display().to_string())
        .and_then(|layout| schema::bring_up(conn, layout))
        .and_then(|()| Ok(conn.execute_batch("COMMIT")?));
    if written.is_err() && !conn.is_autocommit() {
        conn.execute_batch("ROLLBACK")?;
    }
    written
}

fn create_file(path: &Path, options: &Options) -> Result<(), StoreError> {
    let directory = path.parent().unwrap_or(path);
    if options.directories {
        create_directories(directory).map_err(|error| file_error(path, "created", &error))?;
    }
    let creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    match create_new(path) {
        Ok(()) => sync_directory(directory).map_err(|error| file_error(path, "created", &error))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(file_error(path, "created", &error)),
    }
    drop(creating);
    Ok(())
}

/// Creates an empty file for its owner alone; SQLite gives the files beside it the same permissions.
pub(super) fn create_new(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}

fn create_directories(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if let Some(above) = directory.parent() {
        create_directories(above)?;
    }
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            // A umask takes rights away, from the owner, too.
            fs::set_permissions(directory, Permissions::from_mode(0o700))?;
            directory.parent().map_or(Ok(()), sync_directory)
        }
    }
}

pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
