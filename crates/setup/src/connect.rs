//! Opens the store that was chosen.

use std::path::Path;

use store::AnyStore;
use store::sqlite::{Options, SqliteStore};

use crate::datastore::Datastore;
use crate::error::SetupError;

/// How to open a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// Whether to make the embedded store's file, and the directories above it, where they do not exist. True by default: a cluster begins
    /// with the first command.
    pub create: bool,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        ConnectOptions { create: true }
    }
}

/// Opens the store.
///
/// # Errors
/// A store that is not part of this build is an error, never another store in its place; and whatever keeps the store from opening.
pub fn connect(datastore: &Datastore, options: ConnectOptions) -> Result<AnyStore, SetupError> {
    let not_built_in = |chosen_by: &str| {
        let (datastore, chosen_by) = (datastore.type_name(), chosen_by.to_string());
        Err(SetupError::NotBuiltIn { datastore, chosen_by })
    };
    match datastore {
        Datastore::Embedded { path, .. } => open(path, options),
        Datastore::Etcd(settings) => not_built_in(&settings.chosen_by),
        Datastore::Kubernetes(settings) => not_built_in(&settings.chosen_by),
    }
}
