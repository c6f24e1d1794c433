//! Opens the store that was chosen.

use store::sqlite::{Options, SqliteStore};
use store::{AnyStore, StoreError};
use tokio::runtime::Builder;

use crate::datastore::Datastore;
use crate::error::SetupError;

pub use store::sqlite::Missing;

/// How to open a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectOptions {
    /// What to do where the embedded store's file does not exist. By default it is made by the first commit, so that a question makes no file.
    pub missing: Missing,
    /// Whether to make the directories above it with it. True by default.
    pub directories: bool,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions { missing: Missing::CreateOnCommit, directories: true }
    }
}

impl ConnectOptions {
    /// For those who need a store that is there: a missing file is an error, and is not made.
    pub fn existing() -> ConnectOptions {
        ConnectOptions { missing: Missing::Refuse, directories: false }
    }
}

/// A runtime that waits for nobody when it is dropped: a name that is being looked up may take the system minutes.
#[derive(Debug)]
pub struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    /// Waits for some work.
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

/// Opens the store, whose calls need [`runtime`]. Of a store that is reached over a network only the settings are checked: the first call connects.
///
/// # Errors
/// A store that is not part of this build is an error, never another store in its place; and whatever keeps the store from opening.
pub fn connect(datastore: &Datastore, options: ConnectOptions) -> Result<AnyStore, SetupError> {
    match datastore {
        Datastore::Embedded { path, .. } => {
            let ConnectOptions { missing, directories } = options;
            let options = Options { missing, directories, ..Options::default() };
            Ok(AnyStore::Sqlite(SqliteStore::open(path, options)?))
        }
        #[cfg(feature = "etcd")]
        Datastore::Etcd(settings) => crate::etcd::open(settings),
        #[cfg(feature = "kubernetes")]
        Datastore::Kubernetes(settings) => crate::kubernetes::open(settings),
        #[cfg(not(all(feature = "etcd", feature = "kubernetes")))]
        other => Err(SetupError::NotBuiltIn {
            datastore: other.type_name(),
            chosen_by: other.chosen_by().to_string(),
        }),
    }
}

/// The runtime that calls to that store need: one thread, with timers; and with sockets only where the store is reached over a network, as they cost
/// a short-lived process something to set up.
///
/// # Errors
/// When the system has no descriptors left.
pub fn runtime(datastore: &Datastore) -> Result<Runtime, SetupError> {
    match datastore {
        Datastore::Embedded { .. } => build(Builder::new_current_thread().enable_time()),
        Datastore::Etcd(_) | Datastore::Kubernetes(_) => full_runtime(),
    }
}

/// A runtime for calls to stores of any kind, and for signals.
///
/// # Errors
/// As [`runtime`].
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
