//! What may be done with a kind, which depends on where its records are.

use std::fmt;

use crate::kind::Kind;

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

impl Kind {
    /// Whether users may do that; `identifier` names the object in the error, as in `Node(n2)`.
    ///
    /// Programs may do more: the lock of the datastore is a field of ClusterInformation, and the tiers that each cluster has are created.
    ///
    /// # Errors
    /// When they may not.
    pub fn allows(
        self,
        backend: Backend,
        operation: Operation,
        identifier: &str,
    ) -> Result<(), NotSupported> {
        let refuse = |operation, identifier: &str, reason| {
            Err(NotSupported { operation, identifier: identifier.to_string(), reason })
        };
        match (self, backend, operation) {
            (_, _, Operation::Get | Operation::List | Operation::Watch) => Ok(()),
            // Recorded in 082-clusterinformation.
            (Kind::ClusterInformation, _, Operation::Create) => refuse("create or apply", self.name(), ""),
            (Kind::ClusterInformation, _, Operation::Apply) => {
                refuse("apply", self.name(), "resource is readonly")
            }
            (Kind::ClusterInformation, _, Operation::Update) => refuse("apply or replace", self.name(), ""),
            (Kind::ClusterInformation, _, Operation::Delete) => refuse("delete", self.name(), ""),
            (Kind::Tier, _, _) => refuse(operation.verb(), identifier, "tiers can only be read"),
            // Recorded in 037-calicoctl-crud of the Kubernetes modes; the objects behind these are Kubernetes Nodes and Pods. An apply
            // falls back to an update.
            (Kind::Node, Backend::Kubernetes, Operation::Create | Operation::Delete) => {
                refuse(operation.verb(), identifier, "")
            }
            (Kind::WorkloadEndpoint, Backend::Kubernetes, _) => {
                refuse(operation.verb(), identifier, "unsupported PatchMode: patchModeUnspecified")
            }
            _ => Ok(()),
        }
    }
}

impl Operation {
    fn verb(self) -> &'static str {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let text = |kind: Kind, backend, operation, id: &str| {
            kind.allows(backend, operation, id).err().map(|e| e.to_string()).unwrap_or_default()
        };
        use Backend::{Etcd, Kubernetes};
        for (kind, backend, operation, id, expected) in [
            (Kind::IPPool, Etcd, Operation::Create, "IPPool(a)", ""),
            (Kind::Node, Etcd, Operation::Create, "Node(n2)", ""),
            (Kind::Node, Kubernetes, Operation::Apply, "Node(n2)", ""),
            (
                Kind::Node,
                Kubernetes,
                Operation::Create,
                "Node(n2)",
                "operation Create is not supported on Node(n2)",
            ),
            (
                Kind::WorkloadEndpoint,
                Kubernetes,
                Operation::Create,
                "WorkloadEndpoint(default/n1-k8s-a-eth0)",
                "operation Create is not supported on WorkloadEndpoint(default/n1-k8s-a-eth0): unsupported PatchMode: patchModeUnspecified",
            ),
            (
                Kind::ClusterInformation,
                Etcd,
                Operation::Create,
                "",
                "operation create or apply is not supported on ClusterInformation",
            ),
            (
                Kind::ClusterInformation,
                Etcd,
                Operation::Apply,
                "",
                "operation apply is not supported on ClusterInformation: resource is readonly",
            ),
            (
                Kind::ClusterInformation,
                Etcd,
                Operation::Update,
                "",
                "operation apply or replace is not supported on ClusterInformation",
            ),
            (
                Kind::ClusterInformation,
                Etcd,
                Operation::Delete,
                "",
                "operation delete is not supported on ClusterInformation",
            ),
            (Kind::ClusterInformation, Etcd, Operation::Get, "", ""),
            (Kind::Tier, Etcd, Operation::List, "", ""),
        ] {
            assert_eq!(text(kind, backend, operation, id), expected);
        }
    }
}
