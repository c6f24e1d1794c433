//! The host's lock: one plugin of a node at a time. It spares the datastore the conflicts that they would have with each other; nothing rests on it, so
//! whoever cannot have it goes on without.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use cni::folder::create_private;
use rustix::fs::{FlockOperation, flock};

/// Where it is if the configuration does not say: where Calico's plugin has it, so that the two wait for each other.
pub const DEFAULT_PATH: &str = "/var/run/calico/ipam.lock";

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be made, opened or locked.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Somebody has it and does not let go.
    #[error("it is still taken after {0:?}")]
    Taken(Duration),
}

/// The lock, held until dropped; the system takes it back when the process ends.
#[derive(Debug)]
pub struct HostLock {
    _file: File,
}

impl HostLock {
    /// Takes the lock of that file, which is made with its directories where it does not exist. Waits `patience` for who has it.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn take(path: &Path, patience: Duration) -> Result<HostLock, LockError> {
        if let Some(directory) = path.parent() {
            create_private(directory)?;
        }
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(HostLock { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(LockError::Io(error.into())),
        }
        // The system queues those who block on it, and knows no time limit; so another thread blocks. The descriptors share the lock.
        let theirs = file.try_clone()?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let locked = rustix::io::retry_on_intr(|| flock(&theirs, FlockOperation::LockExclusive));
            // Nobody listens any more after the time limit; then the lock goes with `theirs`.
            let _ = sender.send(locked);
        });
        match receiver.recv_timeout(patience) {
            Ok(Ok(())) => Ok(HostLock { _file: file }),
            Ok(Err(error)) => Err(LockError::Io(error.into())),
            Err(RecvTimeoutError::Timeout) => Err(LockError::Taken(patience)),
            Err(RecvTimeoutError::Disconnected) => {
                Err(LockError::Io(io::Error::other("the waiting thread died")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    #[test]
    fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/ipam.lock");
        let first = HostLock::take(&path, SOON).unwrap();
        assert!(matches!(HostLock::take(&path, SOON), Err(LockError::Taken(SOON))));
        let (started, wait) = mpsc::channel();
        let waiting = thread::spawn({
            let path = path.clone();
            move || {
                started.send(()).unwrap();
                HostLock::take(&path, Duration::from_secs(60)).map(drop)
            }
        });
        wait.recv().unwrap();
        drop(first);
        waiting.join().unwrap().unwrap();
        HostLock::take(&path, SOON).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_made() {
        assert!(matches!(HostLock::take(Path::new("/proc/nope/x.lock"), SOON), Err(LockError::Io(_))));
    }
}
