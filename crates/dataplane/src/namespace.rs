//! Network namespaces, and the threads that enter them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{AccessError, KernelRefusal};

/// An open network namespace. The kernel keeps the namespace while this value exists.
pub(crate) struct Namespace {
    file: OwnedFd,
    path: std::path::PathBuf,
    /// The name that messages use.
    pub(crate) name: String,
}

impl Namespace {
    /// The namespace of the calling thread.
    pub(crate) fn of_this_thread() -> Result<Self, AccessError> {
        let path = Path::new("/proc/thread-self/ns/net");
        Ok(Self { file: open(path)?, path: path.into(), name: "the host".into() })
    }

    /// A container's namespace. The host's own namespace is refused: deleting `eth0` there would cut the host
    /// off.
    pub(crate) fn of_container(path: &Path, host: &Self) -> Result<Self, AccessError> {
        let container = Self { file: open(path)?, path: path.into(), name: path.display().to_string() };
        if container.identity()? == host.identity()? {
            return Err(AccessError::SameNamespace(path.into()));
        }
        Ok(container)
    }

    /// Moves the calling thread into the namespace.
    pub(crate) fn enter(&self) -> Result<(), AccessError> {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|errno| {
            match errno {
                Errno::INVAL => AccessError::NotANamespace(self.path.clone()),
                errno => access_error(format!("enter the network namespace of {}", self.name), errno),
            }
        })
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    fn identity(&self) -> Result<(u64, u64), AccessError> {
        let stat = rustix::fs::fstat(&self.file)
            .map_err(|errno| access_error(format!("look at {}", self.path.display()), errno))?;
        Ok((stat.st_dev, stat.st_ino))
    }
}

/// Runs `work` on a thread of its own, so that no caller's thread is ever left in another namespace.
pub(crate) fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, AccessError> {
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("dataplane".into())
            .spawn_scoped(scope, work)
            .map_err(|source| AccessError::System { doing: "start a thread", source })?;
        Ok(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn open(path: &Path) -> Result<OwnedFd, AccessError> {
    // Without NONBLOCK, opening a path to a FIFO would block for good.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => AccessError::NoNamespace(path.into()),
        errno => access_error(format!("open {}", path.display()), errno),
    })
}

fn access_error(doing: String, errno: Errno) -> AccessError {
    AccessError::from_refusal(doing, KernelRefusal { source: io::Error::from(errno), words: None })
}
