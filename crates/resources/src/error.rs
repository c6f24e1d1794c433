//! What can go wrong, in Calico's words (`libcalico-go/lib/errors`).

use std::fmt;

use api::Kind;
use api::capability::NotSupported;
use api::validate::ValidationError;
use store::{Refusal, StoreError};

/// A resource as messages name it: `IPPool(a)`, `WorkloadEndpoint(default/x)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identifier {
    /// The kind.
    pub kind: Kind,
    /// The namespace, where the kind has one.
    pub namespace: Option<String>,
    /// The name; empty where the caller gave none.
    pub name: String,
}

impl Identifier {
    /// What messages call that resource.
    pub fn of(resource: &api::Resource) -> Identifier {
        let metadata = resource.metadata();
        Identifier::new(resource.kind(), metadata.namespace.as_deref(), &metadata.name)
    }

    /// What messages call the resource of that kind and name.
    pub fn new(kind: Kind, namespace: Option<&str>, name: &str) -> Identifier {
        let namespace = namespace.filter(|_| kind.scope() == api::Scope::Namespaced).map(str::to_string);
        Identifier { kind, namespace, name: name.to_string() }
    }

    /// The key that it is stored under.
    pub fn key(&self) -> api::Key {
        api::Key::Resource { kind: self.kind, namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{}({namespace}/{})", self.kind, self.name),
            None => write!(f, "{}({})", self.kind, self.name),
        }
    }
}

/// The backend's own words, which Calico appends to its: those of a Kubernetes API server, and `<nil>` where there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendError(Option<String>);

impl BackendError {
    /// That the record of that title `is` something: `not found`.
    pub(crate) fn new(title: Option<String>, is: &str) -> BackendError {
        BackendError(title.map(|title| format!("{title} {is}")))
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("<nil>"))
    }
}

/// Why an operation on resources failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is none of that name.
    #[error("resource does not exist: {0} with error: {1}")]
    DoesNotExist(Identifier, BackendError),
    /// There is one of that name already.
    #[error("resource already exists: {0} with error: {1}")]
    AlreadyExists(Identifier, BackendError),
    /// It is not at the revision that the caller named, or others were always faster. Read it again.
    #[error("update conflict: {0}")]
    Conflict(Identifier),
    /// Users may not do this to the kind, whatever the resource says.
    #[error("{0}")]
    NotSupported(NotSupported),
    /// It breaks rules.
    #[error(transparent)]
    Invalid(#[from] ValidationError),
    /// It is no patch. The words are those of Calico's library.
    #[error("{0}")]
    Patch(#[from] crate::patch::PatchError),
    /// The allocator's configuration would contradict itself.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The store cannot be used, or was not there in time.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The store refuses what was to be written, for good.
    #[error("{0}")]
    Refused(Refusal),
    /// The store did not say whether the change was made. Look before trying again.
    #[error("it is not known whether the change of {on} was made: {reason}")]
    InDoubt {
        /// What was written.
        on: Identifier,
        /// The store's words.
        reason: String,
    },
    /// Addresses or blocks that go along with the resource could not be released.
    #[error("{0}")]
    Release(String),
}

impl Error {
    /// Whether it says that the resource is there already.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Error::AlreadyExists(..))
    }

    /// Whether it says that the resource is not there.
    pub fn is_does_not_exist(&self) -> bool {
        matches!(self, Error::DoesNotExist(..))
    }
}
