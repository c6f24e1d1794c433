//! A `projectcalico.org/v3` resource: a document with its kind. The allocator's views of a resource
//! ([`Pool`], [`Node`], [`Reservation`]) are computed when they are first needed, and then kept with the
//! resource.

use std::cmp::Ordering;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value as Json};

use crate::document::Document;
use crate::key::Key;
use crate::kinds::{Kind, KindScope, Role};
use crate::node::Node;
use crate::pool::{Pool, PoolError};
use crate::reservation::Reservation;

pub use crate::document::Metadata;

/// The version of all resources.
pub const API_VERSION: &str = "projectcalico.org/v3";

/// Why a stored text is no resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ResourceError(pub String);

/// A resource: a document of a kind.
#[derive(Debug)]
pub struct Resource {
    kind: Kind,
    document: Document,
    pool: OnceLock<Result<Arc<Pool>, PoolError>>,
    node: OnceLock<Arc<Node>>,
    reservation: OnceLock<Arc<Reservation>>,
}

impl Resource {
    /// A resource of that kind; `body` holds `spec` and, where the kind has it, `status`.
    pub fn new(kind: Kind, metadata: Metadata, body: Map<String, Json>) -> Resource {
        Resource::of(kind, Document { metadata, body })
    }

    /// A resource of that kind with that document.
    pub(crate) fn of(kind: Kind, document: Document) -> Resource {
        Resource {
            kind,
            document,
            pool: OnceLock::new(),
            node: OnceLock::new(),
            reservation: OnceLock::new(),
        }
    }

    /// Reads a stored document leniently: unknown fields stay.
    pub fn from_json(kind: Kind, json: Json) -> Result<Resource, ResourceError> {
        let document = Document::from_json(json).map_err(|e| ResourceError(format!("{kind}: {e}")))?;
        Ok(Resource::of(kind, document))
    }

    /// The whole document in Go's field order, with `resourceVersion` where there is one.
    pub fn to_json(&self) -> Json {
        let mut out = Map::new();
        out.insert("kind".into(), self.kind.name().into());
        out.insert("apiVersion".into(), API_VERSION.into());
        out.insert("metadata".into(), self.document.metadata.to_json());
        out.extend(self.document.body.iter().map(|(k, v)| (k.clone(), v.clone())));
        Json::Object(out)
    }

    /// The text that etcd and the embedded store keep: without `resourceVersion`.
    pub fn to_stored_text(&self) -> String {
        let mut json = self.to_json();
        if let Some(metadata) = json.get_mut("metadata").and_then(Json::as_object_mut) {
            metadata.shift_remove("resourceVersion");
        }
        golang::json::to_text(&json)
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The key that it is stored under.
    pub fn key(&self) -> Key {
        let namespace = match self.kind.scope() {
            KindScope::Cluster => None,
            KindScope::Namespaced => self.metadata().namespace.clone(),
        };
        Key::Resource { kind: self.kind, namespace, name: self.name().to_string() }
    }

    /// The order of two resources of a kind in a list: by rank (for tiers, their field `order`), then by key.
    pub fn compare(&self, other: &Resource) -> Ordering {
        let rank = |resource: &Resource| (resource.kind.definition().rank)(resource);
        let path = |resource: &Resource| resource.key().etcd_path();
        rank(self).total_cmp(&rank(other)).then_with(|| path(self).cmp(&path(other)))
    }

    /// A copy with something changed.
    pub fn with(&self, change: impl FnOnce(&mut Metadata, &mut Map<String, Json>)) -> Resource {
        self.with_document(|document| change(&mut document.metadata, &mut document.body))
    }

    /// As [`Resource::with`], for code that changes the document itself.
    pub(crate) fn with_document(&self, change: impl FnOnce(&mut Document)) -> Resource {
        let mut document = self.document.clone();
        change(&mut document);
        Resource::of(self.kind, document)
    }

    /// The pool that this IPPool describes, defaults applied; computed once.
    ///
    /// # Errors
    /// When it is of another kind, or its network or block size cannot be read.
    pub fn as_pool(&self) -> Result<&Arc<Pool>, &PoolError> {
        let effective = || match self.kind.definition().role {
            Role::Pool => Pool::effective(self).map(Arc::new),
            _ => Err(PoolError::Kind(self.kind.name())),
        };
        self.pool.get_or_init(effective).as_ref()
    }

    /// The node that this Node describes; computed once.
    pub fn as_node(&self) -> &Arc<Node> {
        self.node.get_or_init(|| Arc::new(Node::of(self)))
    }

    /// The networks that this IPReservation keeps back; computed once. Entries that are no networks keep
    /// nothing back, as in Calico.
    pub fn as_reservation(&self) -> &Arc<Reservation> {
        self.reservation.get_or_init(|| Arc::new(Reservation::of(self)))
    }
}

impl Deref for Resource {
    type Target = Document;

    fn deref(&self) -> &Document {
        &self.document
    }
}

impl Clone for Resource {
    fn clone(&self) -> Self {
        Resource::of(self.kind, self.document.clone())
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.document == other.document
    }
}
