//! Errors in the settings.

use std::path::PathBuf;

use store::StoreError;

/// Why no store could be chosen or opened. Where Calico has a message for it, the text is Calico's.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The configuration file cannot be parsed, or holds a wrong field.
    #[error("syntax error in {path}: {reason}")]
    File {
        /// The path as the user gave it.
        path: String,
        /// What is wrong with the file.
        reason: String,
    },
    /// A variable has a value of the wrong type (`envconfig`'s words).
    #[error(
        "failed to load config from env vars: envconfig.Process: assigning {variable} to {field}: converting '{value}' to type {wanted}. details: {details}"
    )]
    Variable {
        /// The variable's name with the prefix `CALICO_`, also where the name without it was set.
        variable: String,
        /// Calico's name of the field.
        field: &'static str,
        /// The value of the variable.
        value: String,
        /// The wanted type, as Go names it.
        wanted: &'static str,
        /// The message of Go's parser.
        details: String,
    },
    /// The settings name a type of store that does not exist.
    #[error("unknown datastore type: {0}")]
    UnknownType(String),
    /// The settings choose etcd and give no address for it.
    #[error("no etcd endpoints specified")]
    NoEndpoints,
    /// The settings give both endpoints and a discovery domain for etcd.
    #[error(
        "multiple discovery or bootstrap options specified, use either \"etcdEndpoints\" or \"etcdDiscoverySrv\""
    )]
    EndpointsAndDiscovery,
    /// The settings give certificates for etcd both as files and as texts.
    #[error("Cannot mix inline certificate-key and certificate / key files")]
    MixedCertificates,
    /// There is no place for the embedded store, as no home directory is known.
    #[error(
        "no place for the embedded store: neither HOME nor XDG_STATE_HOME is set; name its file with RACKPOOL_DB"
    )]
    NoHome,
    /// Nothing names a store, and there is none. The embedded store would be in this file.
    #[error(
        "no store here yet: calicoctl datastore init makes one in {file}; RACKPOOL_DB, ETCD_ENDPOINTS or KUBECONFIG names another",
        file = .0.display()
    )]
    NoStoreYet(PathBuf),
    /// Nothing names a store, and there are two.
    #[error(
        "two stores are here, and nothing says which is meant, so nothing was changed: the embedded store {} ({}), and Kubernetes, by the kubeconfig {} ({})",
        file.display(), naming("embedded"), kubeconfig.display(), "DATASTORE_TYPE=kubernetes, likewise"
    )]
    TwoStores {
        /// The file of the embedded store.
        file: PathBuf,
        /// The user's own kubeconfig.
        kubeconfig: PathBuf,
    },
    /// The store that was chosen is not part of this build.
    #[error(
        "the {datastore} datastore was chosen by {chosen_by}, but this build does not have it; \
         to use the embedded store, take the setting away or set the datastore type to \"embedded\" (DATASTORE_TYPE, datastoreType, or datastore_type in a CNI configuration)"
    )]
    NotBuiltIn {
        /// The type of that store.
        datastore: &'static str,
        /// What chose it, as a phrase for messages.
        chosen_by: String,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The settings that name a store of that type, as a sentence.
pub(crate) fn naming(datastore: &str) -> String {
    format!(
        "DATASTORE_TYPE={datastore} names it (datastoreType: {datastore} in a configuration file, datastore_type in a CNI configuration)"
    )
}
