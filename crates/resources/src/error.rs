//! The errors of this crate, in Calico's words (`libcalico-go/lib/errors`).

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
    /// The identifier of a resource.
    pub fn of(resource: &api::Resource) -> Identifier {
        let metadata = resource.metadata();
        Identifier::new(resource.kind(), metadata.namespace.as_deref(), &metadata.name)
    }

    /// The identifier of the resource with that kind and name. The namespace is dropped if the kind has none.
    pub fn new(kind: Kind, namespace: Option<&str>, name: &str) -> Identifier {
        let namespace = namespace.filter(|_| kind.scope() == api::KindScope::Namespaced).map(str::to_string);
        Identifier { kind, namespace, name: name.to_string() }
    }

    /// The key under which the resource is stored.
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

/// The backend's own words, which Calico appends to its own: the words of a Kubernetes API server; `<nil>`
/// for a backend that has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackendError(Option<String>);

impl BackendError {
    /// Words that say that the record with that title `is` something, such as `not found`.
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
    /// There is no resource of that name.
    #[error("resource does not exist: {0} with error: {1}")]
    DoesNotExist(Identifier, BackendError),
    /// There is a resource of that name already.
    #[error("resource already exists: {0} with error: {1}")]
    AlreadyExists(Identifier, BackendError),
    /// The resource is not at the revision that the caller named, or other writers were faster at every try:
    /// read the resource again.
    #[error("update conflict: {0}")]
    Conflict(Identifier),
    /// Users may not do this to resources of the kind, whatever they hold.
    #[error("{0}")]
    NotSupported(NotSupported),
    /// The resource breaks rules.
    #[error(transparent)]
    Invalid(#[from] ValidationError),
    /// The patch cannot be applied. The words are those of Calico's library.
    #[error("{0}")]
    Patch(#[from] crate::patch::PatchError),
    /// The allocator's configuration would contradict itself.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The store cannot be used, or has not answered in time.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The store refuses the write for good: trying again does not help.
    #[error("{0}")]
    Refused(Refusal),
    /// The store did not say whether the change was made. Look before trying again.
    #[error("it is not known whether the change of {on} was made: {reason}")]
    InDoubt {
        /// The resource that was written.
        on: Identifier,
        /// The store's words.
        reason: String,
    },
    /// Addresses or blocks that belong to the resource could not be released.
    #[error("{0}")]
    Release(String),
}

impl Error {
    /// What helps, where Calico's words do not say it; it may have several lines. For a resource that does
    /// not exist see [`crate::Client::like`].
    pub fn help(&self) -> Option<String> {
        match self {
            Error::AlreadyExists(..) => Some(
                "`calicoctl apply` changes it, `calicoctl create --skip-exists` leaves it alone".to_string(),
            ),
            Error::Conflict(id) => {
                let Identifier { kind, name, .. } = id;
                Some(format!(
                    "it was changed meanwhile: look at it again (calicoctl get {} {name} -o yaml), and write \
                     with its resourceVersion or with none",
                    kind.name().to_lowercase()
                ))
            }
            Error::Patch(crate::patch::PatchError::Input(error)) => error.help(),
            Error::Patch(crate::patch::PatchError::Syntax) => Some(
                r#"a patch is a JSON object, in single quotes for the shell: --patch '{"spec": {"disabled": true}}'"#
                    .to_string(),
            ),
            Error::Invalid(error) => {
                let helps: Vec<String> = error.help().collect();
                Some(helps.join("\n")).filter(|text| !text.is_empty())
            }
            _ => None,
        }
    }

    /// Whether the error says that the resource exists already.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Error::AlreadyExists(..))
    }

    /// Whether the error says that the resource does not exist.
    pub fn is_does_not_exist(&self) -> bool {
        matches!(self, Error::DoesNotExist(..))
    }
}
