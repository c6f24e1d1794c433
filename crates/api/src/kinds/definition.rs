//! What is particular to a kind, as one value: each file beside this one holds one.

use crate::capability::{Backend, Operation, OperationRefusal};
use crate::checks::{FieldError, ValidationError, result};
use crate::columns::Columns;
use crate::document::Document;
use crate::schema::Struct;

/// Whether a kind's names are unique in the cluster or in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindScope {
    /// In the cluster.
    Cluster,
    /// In a namespace.
    Namespaced,
}

/// What keeps the resources of a kind in Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// Custom resources.
    Custom(CustomResource),
    /// Kubernetes' nodes.
    Nodes,
    /// Kubernetes' pods.
    Pods,
    /// Nothing: they follow from namespaces and service accounts.
    Nowhere,
}

/// A type of custom resource, which stands in each of two groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustomResource {
    /// Its names in `crd.projectcalico.org/v1`, where they are not the kind's.
    pub names_in_v1: Option<NamesInV1>,
    /// Its definition in `crd.projectcalico.org/v1`, as YAML.
    pub v1: &'static str,
    /// Its definition in `projectcalico.org/v3`, as YAML.
    pub v3: &'static str,
}

/// Names of a custom resource in `crd.projectcalico.org/v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamesInV1 {
    /// What stands in `kind`.
    pub kind: &'static str,
    /// The name in URLs.
    pub plural: &'static str,
}

/// The custom resource whose definitions are `deploy/crds/v1/PLURAL.yaml` and `deploy/crds/v3/PLURAL.yaml`.
macro_rules! custom_resource {
    ($plural:literal) => {
        $crate::kinds::CustomResource {
            names_in_v1: None,
            v1: include_str!(concat!("../../../../deploy/crds/v1/", $plural, ".yaml")),
            v3: include_str!(concat!("../../../../deploy/crds/v3/", $plural, ".yaml")),
        }
    };
}
pub(crate) use custom_resource;

/// The part that resources of a kind play in allocation. Where they play one, creating or deleting them reads
/// or writes other records, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Addresses to assign.
    Pool,
    /// Addresses to keep back.
    Reservation,
    /// The configuration of the allocator.
    Configuration,
    /// A host, which owns blocks.
    Host,
    /// No part.
    None,
}

/// When a copy of a datastore writes the resources of a kind. Pools come after the allocations, so that
/// nobody is assigned an address that is taken; the cluster's own record comes last, as nothing is in use
/// without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// After the allocations.
    Settings,
    /// After the settings.
    Pools,
    /// At the end.
    Cluster,
}

/// What follows when a stored record cannot be read, and what mends it. Each text ends a sentence about the
/// record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// When none of it can be read.
    pub whole: &'static str,
    /// When a part of it cannot be read.
    pub part: &'static str,
}

const LEFT_OUT: &str = "it is left out until it is deleted (calicoctl delete) and created anew";

/// Checks a document that is to be written, given the one that it replaces, where there is one, and the
/// faults that the caller found by looking at other objects.
pub type BeforeWrite = fn(&Document, Option<&Document>, Vec<FieldError>) -> Result<(), ValidationError>;

/// All that is particular to a kind. What most kinds have alike stands in `Definition::new`.
#[derive(Debug)]
pub struct Definition {
    /// The name in keys and URLs: `ippools`.
    pub plural: &'static str,
    /// What the command line takes for the kind, in lower case; nothing where the command line does not know
    /// it.
    pub aliases: &'static [&'static str],
    /// The alias that help names beside the kind: an abbreviation that people know.
    pub short: Option<&'static str>,
    /// Whether it lives in namespaces.
    pub scope: KindScope,
    /// The Go type, package included: `v3.IPPool`.
    pub go: &'static str,
    /// The Go struct behind that type.
    pub schema: &'static Struct,
    /// The columns in which it is shown.
    pub columns: &'static Columns,
    /// What keeps it in Kubernetes.
    pub home: Home,
    /// The part that it plays in allocation.
    pub role: Role,
    /// When a copy writes it.
    pub stage: Stage,
    /// What comes before a node's name in its own, where it is named after a node. An export renames it with
    /// the node, and a node's deletion deletes it.
    pub node_prefix: Option<&'static str>,
    /// Whether one whose `spec.node` names a node is deleted with that node.
    pub goes_with_node: bool,
    /// The number by which lists are sorted before they are sorted by name.
    pub rank: fn(&Document) -> f64,
    /// What follows when one of it cannot be read.
    pub unreadable: Unreadable,
    /// Why users may not do something; asked for writes only.
    pub refusal: fn(Backend, Operation) -> Option<OperationRefusal>,
    /// Fills in defaults before it is stored.
    pub on_write: fn(&mut Document),
    /// Fills in defaults where it was stored without; `None` where it is shown as it is stored.
    pub on_read: Option<fn(&mut Document)>,
    /// Checks what is to be written, before defaults are applied.
    pub before_write: BeforeWrite,
    /// The rules of Go's fields and structs, besides those for metadata.
    pub client: fn(&Document) -> Vec<FieldError>,
    /// The rules of the custom resource's schema, then its expressions.
    pub crd: fn(&Document) -> Vec<FieldError>,
    /// What may be created, all fields being right.
    pub on_create: fn(&Document) -> Result<(), ValidationError>,
    /// What may replace another, all fields being right.
    pub on_update: fn(&Document) -> Result<(), ValidationError>,
}

impl Definition {
    /// A kind of the whole cluster that has no rules, no defaults and no part in the allocator's work.
    pub(super) const fn new(
        go: &'static str,
        plural: &'static str,
        home: Home,
        schema: &'static Struct,
        columns: &'static Columns,
    ) -> Definition {
        Definition {
            plural,
            aliases: &[],
            short: None,
            scope: KindScope::Cluster,
            go,
            schema,
            columns,
            home,
            role: Role::None,
            stage: Stage::Settings,
            node_prefix: None,
            goes_with_node: false,
            rank: |_| 0.0,
            unreadable: Unreadable { whole: LEFT_OUT, part: LEFT_OUT },
            refusal: |_, _| None,
            on_write: |_| {},
            on_read: None,
            before_write: |_, _, found| result(found),
            client: |_| Vec::new(),
            crd: |_| Vec::new(),
            on_create: |_| Ok(()),
            on_update: |_| Ok(()),
        }
    }
}

/// Refuses all names but `default`; `what` is the kind with its article.
pub(super) fn only_default(document: &Document, what: &str) -> Result<(), ValidationError> {
    match document.name() {
        "default" => Ok(()),
        _ => {
            let text = format!("Cannot create {what} resource with a name other than \"default\"");
            Err(ValidationError::Text(text))
        }
    }
}
