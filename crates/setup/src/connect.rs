//! Opens the store that was chosen.

use std::time::Duration;

use store::sqlite::{SqliteOptions, SqliteStore};
use store::{AnyStore, StoreError};
use tokio::runtime::Builder;

use crate::datastore::Datastore;
use crate::error::SetupError;

pub use store::sqlite::Missing;

/// How to open a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// What to do where the embedded store's file does not exist. By default the first commit creates it, so
    /// that a mere read creates no file.
    pub missing: Missing,
    /// Whether to create the directories above the file with it. True by default.
    pub directories: bool,
    /// How long a server may bring nothing until a call ends. Where this is set, a call to a store on the
    /// network takes longer than its caller says as long as something comes. `None` by default.
    pub silence: Option<Duration>,
    /// Whether records in Kubernetes are deleted by one request each, and not in Calico's two phases. A
    /// record that cannot be read is deleted only so. False by default.
    pub deletes_at_once: bool,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions {
            missing: Missing::CreateOnCommit,
            directories: true,
            silence: None,
            deletes_at_once: false,
        }
    }
}

impl ConnectOptions {
    /// Options for callers that need an existing store: a missing file is an error, and is not created.
    pub fn existing() -> ConnectOptions {
        ConnectOptions { missing: Missing::Refuse, directories: false, ..ConnectOptions::default() }
    }
}

/// A runtime that does not wait for its threads when it is dropped: such a thread may be looking up a name in
/// DNS, which can take minutes.
#[derive(Debug)]
pub struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    /// Runs a future to its end on this runtime.
    pub fn block_on<F: Future>(&self, work: F) -> F::Output {
        self.0.as_ref().expect("it is there until it is dropped").block_on(work)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Opens the store, whose calls need [`runtime`]. For a store on the network this only checks the settings:
/// the first call connects.
///
/// # Errors
/// Where this build does not have the chosen store (another store is never opened in its place), and where
/// the store cannot be opened.
pub fn connect(datastore: &Datastore, options: ConnectOptions) -> Result<AnyStore, SetupError> {
    match datastore {
        Datastore::Embedded { path, .. } => {
            let ConnectOptions { missing, directories, .. } = options;
            let options = SqliteOptions { missing, directories, ..SqliteOptions::default() };
            Ok(AnyStore::Sqlite(SqliteStore::open(path, options)?))
        }
        #[cfg(feature = "etcd")]
        Datastore::Etcd(settings) => crate::etcd::open(settings, options.silence),
        #[cfg(feature = "kubernetes")]
        Datastore::Kubernetes(settings) => {
            crate::kubernetes::open(settings, options.silence, options.deletes_at_once)
        }
        #[cfg(not(all(feature = "etcd", feature = "kubernetes")))]
        other => Err(SetupError::NotBuiltIn {
            datastore: other.type_name(),
            chosen_by: other.chosen_by().to_string(),
        }),
    }
}

/// The runtime that calls to that store need: one thread, with timers. It has sockets only where the store is
/// on the network, because their setup costs a short-lived process noticeable time.
///
/// # Errors
/// When the system has no file descriptors left.
pub fn runtime(datastore: &Datastore) -> Result<Runtime, SetupError> {
    match datastore {
        Datastore::Embedded { .. } => build(Builder::new_current_thread().enable_time()),
        Datastore::Etcd(_) | Datastore::Kubernetes(_) => full_runtime(),
    }
}

/// A runtime for calls to stores of any kind, and for signals.
///
/// # Errors
/// As for [`runtime`].
pub fn full_runtime() -> Result<Runtime, SetupError> {
    build(Builder::new_current_thread().enable_all())
}

fn build(builder: &mut Builder) -> Result<Runtime, SetupError> {
    builder
        .build()
        .map(|runtime| Runtime(Some(runtime)))
        .map_err(|error| StoreError::Unavailable(format!("cannot start the runtime: {error}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, Settings};

    fn chosen(variables: &[(&str, &str)]) -> Datastore {
        let environment: Environment = variables.iter().copied().collect();
        Datastore::choose(&Settings::from_environment(&environment).unwrap(), &environment).unwrap()
    }

    #[test]
    fn the_embedded_store_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b.db");
        let datastore = chosen(&[("RACKPOOL_DB", path.to_str().unwrap())]);
        let refused = connect(&datastore, ConnectOptions::existing()).unwrap_err().to_string();
        assert!(refused.contains(path.to_str().unwrap()), "{refused}");
        let options = ConnectOptions { missing: Missing::Create, ..ConnectOptions::default() };
        assert!(matches!(connect(&datastore, options), Ok(AnyStore::Sqlite(_))));
        assert!(path.exists());
        assert!(connect(&datastore, ConnectOptions::existing()).is_ok());
    }

    #[test]
    fn nobody_is_waited_for_at_the_end() {
        let (ends, forever) = std::sync::mpsc::channel::<()>();
        let runtime = full_runtime().unwrap();
        runtime.block_on(async { drop(tokio::task::spawn_blocking(move || forever.recv())) });
        drop(runtime);
        drop(ends);
    }

    #[test]
    fn a_directory_is_no_store() {
        let dir = tempfile::tempdir().unwrap();
        let datastore = chosen(&[("RACKPOOL_DB", dir.path().to_str().unwrap())]);
        let error = connect(&datastore, ConnectOptions::default()).unwrap_err().to_string();
        assert!(error.contains(dir.path().to_str().unwrap()), "{error}");
    }

    #[test]
    fn another_store_is_never_replaced() {
        let datastore = chosen(&[("KUBECONFIG", "/k"), ("RACKPOOL_DB", "/x")]);
        let error = connect(&datastore, ConnectOptions::default()).unwrap_err().to_string();
        let start = if cfg!(feature = "kubernetes") {
            "the kubeconfig /k "
        } else {
            "the kubernetes datastore was chosen by KUBECONFIG = \"/k\", but this build does not have it; "
        };
        assert!(error.starts_with(start), "{error}");
    }
}
