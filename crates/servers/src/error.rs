//! Why a server is not there.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::kube_server::programs::ProgramsError;

/// Why a server does not start, or does not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// There is no etcd: install it.
    #[error(
        "there is no program etcd in PATH. Install it (Debian: apt-get install --no-install-recommends etcd-server), \
         or set RACKPOOL_SKIP_ETCD=1 to leave out the tests that need it"
    )]
    NoEtcd,
    /// There are no programs of Kubernetes: the error says how to get them.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// A program cannot be started.
    #[error("{name} cannot be started: {source}")]
    Start {
        /// The program.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A server has ended by itself; its log tells why.
    #[error("{name} has ended:\n{log}")]
    Ended {
        /// The server.
        name: String,
        /// What it wrote to its log.
        log: String,
    },
    /// A server is not ready in time: the machine is too busy, or the log tells what is wrong.
    #[error("{name} is not ready after {} s:\n{log}", within.as_secs())]
    NotReady {
        /// The server.
        name: String,
        /// How long it was waited for.
        within: Duration,
        /// What it wrote to its log.
        log: String,
    },
    /// Somebody else has the server's port, or has had each of several: try again.
    #[error("{name} does not start, as somebody else has its port")]
    PortTaken {
        /// The server.
        name: String,
    },
    /// kubectl has failed.
    #[error("{command} failed:\n{said}")]
    Kubectl {
        /// What was asked.
        command: String,
        /// What it wrote to its standard error.
        said: String,
    },
    /// Certificates cannot be made.
    #[error("certificates cannot be made: {0}")]
    Certificates(#[from] rcgen::Error),
    /// A file of the server's cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ServerError {
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> ServerError + use<> {
        let path = path.to_path_buf();
        |source| ServerError::Io { path, source }
    }
}
