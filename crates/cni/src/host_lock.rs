//! The host's lock: one plugin of a node at a time. It spares the datastore the conflicts that they would
//! have with each other; nothing rests on it, so whoever cannot have it goes on without.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tokio::sync::oneshot;

use crate::folder::create_private;

/// Where it is if the configuration does not say: where Calico's plugin has it, so that the two wait for each
/// other.
const DEFAULT_PATH: &str = "/var/run/calico/ipam.lock";

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

/// The lock's file, and how long whoever has it is waited for.
#[derive(Clone, Debug)]
pub struct HostLock {
    path: PathBuf,
    patience: Duration,
}

/// The lock, held until dropped; the system takes it back when the process ends.
#[derive(Debug)]
pub struct Held {
    _file: File,
}

impl HostLock {
    /// The lock of that file, or of the one that Calico's plugin takes.
    pub fn new(path: Option<&str>, patience: Duration) -> HostLock {
        HostLock { path: path.unwrap_or(DEFAULT_PATH).into(), patience }
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the lock. The file is made with its directories where it does not exist. Only the waiting leaves
    /// the runtime's thread: a lock that nobody has costs a few calls of the system and no thread.
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
        // The system queues those who block on it, and knows no time limit; so another thread blocks. The
        // descriptors share the lock. It is none of the runtime's threads, as it may stay there for longer
        // than the runtime.
        let theirs = file.try_clone()?;
        let (sender, receiver) = oneshot::channel();
        thread::Builder::new().spawn(move || {
            let locked = rustix::io::retry_on_intr(|| flock(&theirs, FlockOperation::LockExclusive));
            // Nobody listens any more after the time limit; then the lock goes with `theirs`.
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
            // Whoever waits leaves the thread to the others, who let go meanwhile.
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
