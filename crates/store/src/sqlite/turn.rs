//! One writer at a time, whatever becomes of the -shm file.
//!
//! SQLite keeps writers apart by locks on the -shm file, and reads there which commits lie in the -wal file.
//! When somebody removes the -shm file while processes have it open, the next process to open the database
//! makes another one. Then there are two groups of writers that do not know of each other, and each
//! overwrites the other's commits in the same -wal file. So a writer of ours holds a lock on the -wal file
//! itself (`flock`; SQLite locks nothing there) as well:
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

/// The files beside a database, as a process has them open.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    pub(super) wal: (PathBuf, FileId),
    /// `None` on a filesystem that is mounted read-only, where SQLite makes none.
    pub(super) shm: Option<(PathBuf, FileId)>,
}

/// The lock on the -wal file, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// Closing it releases the lock.
    file: File,
}

impl Lock {
    /// Keeps all other processes of ours from writing. `None` where there is no -wal file: then SQLite's
    /// locks on the database itself keep writers apart.
    ///
    /// # Errors
    /// [`StepError::is_busy`] while another one holds it.
    pub(super) fn take(wal: &Path) -> Result<Option<Lock>, StepError> {
        // Nothing that may lie there by now is waited for or followed.
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

/// The right to write, and what is to be as it was when the write is over.
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

    /// The lock alone, where nothing is written.
    pub(super) fn into_lock(self) -> Lock {
        self.lock
    }

    /// Sees to it that nobody overwrites what was just written, and gives the turn to others. An error tells
    /// why somebody may.
    pub(super) fn end(self) -> Result<(), String> {
        let (wal, known) = &self.beside.wal;
        if FileId::at(wal) != Some(*known) {
            return Err(format!("{} was removed or replaced while this was written into it", wal.display()));
        }
        let Some((shm, known)) = &self.beside.shm else { return Ok(()) };
        // Where none is there, whoever makes one reads the -wal file as it is now.
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
    /// What is beside a database that SQLite has read from, so that it has the -shm file open.
    pub(super) fn of(path: &Path, wal: FileId) -> Beside {
        let shm = shm_of(path);
        Beside { wal: (wal_of(path), wal), shm: FileId::at(&shm).map(|id| (shm, id)) }
    }

    /// Whether the -shm file that was found is the one that SQLite has open, rather than one that took its
    /// place before it was looked at.
    pub(super) fn is_shm_open(&self) -> bool {
        let Some((_, shm)) = &self.shm else { return false };
        // While a file is open no other one gets its number. Where the system does not list open files, what
        // was found is believed.
        fs::read_dir("/proc/self/fd")
            .map_or(true, |open| open.flatten().any(|open| FileId::at(&open.path()) == Some(*shm)))
    }
}

/// What is to be said where processes no longer see each other's commits.
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

    /// Three files that stand for a database, and what is beside it.
    fn files() -> (tempfile::TempDir, PathBuf, Beside) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        for name in ["a.db", "a.db-wal", "a.db-shm"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let beside = Beside::of(&path, FileId::at(&wal_of(&path)).unwrap());
        (folder, path, beside)
    }

    /// Puts another file under the name, which has another number as long as the first one lives.
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
