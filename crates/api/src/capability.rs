//! What may be done with a kind, which depends on where its records are.

use std::fmt;

/// Where records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// In a database file, or in memory.
    Embedded,
    /// In etcd.
    Etcd,
    /// In a Kubernetes API server.
    Kubernetes,
}

/// What somebody may want to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Create.
    Create,
    /// Create, or replace what is there.
    Apply,
    /// Replace what is there, or change a part of it.
    Update,
    /// Delete.
    Delete,
    /// Get one.
    Get,
    /// Get all.
    List,
    /// Be told of changes.
    Watch,
}

/// That an operation is not for this kind. Prints as Calico's error (`libcalico-go/lib/errors`).
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
    /// What the error calls the operation.
    pub operation: &'static str,
    /// Whether the error names the object, and not only the kind.
    pub names_object: bool,
    /// The reason; empty where Calico gives none.
    pub reason: &'static str,
}

impl OperationRefusal {
    /// The error; `identifier` names what it is about.
    pub(crate) fn of(self, identifier: &str) -> NotSupported {
        NotSupported { operation: self.operation, identifier: identifier.to_string(), reason: self.reason }
    }
}

impl Operation {
    /// The word of Calico's errors.
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
