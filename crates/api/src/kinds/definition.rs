//! The definition of a kind, with everything in which kinds differ. Each file beside this one holds the
//! definition of one kind.

use crate::capability::{Backend, Operation, OperationRefusal};
use crate::checks::{FieldError, ValidationError, result};
use crate::columns::Columns;
use crate::document::Document;
use crate::schema::Struct;

/// Whether a kind's names are unique in the cluster or in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindScope {
    /// Names are unique in the cluster.
    Cluster,
    /// Names are unique in a namespace.
    Namespaced,
}

/// How the resources of a kind are stored in Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// As custom resources.
    Custom(CustomResource),
    /// As Kubernetes Nodes.
    Nodes,
    /// As Pods.
    Pods,
    /// They are not stored: they follow from namespaces and service accounts.
    Nowhere,
}

/// A type of custom resource, as it is defined in each of the two API groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CustomResource {
    /// Its names in `crd.projectcalico.org/v1`, if they differ from the kind's.
    pub names_in_v1: Option<NamesInV1>,
    /// Its CustomResourceDefinition in `crd.projectcalico.org/v1`, as YAML.
    pub v1: &'static str,
    /// Its CustomResourceDefinition in `projectcalico.org/v3`, as YAML.
    pub v3: &'static str,
}

/// Names of a custom resource in `crd.projectcalico.org/v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamesInV1 {
    /// The value of the field `kind`.
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
    /// Its addresses are assigned.
    Pool,
    /// Its addresses are kept back.
    Reservation,
    /// It configures the allocator.
    Configuration,
    /// It is a host, which owns blocks.
    Host,
    /// It plays no part.
    None,
}

/// When a copy of a datastore writes the resources of a kind. Pools come after the allocations, so that
/// nobody is assigned an address that is taken; the cluster's own record comes last, as nothing is in use
/// without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The kind is written after the allocations.
    Settings,
    /// The kind is written after the settings.
    Pools,
    /// The kind is written at the end.
    Cluster,
}

/// The consequence if a stored record cannot be read, and the remedy. Each text is the end of a sentence
/// about the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The text if the whole record cannot be read.
    pub whole: &'static str,
    /// The text if a part of the record cannot be read.
    pub part: &'static str,
}

const LEFT_OUT: &str = "it is left out until it is deleted (calicoctl delete) and created anew";

/// Checks a document before it is written. It gets the document that this one replaces, if there is one, and
/// the faults that the caller found by looking at other objects.
pub type BeforeWrite = fn(&Document, Option<&Document>, Vec<FieldError>) -> Result<(), ValidationError>;

/// Everything in which kinds differ. `Definition::new` has what most kinds have in common.
#[derive(Debug)]
pub struct Definition {
    /// The kind's name in keys and URLs: `ippools`.
    pub plural: &'static str,
    /// The names that the command line accepts for the kind, in lower case; empty if the command line does
    /// not know the kind.
    pub aliases: &'static [&'static str],
    /// A well-known abbreviation, which the help shows beside the kind.
    pub short: Option<&'static str>,
    /// Whether resources of the kind are in namespaces.
    pub scope: KindScope,
    /// The kind's Go type, with its package: `v3.IPPool`.
    pub go: &'static str,
    /// The Go struct behind that type.
    pub schema: &'static Struct,
    /// The columns in which tables show the kind.
    pub columns: &'static Columns,
    /// How resources of the kind are stored in Kubernetes.
    pub home: Home,
    /// The part that the kind plays in allocation.
    pub role: Role,
    /// When a copy of a datastore writes the kind.
    pub stage: Stage,
    /// If resources of the kind are named after nodes: the prefix before the node's name. An export renames
    /// such a resource with its node, and deleting the node deletes it.
    pub node_prefix: Option<&'static str>,
    /// Whether a resource whose `spec.node` names a node is deleted with that node.
    pub goes_with_node: bool,
    /// A number by which lists are sorted first; resources with the same number are sorted by name.
    pub rank: fn(&Document) -> f64,
    /// The consequence if a stored record of the kind cannot be read.
    pub unreadable: Unreadable,
    /// Why users may not do a write operation; `None` if they may.
    pub refusal: fn(Backend, Operation) -> Option<OperationRefusal>,
    /// Fills in defaults before a resource is stored.
    pub on_write: fn(&mut Document),
    /// Fills in defaults that a stored resource lacks, for readers; `None` if resources are shown as stored.
    pub on_read: Option<fn(&mut Document)>,
    /// Puts into a resource what the stored one, which it replaces, has, what cannot change, and what the
    /// resource does not mention.
    pub keep: fn(&mut Document, &Document),
    /// Checks a resource before it is written, and before defaults are applied.
    pub before_write: BeforeWrite,
    /// The rules of Go's fields and structs, except for those of metadata.
    pub client: fn(&Document) -> Vec<FieldError>,
    /// The rules in the schema of the custom resource, and then the schema's expressions.
    pub crd: fn(&Document) -> Vec<FieldError>,
    /// Values that Calico takes, and that nobody can use.
    pub odd: fn(&Document) -> Vec<FieldError>,
    /// Whether a resource whose fields are all valid may be created.
    pub on_create: fn(&Document) -> Result<(), ValidationError>,
    /// Whether a resource whose fields are all valid may replace the stored one.
    pub on_update: fn(&Document) -> Result<(), ValidationError>,
}

impl Definition {
    /// The definition of a cluster-wide kind without rules and defaults, and without a part in allocation.
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
            keep: |_, _| {},
            before_write: |_, _, found| result(found),
            client: |_| Vec::new(),
            crd: |_| Vec::new(),
            odd: |_| Vec::new(),
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
