//! What SQLite's errors mean to a caller.

use std::io;
use std::path::Path;

use rusqlite::ffi;
use rusqlite::{Error as SqlError, ErrorCode};

use super::place::short_wal;
use crate::error::StoreError;

/// Why an operation on the database file failed.
#[derive(Debug)]
pub(super) enum StepError {
    /// An error of SQLite, not yet explained.
    Sql(SqlError),
    /// An error that is already in the words of the store port.
    Store(StoreError),
}

impl From<SqlError> for StepError {
    fn from(error: SqlError) -> Self {
        StepError::Sql(error)
    }
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        StepError::Store(error)
    }
}

impl StepError {
    /// The fault that says: another process or connection is at work.
    pub(super) fn busy() -> StepError {
        let code = ffi::Error::new(ffi::SQLITE_BUSY);
        StepError::Sql(SqlError::SqliteFailure(code, None))
    }

    /// Whether another process or connection is at work, so that trying again soon helps. Nothing was written
    /// then.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, StepError::Sql(error) if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)))
    }

    /// Turns the fault into the port's error, with the file and the remedy.
    pub(super) fn explain(self, path: &Path) -> StoreError {
        match self {
            StepError::Store(error) => error,
            StepError::Sql(error) => explain(path, &error),
        }
    }
}

/// Whether a failed COMMIT certainly stored nothing: the disk was full, so the last frame was not written,
/// and without that frame the others do not count.
pub(super) fn is_full(error: &SqlError) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

fn explain(path: &Path, error: &SqlError) -> StoreError {
    let file = path.display();
    let Some(code) = error.sqlite_error_code() else {
        return StoreError::Unusable(format!("{file}: {error}"));
    };
    let extended = error.sqlite_error().map_or(0, |e| e.extended_code);
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Unavailable(format!(
            "{file} is kept locked by another process; `fuser {file}` tells which"
        )),
        ErrorCode::NotADatabase => not_a_database(path),
        ErrorCode::DatabaseCorrupt => StoreError::Unusable(format!(
            "{file} is damaged ({error}). It was left as it is: move it and its -wal file away and restore a backup, or save what is \
             readable with `sqlite3 {file} .recover`"
        )),
        ErrorCode::DiskFull => StoreError::Unusable(full(path)),
        ErrorCode::ReadOnly if extended == ffi::SQLITE_READONLY_DIRECTORY => StoreError::Denied(format!(
            "{file} cannot be written: its directory does not admit the -wal and -shm files that belong beside it. Make the directory \
             writable for this user"
        )),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => {
            StoreError::Denied(format!(
                "{file} is read-only for this user ({error}). Run as its owner, change its permissions, or mount its filesystem writable"
            ))
        }
        ErrorCode::CannotOpen => cannot_open(path, error),
        ErrorCode::SystemIoFailure if is_out_of_space(path) => StoreError::Unusable(full(path)),
        // Only a -wal file can be too short here: a page missing from the database itself is reported as a
        // damaged page.
        ErrorCode::SystemIoFailure if extended == ffi::SQLITE_IOERR_SHORT_READ => short_wal(path),
        ErrorCode::SystemIoFailure => StoreError::Unusable(format!(
            "{file} cannot be read or written: {error} (code {extended}). See the kernel's log for errors of the disk; answered \
             commits are in the file"
        )),
        ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted | ErrorCode::SchemaChanged => {
            StoreError::Unavailable(format!("{file}: {error}"))
        }
        _ => StoreError::Unusable(format!("{file}: {error} (code {extended})")),
    }
}

/// The error for a file that holds something else than a database.
pub(super) fn not_a_database(path: &Path) -> StoreError {
    StoreError::Unusable(format!(
        "{} is not a database. It was left as it is: name another file, or move it away",
        path.display()
    ))
}

fn full(path: &Path) -> String {
    format!(
        "no space is left for {}. Nothing was lost: free some on its filesystem and try again",
        path.display()
    )
}

fn is_out_of_space(path: &Path) -> bool {
    let directory = path.parent().unwrap_or(path);
    rustix::fs::statvfs(directory).is_ok_and(|fs| fs.f_bavail == 0 || fs.f_favail == 0 && fs.f_files > 0)
}

/// Explains why a file cannot be opened. SQLite says only that it could not; the filesystem knows the reason.
fn cannot_open(path: &Path, error: &SqlError) -> StoreError {
    let file = path.display();
    let directory = path.parent().unwrap_or(path);
    let access = |path: &Path, access| rustix::fs::access(path, access).err().map(io::Error::from);
    if let Some(why) = access(path, rustix::fs::Access::READ_OK) {
        return file_error(path, "opened", &why);
    }
    match access(directory, rustix::fs::Access::WRITE_OK) {
        Some(why) => StoreError::Denied(format!(
            "{file} cannot be opened: the -wal and -shm files that belong beside it cannot be made in {} ({why}). Make the \
             directory writable for this user",
            directory.display()
        )),
        None if is_out_of_space(path) => StoreError::Unusable(full(path)),
        None => StoreError::Unusable(format!("{file} cannot be opened: {error}")),
    }
}

/// Explains an error of the filesystem.
pub(super) fn file_error(path: &Path, doing: &str, error: &io::Error) -> StoreError {
    let file = path.display();
    match error.kind() {
        io::ErrorKind::NotFound => StoreError::Unusable(format!(
            "{file} cannot be {doing}: its directory does not exist. Create it, or name another file"
        )),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => StoreError::Denied(format!(
            "{file} cannot be {doing}: {error}. Run as a user who may, or change the permissions of the file and its directory"
        )),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Unusable(full(path)),
        io::ErrorKind::NotADirectory => StoreError::Unusable(format!(
            "{file} cannot be {doing}: a part of its path is a file, not a directory. Name another file"
        )),
        _ => StoreError::Unusable(format!("{file} cannot be {doing}: {error}")),
    }
}
