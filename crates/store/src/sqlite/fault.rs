//! What SQLite's errors mean to a caller.

use std::io;
use std::path::Path;

use rusqlite::ffi;
use rusqlite::{Error as SqlError, ErrorCode};

use super::place::short_wal;
use crate::error::StoreError;

/// Why a step on the file failed.
#[derive(Debug)]
pub(super) enum StepError {
    /// As SQLite says.
    Sql(SqlError),
    /// Already in the port's words.
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
    /// That another process or connection is at work.
    pub(super) fn busy() -> StepError {
        let code = ffi::Error::new(ffi::SQLITE_BUSY);
        StepError::Sql(SqlError::SqliteFailure(code, None))
    }

    /// Whether another process or connection is at work, and trying again soon helps. Nothing was done.
    pub(super) fn is_busy(&self) -> bool {
        matches!(self, StepError::Sql(error) if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)))
    }

    /// The port's word for it, naming the file and the remedy.
    pub(super) fn explain(self, path: &Path) -> StoreError {
        match self {
            StepError::Store(error) => error,
            StepError::Sql(error) => explain(path, &error),
        }
    }
}

/// Whether a failed COMMIT certainly stored nothing: its last frame, without which the others count for
/// nothing, did not fit.
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
        // Only of a -wal file: what is missing in the database itself is a damaged page.
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

/// What is to be said of a file with something else in it.
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

/// SQLite says only that it could not; the filesystem knows why.
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
