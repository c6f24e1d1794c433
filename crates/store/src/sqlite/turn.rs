//! One writer at a time, whatever becomes of the -shm file.
//!
//! SQLite keeps writers apart by locks on the -shm file, and reads there which commits lie in the -wal file.
//! When somebody removes the -shm file while processes have it open, the next process to open the database
//! makes another one. Then there are two groups of writers that do not know of each other, and each
//! overwrites the other's commits in the same -wal file. So a writer of this program also holds a lock on the
//! -wal file itself (`flock`; SQLite locks nothing there):
//!
//! 1. It takes the lock, and refuses to write unless the -shm file that this process has open is the one
//!    under its name.
//! 2. It writes.
//! 3. It removes the -shm file if another one is under the name by then: whoever made that may have read the
//!    -wal file before this write was in it, and so would overwrite it. Nobody has written by it yet, since
//!    that takes the lock; from now on step 1 refuses whoever has it open. The next process to open the
//!    database makes a new one, from all that the -wal file holds. Then the lock is released.
//!
//! Readers take no lock. A reader whose -shm file was removed in the middle of a read may see an old state.
//! That is harmless: a view is no snapshot, and what a planner concludes from it is checked again by the
//! commit.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use super::fault::{StepError, file_error};
use super::place::{FileId, shm_of, wal_of, without_wal};
use crate::error::StoreError;

/// The -wal and -shm files beside a database, as this process has them open.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    pub(super) wal: (PathBuf, FileId),
    /// The -shm file. `None` on a filesystem that is mounted read-only, where SQLite makes none.
    pub(super) shm: Option<(PathBuf, FileId)>,
}

/// The lock on the -wal file. Dropping it releases the lock.
#[derive(Debug)]
pub(super) struct Lock {
    /// The open -wal file; closing it releases the lock.
    file: File,
}

impl Lock {
    /// Takes the lock, which keeps all other processes of this program from writing. `None` where there is no
    /// -wal file: then SQLite's locks on the database itself keep writers apart.
    ///
    /// # Errors
    /// [`StepError::is_busy`] while another process holds the lock.
    pub(super) fn take(wal: &Path) -> Result<Option<Lock>, StepError> {
        // Something else may lie under that name by now: a pipe is not waited for, and a symbolic link is not
        // followed.
        let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(wal) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(file_error(wal, "opened", &error).into()),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from) {
            Ok(()) => Ok(Some(Lock { file })),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(StepError::busy()),
            Err(error) => Err(file_error(wal, "locked", &error).into()),
        }
    }
}

/// The right to write, and the files that must be the same ones when the write is over.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    beside: &'a Beside,
    lock: Lock,
}

impl<'a> Turn<'a> {
    /// Takes the lock, and makes sure that the files beside the database are those that this process has
    /// open.
    ///
    /// # Errors
    /// [`StepError::is_busy`] while another process writes; when one of the files was removed or replaced.
    pub(super) fn take(path: &Path, beside: &'a Beside) -> Result<Turn<'a>, StepError> {
        let (wal, known) = &beside.wal;
        let lock = Lock::take(wal)?.ok_or_else(|| without_wal(path))?;
        let locked = lock.file.metadata().map_err(|error| file_error(wal, "opened", &error))?;
        if FileId::of(&locked) != *known {
            return Err(without_wal(path).into());
        }
        match &beside.shm {
            Some((shm, known)) if FileId::at(shm) != Some(*known) => Err(without_shm(path).into()),
            _ => Ok(Turn { beside, lock }),
        }
    }

    /// Keeps the lock alone, for a caller that writes nothing.
    pub(super) fn into_lock(self) -> Lock {
        self.lock
    }

    /// Makes sure that no process overwrites what was just written, and releases the lock. An error tells why
    /// a process may overwrite it.
    pub(super) fn end(self) -> Result<(), String> {
        let (wal, known) = &self.beside.wal;
        if FileId::at(wal) != Some(*known) {
            return Err(format!("{} was removed or replaced while this was written into it", wal.display()));
        }
        let Some((shm, known)) = &self.beside.shm else { return Ok(()) };
        // Where there is no -shm file, the process that makes one reads the -wal file as it is now, this
        // write included.
        if FileId::at(shm).is_none_or(|found| found == *known) {
            return Ok(());
        }
        match fs::remove_file(shm) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!(
                "{} was replaced while this was written beside it, and what is there now, which may not tell of it, cannot be removed: {error}",
                shm.display()
            )),
            _ => Ok(()),
        }
    }
}

impl Beside {
    /// The files beside a database from which SQLite has already read something, so that it has the -shm file
    /// open.
    pub(super) fn of(path: &Path, wal: FileId) -> Beside {
        let shm = shm_of(path);
        Beside { wal: (wal_of(path), wal), shm: FileId::at(&shm).map(|id| (shm, id)) }
    }

    /// Whether the -shm file under its name is the one that SQLite has open, and not one that took its place
    /// before the name was looked up.
    pub(super) fn is_shm_open(&self) -> bool {
        let Some((_, shm)) = &self.shm else { return false };
        // While SQLite has its file open, no other file has the same number. Where the system does not list
        // open files, the answer is yes.
        fs::read_dir("/proc/self/fd")
            .map_or(true, |open| open.flatten().any(|open| FileId::at(&open.path()) == Some(*shm)))
    }
}

/// The error for a database whose -shm file was removed, so that processes no longer see each other's
/// commits.
pub(super) fn without_shm(path: &Path) -> StoreError {
    StoreError::Unusable(format!(
        "{} was removed or replaced while this process had {} open, through which processes see each other's commits. Nothing was committed: start the process \
         again, and remove none of the files beside it",
        shm_of(path).display(),
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three files that stand for a database, its -wal and its -shm file; and the record of the latter two.
    fn files() -> (tempfile::TempDir, PathBuf, Beside) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        for name in ["a.db", "a.db-wal", "a.db-shm"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let beside = Beside::of(&path, FileId::at(&wal_of(&path)).unwrap());
        (folder, path, beside)
    }

    /// Puts another file under that name. The first file stays open, so the new one gets another inode.
    fn replace(file: &Path) {
        let new = file.with_extension("new");
        fs::write(&new, "another").unwrap();
        fs::rename(new, file).unwrap();
    }

    #[test]
    fn one_writes_at_a_time() {
        let (_folder, path, beside) = files();
        let turn = Turn::take(&path, &beside).unwrap();
        assert!(Turn::take(&path, &beside).unwrap_err().is_busy());
        assert_eq!(turn.end(), Ok(()));
        let lock = Turn::take(&path, &beside).unwrap().into_lock();
        assert!(Lock::take(&wal_of(&path)).unwrap_err().is_busy());
        drop(lock);
        assert!(Lock::take(&wal_of(&path)).unwrap().is_some());
    }

    #[test]
    fn nobody_writes_beside_another_file() {
        for name in [wal_of, shm_of] {
            let (_folder, path, beside) = files();
            let _open = File::open(name(&path)).unwrap();
            replace(&name(&path));
            let error = Turn::take(&path, &beside).unwrap_err().explain(&path).to_string();
            assert!(error.contains(&name(&path).display().to_string()), "{error}");
            fs::remove_file(name(&path)).unwrap();
            assert!(Turn::take(&path, &beside).is_err());
        }
    }

    #[test]
    fn an_index_that_was_made_under_way_is_removed() {
        let (_folder, path, beside) = files();
        let _open = File::open(shm_of(&path)).unwrap();
        let turn = Turn::take(&path, &beside).unwrap();
        replace(&shm_of(&path));
        assert_eq!(turn.end(), Ok(()));
        assert!(!shm_of(&path).exists(), "whoever has it open may not know of the write");
    }

    #[test]
    fn one_that_is_gone_is_no_matter_and_a_lost_wal_is_told() {
        let (_folder, path, beside) = files();
        let turn = Turn::take(&path, &beside).unwrap();
        fs::remove_file(shm_of(&path)).unwrap();
        assert_eq!(turn.end(), Ok(()));
        let (_folder, path, beside) = files();
        let turn = Turn::take(&path, &beside).unwrap();
        fs::remove_file(wal_of(&path)).unwrap();
        assert!(turn.end().unwrap_err().contains("a.db-wal was removed"));
    }

    #[test]
    fn only_an_index_that_is_open_here_counts() {
        let (_folder, path, beside) = files();
        assert!(!beside.is_shm_open());
        let _open = File::open(shm_of(&path)).unwrap();
        assert!(beside.is_shm_open());
    }
}
