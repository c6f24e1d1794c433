//! Finding, checking, creating and opening the database file.

use std::cell::{Cell, OnceCell};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use outside::folder::create_private;
pub(super) use outside::folder::sync_folder as sync_directory;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::fault::{StepError, file_error};
use super::place::{FileId, check_nothing_left, find, find_wal, wal_of, without_wal};
use super::schema::{self, Layout};
use super::turn::{Beside, Turn, without_shm};
use super::{SqliteOptions, checkpoint, filesystem};
use crate::error::StoreError;

/// An open database file that has been checked to be one of this program's.
pub(super) struct Live {
    pub(super) conn: Connection,
    file: FileId,
    /// The -wal and -shm files beside the database. Empty until there is a -wal file: a backup that was put
    /// in place by hand has none.
    beside: OnceCell<Beside>,
    /// Whether the -shm file under its name is known to be the one that SQLite has open.
    is_shm_open: Cell<bool>,
    /// Whether the database is known to have everything that this program writes to: tables, check sums and a
    /// write-ahead log.
    is_whole: Cell<bool>,
}

/// When a process closes any descriptor of a file, POSIX drops all locks that the process holds on that file.
/// SQLite takes care of that for its own descriptors. The descriptor with which this module creates a file is
/// not one of them: under this lock it is closed before another thread opens the file through SQLite.
static CREATING: Mutex<()> = Mutex::new(());

impl Live {
    /// Opens the file. `None` where it does not exist or is empty.
    pub(super) fn open(path: &Path) -> Result<Option<Live>, StepError> {
        if find(path)?.is_none() {
            check_nothing_left(path)?;
            return Ok(None);
        }
        filesystem::check(path)?;
        checkpoint::check(path)?;
        let conn = connect(path)?;
        checkpoint::check_whole(&conn, path)?;
        let layout = schema::inspect_once(&conn, &path.display().to_string())?;
        if layout == Layout::Empty {
            return Ok(None);
        }
        let live = Live::checked(conn, path)?;
        match layout {
            Layout::Older(_) => live.write_schema(path)?,
            Layout::Current { has_sums } => live.is_whole.set(has_sums),
            Layout::Empty => {}
        }
        Ok(Some(live))
    }

    /// Opens the file, and creates it first where it does not exist.
    pub(super) fn create(path: &Path, options: &SqliteOptions) -> Result<Live, StepError> {
        filesystem::check(path)?;
        if find(path)?.is_none() {
            check_nothing_left(path)?;
            create_file(path, options)?;
        }
        checkpoint::check(path)?;
        let conn = connect(path)?;
        checkpoint::check_whole(&conn, path)?;
        let live = Live::checked(conn, path)?;
        // The tables go into the database file itself, before there is a -wal file. If several processes
        // create it at once, one goes first.
        live.write_schema(path)?;
        live.use_wal(path)?;
        Ok(live)
    }

    fn checked(conn: Connection, path: &Path) -> Result<Live, StepError> {
        let Some(file) = find(path)? else { return Err(replaced(path).into()) };
        let live = Live {
            conn,
            file,
            beside: OnceCell::new(),
            is_shm_open: Cell::new(false),
            is_whole: Cell::new(false),
        };
        live.note_beside(path)?;
        Ok(live)
    }

    /// Notes which files are beside the database, once there are any.
    fn note_beside(&self, path: &Path) -> Result<Option<&Beside>, StepError> {
        if self.beside.get().is_none()
            && let Some(wal) = find_wal(path, &wal_of(path))?
        {
            // SQLite opens the -shm file only when it first reads something.
            self.conn.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0))?;
            self.beside.get_or_init(|| Beside::of(path, wal));
        }
        Ok(self.beside.get())
    }

    /// Takes the right to write, where there is a -wal file. `None` where there is none: SQLite's locks on
    /// the database itself then keep writers apart.
    pub(super) fn turn(&self, path: &Path) -> Result<Option<Turn<'_>>, StepError> {
        let Some(beside) = self.note_beside(path)? else { return Ok(None) };
        let turn = Turn::take(path, beside)?;
        if !self.is_shm_open.get() {
            if !beside.is_shm_open() && !self.conn.is_readonly("main")? {
                return Err(without_shm(path).into());
            }
            self.is_shm_open.set(true);
        }
        Ok(Some(turn))
    }

    /// Makes sure that the open database and -wal file are still the ones under their names: a commit into a
    /// removed file would be lost.
    pub(super) fn check_place(&self, path: &Path) -> Result<(), StoreError> {
        if find(path)? != Some(self.file) {
            return Err(replaced(path));
        }
        let Some(Beside { wal: (wal, wal_id), shm }) = self.beside.get() else { return Ok(()) };
        if find_wal(path, wal)? != Some(*wal_id) {
            return Err(without_wal(path));
        }
        // Where the -shm file is gone, the next process to open the database makes another one, and the two
        // processes do not see each other's commits.
        match shm {
            Some((shm, known)) if FileId::at(shm) != Some(*known) => Err(without_shm(path)),
            _ => Ok(()),
        }
    }

    /// Does `act` while no other process of this program writes. If its commit may be lost nevertheless, the
    /// reason is given beside its result.
    pub(super) fn write<T>(
        &self,
        path: &Path,
        act: impl FnOnce(&Connection) -> Result<T, StepError>,
    ) -> Result<(T, Result<(), String>), StepError> {
        let turn = self.turn(path)?;
        let done = act(&self.conn);
        // The turn is ended after an error, too: a failed write may have left something in the -wal file.
        let end = turn.map_or(Ok(()), Turn::end);
        Ok((done?, end))
    }

    /// As `write`, but an error where the commit may be lost.
    pub(super) fn write_safely<T>(
        &self,
        path: &Path,
        act: impl FnOnce(&Connection) -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        match self.write(path, act)? {
            (done, Ok(())) => Ok(done),
            (_, Err(why)) => Err(StoreError::Unusable(format!(
                "what was written into {} may be there or not: {why}. Start the process again and look, and remove none of the files beside it",
                path.display()
            ))
            .into()),
        }
    }

    /// Switches on the write-ahead log where it is off, as it is in a backup that was put in place by hand.
    pub(super) fn ready_to_write(&self, path: &Path) -> Result<(), StepError> {
        self.use_wal(path)?;
        if !self.is_whole.get() && !schema::has_sums(&self.conn)? {
            self.write_safely(path, |conn| in_transaction(conn, schema::add_sums))?;
        }
        self.is_whole.set(true);
        Ok(())
    }

    /// Switches the database to the write-ahead log, and sets the mark that says so.
    fn use_wal(&self, path: &Path) -> Result<(), StepError> {
        let mode: String = self.conn.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
        if mode != "wal" {
            self.conn.pragma_update(None, "journal_mode", "WAL")?;
            // If other processes are at work just now, the mark is set at the next move of a long -wal file.
            let _ = self.write(path, checkpoint::run);
        }
        Ok(())
    }

    fn write_schema(&self, path: &Path) -> Result<(), StepError> {
        self.write_safely(path, |conn| {
            in_transaction(conn, |conn| {
                let layout = schema::inspect(conn, &path.display().to_string())?;
                schema::bring_up(conn, layout)
            })
        })
    }
}

fn replaced(path: &Path) -> StoreError {
    StoreError::Unusable(format!(
        "{} was removed or replaced while this process had it open. Start the process again; to put back a backup, use restore",
        path.display()
    ))
}

pub(super) fn connect(path: &Path) -> Result<Connection, StepError> {
    let conn = reach(path)?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    Ok(conn)
}

/// Opens a connection that has not yet read anything from the file.
pub(super) fn reach(path: &Path) -> Result<Connection, StepError> {
    let creating = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    drop(creating);
    // Callers wait and retry by themselves, without blocking the thread; SQLite is not to wait.
    conn.busy_timeout(Duration::ZERO)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    without_views(&conn)?;
    conn.wal_hook(Some(checkpoint::note_pages))?;
    Ok(conn)
}

/// Makes SQLite refuse to read views. A view in the place of a table would be read before the schema can be
/// checked, and a view can compute without end.
pub(super) fn without_views(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false).map(drop)
}

fn in_transaction(
    conn: &Connection,
    change: impl FnOnce(&Connection) -> Result<(), StepError>,
) -> Result<(), StepError> {
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let written = change(conn).and_then(|()| Ok(conn.execute_batch("COMMIT")?));
    if written.is_err() && !conn.is_autocommit() {
        conn.execute_batch("ROLLBACK")?;
    }
    written
}

fn create_file(path: &Path, options: &SqliteOptions) -> Result<(), StoreError> {
    let directory = path.parent().unwrap_or(path);
    if options.directories {
        create_private(directory).map_err(|error| file_error(path, "created", &error))?;
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

/// Creates an empty file that only its owner may read and write. SQLite gives the files beside it the same
/// permissions.
pub(super) fn create_new(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map(drop)
}
