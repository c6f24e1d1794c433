//! What can be wrong with the settings.

use store::StoreError;

/// Why no store could be chosen or opened. The texts are Calico's where it has one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The configuration file cannot be understood.
    #[error("syntax error in {path}: {reason}")]
    File {
        /// The path as it was given.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A variable has a value of the wrong type (`envconfig`'s words).
    #[error(
        "failed to load config from env vars: envconfig.Process: assigning {variable} to {field}: converting '{value}' to type {wanted}. details: {details}"
    )]
    Variable {
        /// The variable, with its `CALICO_` prefix, whichever spelling was set.
        variable: String,
        /// Calico's name of the field.
        field: &'static str,
        /// What was found.
        value: String,
        /// The type in Go.
        wanted: &'static str,
        /// Go's words.
        details: String,
    },
    /// A type that does not exist.
    #[error("unknown datastore type: {0}")]
    UnknownType(String),
    /// etcd without an address.
    #[error("no etcd endpoints specified")]
    NoEndpoints,
    /// etcd with two ways to find it.
    #[error(
        "multiple discovery or bootstrap options specified, use either \"etcdEndpoints\" or \"etcdDiscoverySrv\""
    )]
    EndpointsAndDiscovery,
    /// etcd with certificates in files and certificates in place.
    #[error("Cannot mix inline certificate-key and certificate / key files")]
    MixedCertificates,
    /// No place for the embedded store.
    #[error(
        "no place for the embedded store: neither HOME nor XDG_STATE_HOME is set; name its file with RACKPOOL_DB"
    )]
    NoHome,
    /// The store that was chosen is not part of this build.
    #[error(
        "the {datastore} datastore was chosen by {chosen_by}, but this build does not have it; \
         to use the embedded store, take the setting away or set the datastore type to \"embedded\" (DATASTORE_TYPE, datastoreType, or datastore_type in a CNI configuration)"
    )]
    NotBuiltIn {
        /// Its type.
        datastore: &'static str,
        /// What chose it.
        chosen_by: String,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
}
