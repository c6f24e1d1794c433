//! Which operations a kind allows. That depends on where its records are stored.

use std::fmt;

/// Where records are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// In a database file, or in memory.
    Embedded,
    /// In etcd.
    Etcd,
    /// In a Kubernetes API server.
    Kubernetes,
}

/// An operation on resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Create a resource.
    Create,
    /// Create a resource, or replace the existing one.
    Apply,
    /// Replace an existing resource, or change a part of it.
    Update,
    /// Delete a resource.
    Delete,
    /// Read one resource.
    Get,
    /// Read all resources of a kind.
    List,
    /// Follow the changes of a kind.
    Watch,
}

/// The error that a kind does not allow an operation. It prints as Calico's error
/// (`libcalico-go/lib/errors`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSupported {
    operation: &'static str,
    identifier: String,
    reason: &'static str,
}

impl fmt::Display for NotSupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {} is not supported on {}", self.operation, self.identifier)?;
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        Ok(())
    }
}

impl std::error::Error for NotSupported {}

/// Why a kind refuses an operation, in Calico's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperationRefusal {
    /// The name of the operation in the error.
    pub operation: &'static str,
    /// Whether the error names the object, and not only the kind.
    pub names_object: bool,
    /// The reason; empty where Calico gives none.
    pub reason: &'static str,
}

impl OperationRefusal {
    /// The error about the object that `identifier` names.
    pub(crate) fn of(self, identifier: &str) -> NotSupported {
        NotSupported { operation: self.operation, identifier: identifier.to_string(), reason: self.reason }
    }
}

impl Operation {
    /// The operation's name in Calico's errors.
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Operation::Create => "Create",
            Operation::Apply => "Apply",
            Operation::Update => "Update",
            Operation::Delete => "Delete",
            Operation::Get => "Get",
            Operation::List => "List",
            Operation::Watch => "Watch",
        }
    }
}
