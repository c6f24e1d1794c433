//! A `projectcalico.org/v3` resource as a document: what it says in the order in which it says it, fields that we do not know
//! included. Typed views of what the allocator needs ([`Pool`], [`Node`], [`Reservation`]) are made from it once and kept with it.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value as Json};

use crate::key::Key;
use crate::kind::{Kind, Scope};
use crate::node::Node;
use crate::pool::{Pool, PoolError};
use crate::reservation::Reservation;

/// The version of all resources.
pub const API_VERSION: &str = "projectcalico.org/v3";

/// What every resource says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// The name.
    pub name: String,
    /// The namespace, for kinds that have one.
    pub namespace: Option<String>,
    /// The unique ID.
    pub uid: Option<String>,
    /// The revision that a reader saw; not part of the stored text.
    pub resource_version: Option<String>,
    /// When it was created, RFC 3339.
    pub creation_timestamp: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Every other field (`generation`, `finalizers`, `deletionTimestamp`, ...) as it stands.
    pub rest: Map<String, Json>,
}

impl Metadata {
    /// What the name was made from, where somebody else made it up: a pod's.
    pub fn generate_name(&self) -> Option<String> {
        self.rest.get("generateName")?.as_str().map(str::to_string)
    }

    /// Fields that nothing depends on and that are of another type than theirs: field and reason.
    pub fn oddities(&self) -> Vec<(String, String)> {
        let texts = ["uid", "resourceVersion", "creationTimestamp"].into_iter();
        let texts = texts.filter_map(|field| Some((field, self.rest.get(field)?, "is not a text")));
        let numbers = ["generation"].into_iter();
        let numbers = numbers.filter_map(|field| Some((field, self.rest.get(field)?, "is not a number")));
        let numbers = numbers.filter(|(_, json, _)| !json.is_i64() && !json.is_null());
        let odd = texts.chain(numbers);
        odd.map(|(field, json, reason)| {
            (format!("metadata.{field}"), format!("{} {reason}", crate::fault::excerpt(json)))
        })
        .collect()
    }

    /// Whether deletion has begun.
    pub fn is_deleting(&self) -> bool {
        self.rest.get("deletionTimestamp").is_some_and(|t| !t.is_null())
    }
}

/// Why a stored text is no resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ResourceError(pub String);

/// A resource.
#[derive(Debug)]
pub struct Resource {
    kind: Kind,
    metadata: Metadata,
    /// `spec`, `status` and whatever else stands beside `metadata`, in order.
    body: Map<String, Json>,
    pool: OnceLock<Result<Arc<Pool>, PoolError>>,
    node: OnceLock<Arc<Node>>,
    reservation: OnceLock<Arc<Reservation>>,
}

impl Resource {
    /// A resource of that kind; `body` holds `spec` and, where the kind has it, `status`.
    pub fn new(kind: Kind, metadata: Metadata, body: Map<String, Json>) -> Resource {
        Resource {
            kind,
            metadata,
            body,
            pool: OnceLock::new(),
            node: OnceLock::new(),
            reservation: OnceLock::new(),
        }
    }

    /// Reads a stored document leniently: unknown fields stay.
    pub fn from_json(kind: Kind, json: Json) -> Result<Resource, ResourceError> {
        let wrong = |what: &str| ResourceError(format!("{kind}: {what}"));
        let Json::Object(mut body) = json else { return Err(wrong("not an object")) };
        body.shift_remove("kind");
        body.shift_remove("apiVersion");
        let mut rest = match body.shift_remove("metadata") {
            Some(Json::Object(map)) => map,
            None | Some(Json::Null) => Map::new(),
            Some(_) => return Err(wrong("metadata is not an object")),
        };
        let mut text = |field: &str| match rest.shift_remove(field) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(s)) => Ok(Some(s).filter(|s| !s.is_empty())),
            Some(_) => Err(wrong(&format!("metadata.{field} is not a text"))),
        };
        let name = text("name")?.unwrap_or_default();
        let namespace = text("namespace")?;
        // Nothing depends on these: what is no text stays in `rest` as it stands, and stops nothing.
        let mut told = |field: &str| match rest.get(field) {
            Some(Json::String(_) | Json::Null) => match rest.shift_remove(field) {
                Some(Json::String(s)) => Some(s).filter(|s| !s.is_empty()),
                _ => None,
            },
            _ => None,
        };
        let uid = told("uid");
        let resource_version = told("resourceVersion");
        let creation_timestamp = told("creationTimestamp");
        let mut map = |field: &str| match rest.shift_remove(field) {
            None | Some(Json::Null) => Ok(BTreeMap::new()),
            Some(json) => serde_json::from_value(json).map_err(|e| wrong(&format!("metadata.{field}: {e}"))),
        };
        let labels = map("labels")?;
        let annotations = map("annotations")?;
        let metadata = Metadata {
            name,
            namespace,
            uid,
            resource_version,
            creation_timestamp,
            labels,
            annotations,
            rest,
        };
        Ok(Resource::new(kind, metadata, body))
    }

    /// The whole document in Go's field order, with `resourceVersion` where there is one.
    pub fn to_json(&self) -> Json {
        let mut out = Map::new();
        out.insert("kind".into(), self.kind.name().into());
        out.insert("apiVersion".into(), API_VERSION.into());
        out.insert("metadata".into(), self.metadata_json());
        out.extend(self.body.iter().map(|(k, v)| (k.clone(), v.clone())));
        Json::Object(out)
    }

    fn metadata_json(&self) -> Json {
        let m = &self.metadata;
        let mut out = Map::new();
        let mut text = |field: &str, value: Option<&String>| {
            if let Some(value) = value.filter(|v| !v.is_empty()) {
                out.insert(field.into(), value.as_str().into());
            }
        };
        text("name", Some(&m.name));
        text("generateName", m.generate_name().as_ref());
        text("namespace", m.namespace.as_ref());
        text("uid", m.uid.as_ref());
        text("resourceVersion", m.resource_version.as_ref());
        if let Some(generation) = m.rest.get("generation") {
            out.insert("generation".into(), generation.clone());
        }
        if let Some(time) = &m.creation_timestamp {
            out.insert("creationTimestamp".into(), time.as_str().into());
        }
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
            if let Some(value) = m.rest.get(field) {
                out.insert(field.into(), value.clone());
            }
        }
        for (field, map) in [("labels", &m.labels), ("annotations", &m.annotations)] {
            if !map.is_empty() {
                let map = map.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
                out.insert(field.into(), Json::Object(map));
            }
        }
        for (field, value) in &m.rest {
            if !out.contains_key(field) {
                out.insert(field.clone(), value.clone());
            }
        }
        Json::Object(out)
    }

    /// The text that etcd and the embedded store keep: without `resourceVersion`.
    pub fn to_stored_text(&self) -> String {
        let mut json = self.to_json();
        if let Some(metadata) = json.get_mut("metadata").and_then(Json::as_object_mut) {
            metadata.shift_remove("resourceVersion");
        }
        crate::json::to_go_text(&json)
    }

    /// The kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// The body: `spec`, `status` and whatever else stands beside `metadata`.
    pub fn body(&self) -> &Map<String, Json> {
        &self.body
    }

    /// A field of the body by its path, as in `field(&["spec", "cidr"])`; `None` when absent or null.
    pub fn field(&self, path: &[&str]) -> Option<&Json> {
        let (first, rest) = path.split_first()?;
        let mut at = self.body.get(*first)?;
        for step in rest {
            at = at.get(*step)?;
        }
        (!at.is_null()).then_some(at)
    }

    /// A text field of the body by its path; `None` when absent, empty or of another type.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.field(path)?.as_str().filter(|s| !s.is_empty())
    }

    /// The key that it is stored under.
    pub fn key(&self) -> Key {
        let namespace = match self.kind.scope() {
            Scope::Cluster => None,
            Scope::Namespaced => self.metadata.namespace.clone(),
        };
        Key::Resource { kind: self.kind, namespace, name: self.metadata.name.clone() }
    }

    /// A copy with something changed.
    pub fn with(&self, change: impl FnOnce(&mut Metadata, &mut Map<String, Json>)) -> Resource {
        let (mut metadata, mut body) = (self.metadata.clone(), self.body.clone());
        change(&mut metadata, &mut body);
        Resource::new(self.kind, metadata, body)
    }

    /// As an IPPool, defaults applied. Made once.
    ///
    /// # Panics
    /// Never; a resource of another kind gives an error.
    pub fn as_pool(&self) -> Result<&Arc<Pool>, &PoolError> {
        self.pool.get_or_init(|| Pool::effective(self).map(Arc::new)).as_ref()
    }

    /// As a Node. Made once.
    pub fn as_node(&self) -> &Arc<Node> {
        self.node.get_or_init(|| Arc::new(Node::of(self)))
    }

    /// As an IPReservation; entries that are no network are left out, as Calico leaves them out. Made once.
    pub fn as_reservation(&self) -> &Arc<Reservation> {
        self.reservation.get_or_init(|| Arc::new(Reservation::of(self)))
    }
}

impl Clone for Resource {
    fn clone(&self) -> Self {
        Resource::new(self.kind, self.metadata.clone(), self.body.clone())
    }
}

impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.metadata == other.metadata && self.body == other.body
    }
}
