//! The host's lock: it lets one plugin of a node work at a time. That saves the datastore the conflicts which
//! the plugins would have with each other. Correctness does not depend on the lock, so a plugin that cannot
//! take it goes on without it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::sync::oneshot;

use crate::folder::create_private;

/// The lock's file where the configuration names none: the one that Calico's plugin uses, so that both
/// plugins wait for each other.
const DEFAULT_PATH: &str = "/var/run/calico/ipam.lock";

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be made, opened or locked.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Another process still has the lock after this time.
    #[error("it is still taken after {0:?}")]
    Taken(Duration),
}

/// The lock's file, and how long to wait for another process that has the lock.
#[derive(Clone, Debug)]
pub struct HostLock {
    path: PathBuf,
    patience: Duration,
}

/// The lock while it is held. Dropping it releases the lock, and so does the end of the process.
#[derive(Debug)]
pub struct Held {
    _file: File,
}

impl HostLock {
    /// The lock with the file `path`, or with the file that Calico's plugin uses.
    pub fn new(path: Option<&str>, patience: Duration) -> HostLock {
        HostLock { path: path.unwrap_or(DEFAULT_PATH).into(), patience }
    }

    /// The lock's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock. Creates the file and its folders if they do not exist. A thread is only needed to
    /// wait: taking a free lock costs a few system calls.
    ///
    /// # Errors
    /// See [`LockError`].
    pub async fn take(&self) -> Result<Held, LockError> {
        if let Some(directory) = self.path.parent() {
            create_private(directory)?;
        }
        let mut options = OpenOptions::new();
        let file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Held { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(LockError::Io(error.into())),
        }
        // Only a blocking call gets a place in the system's queue, and such a call has no time limit, so
        // another thread makes it. Both descriptors share the lock. The thread is not one of the runtime's:
        // it may block for longer than the runtime lives.
        let theirs = file.try_clone()?;
        let (sender, receiver) = oneshot::channel();
        thread::Builder::new().spawn(move || {
            let locked = rustix::io::retry_on_intr(|| flock(&theirs, FlockOperation::LockExclusive));
            // After the time limit nobody receives this. Then the lock is released when `theirs` is dropped.
            let _ = sender.send(locked);
        })?;
        match tokio::time::timeout(self.patience, receiver).await {
            Ok(Ok(Ok(()))) => Ok(Held { _file: file }),
            Ok(Ok(Err(error))) => Err(LockError::Io(error.into())),
            Ok(Err(_)) => Err(LockError::Io(io::Error::other("the waiting thread died"))),
            Err(_) => Err(LockError::Taken(self.patience)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
    }

    fn lock(path: &Path, patience: Duration) -> HostLock {
        HostLock::new(path.to_str(), patience)
    }

    #[test]
    fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/ipam.lock");
        block_on(async {
            let first = lock(&path, SOON).take().await.unwrap();
            assert!(matches!(lock(&path, SOON).take().await, Err(LockError::Taken(SOON))));
            // While one task waits, the thread is free for the tasks that hold the lock.
            let patient = lock(&path, Duration::from_secs(60));
            let let_go = async {
                tokio::task::yield_now().await;
                drop(first);
            };
            let (waited, ()) = tokio::join!(patient.take(), let_go);
            drop(waited.unwrap());
            lock(&path, SOON).take().await.unwrap();
        });
    }

    #[test]
    fn a_file_that_cannot_be_made() {
        let taken = block_on(lock(Path::new("/proc/nope/x.lock"), SOON).take());
        assert!(matches!(taken, Err(LockError::Io(_))));
    }
}
