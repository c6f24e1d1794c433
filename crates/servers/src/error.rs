//! Errors of servers that tests start.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::kube_server::programs::ProgramsError;

/// Why a server did not start, or could not do what a caller asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// etcd is not installed: install it.
    #[error(
        "there is no program etcd in PATH. Install it (Debian: apt-get install --no-install-recommends etcd-server), \
         or set RACKPOOL_SKIP_ETCD=1 to leave out the tests that need it"
    )]
    NoEtcd,
    /// The programs of Kubernetes are missing: the error says how to get them.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// A program cannot be started.
    #[error("{name} cannot be started: {source}")]
    Start {
        /// The program's name.
        name: String,
        /// The system's error.
        source: io::Error,
    },
    /// A server has ended by itself; its log says why.
    #[error("{name} has ended:\n{log}")]
    Ended {
        /// The server's name.
        name: String,
        /// The server's log.
        log: String,
    },
    /// A server was not ready in time: the machine is too busy, or the log says what is wrong.
    #[error("{name} is not ready after {} s:\n{log}", within.as_secs())]
    NotReady {
        /// The server's name.
        name: String,
        /// How long the caller waited.
        within: Duration,
        /// The server's log.
        log: String,
    },
    /// Another process has the server's port, or had each of several ports that were tried: try again.
    #[error("{name} does not start, as somebody else has its port")]
    PortTaken {
        /// The server's name.
        name: String,
    },
    /// A call of kubectl failed.
    #[error("{command} failed:\n{said}")]
    Kubectl {
        /// The command line.
        command: String,
        /// What kubectl wrote to standard error.
        said: String,
    },
    /// A certificate could not be generated.
    #[error("certificates cannot be made: {0}")]
    Certificates(#[from] rcgen::Error),
    /// A file of the server's could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl ServerError {
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> ServerError + use<> {
        let path = path.to_path_buf();
        |source| ServerError::Io { path, source }
    }
}
