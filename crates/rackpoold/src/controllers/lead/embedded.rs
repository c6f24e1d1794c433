//! The claim on the embedded store: a lock on a file beside it.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::LeadError;

/// The file whose lock the leader has.
pub fn beside(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_os_string();
    name.push("-controllers");
    PathBuf::from(name)
}

/// A claim by a lock. The kernel ends it with the process.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    held: Option<File>,
    number: u64,
}

impl Claim {
    /// No claim yet.
    pub fn new(path: PathBuf) -> Claim {
        Claim { path, held: None, number: 0 }
    }

    /// Takes the lock, unless this process has it. Gives the number of the claim.
    pub fn assert(&mut self) -> Result<Option<u64>, LeadError> {
        if self.held.is_some() {
            return Ok(Some(self.number));
        }
        let wrong = |error| LeadError::Lock { path: self.path.clone(), error };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path);
        let file = file.map_err(wrong)?;
        match file.try_lock() {
            Ok(()) => {
                self.held = Some(file);
                self.number += 1;
                Ok(Some(self.number))
            }
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(wrong(error)),
        }
    }

    /// Lets go of the lock. The file stays: another process may be waiting for its lock.
    pub fn give_up(&mut self) {
        self.held = None;
    }
}
