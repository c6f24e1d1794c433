//! A document: the metadata and the body of a resource, fields in the order in which they were read, unknown
//! fields included. A document does not know its kind; a [`crate::resource::Resource`] is a document with its
//! kind.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use crate::excerpt::excerpt;

/// The metadata of a resource.
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
    /// The `generateName` that Kubernetes made the name from, where it did.
    pub fn generate_name(&self) -> Option<String> {
        self.rest.get("generateName")?.as_str().map(str::to_string)
    }

    /// Fields on which nothing depends and whose values have a wrong type: field and reason of each.
    pub fn oddities(&self) -> Vec<(String, String)> {
        let texts = ["uid", "resourceVersion", "creationTimestamp"].into_iter();
        let texts = texts.filter_map(|field| Some((field, self.rest.get(field)?, "is not a text")));
        let numbers = ["generation"].into_iter();
        let numbers = numbers.filter_map(|field| Some((field, self.rest.get(field)?, "is not a number")));
        let numbers = numbers.filter(|(_, json, _)| !json.is_i64() && !json.is_null());
        let odd = texts.chain(numbers);
        odd.map(|(field, json, reason)| (format!("metadata.{field}"), format!("{} {reason}", excerpt(json))))
            .collect()
    }

    /// Whether the resource's deletion has begun.
    pub fn is_deleting(&self) -> bool {
        self.rest.get("deletionTimestamp").is_some_and(|t| !t.is_null())
    }

    /// The finalizers: while there is one, Kubernetes keeps the object.
    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        let all = self.rest.get("finalizers").and_then(Json::as_array);
        all.into_iter().flatten().filter_map(Json::as_str)
    }

    /// The metadata in Go's field order.
    pub(crate) fn to_json(&self) -> Json {
        let mut out = Map::new();
        let mut text = |field: &str, value: Option<&String>| {
            if let Some(value) = value.filter(|v| !v.is_empty()) {
                out.insert(field.into(), value.as_str().into());
            }
        };
        text("name", Some(&self.name));
        text("generateName", self.generate_name().as_ref());
        text("namespace", self.namespace.as_ref());
        text("uid", self.uid.as_ref());
        text("resourceVersion", self.resource_version.as_ref());
        if let Some(generation) = self.rest.get("generation") {
            out.insert("generation".into(), generation.clone());
        }
        if let Some(time) = &self.creation_timestamp {
            out.insert("creationTimestamp".into(), time.as_str().into());
        }
        for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
            if let Some(value) = self.rest.get(field) {
                out.insert(field.into(), value.clone());
            }
        }
        for (field, map) in [("labels", &self.labels), ("annotations", &self.annotations)] {
            if !map.is_empty() {
                let map = map.iter().map(|(k, v)| (k.clone(), v.as_str().into())).collect();
                out.insert(field.into(), Json::Object(map));
            }
        }
        for (field, value) in &self.rest {
            if !out.contains_key(field) {
                out.insert(field.clone(), value.clone());
            }
        }
        Json::Object(out)
    }
}

/// A resource without its kind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    pub(crate) metadata: Metadata,
    /// `spec`, `status` and all other fields beside `metadata`, in order.
    pub(crate) body: Map<String, Json>,
}

impl Document {
    /// Reads a stored document leniently: unknown fields stay. `kind` and `apiVersion` are left out, whatever
    /// they say.
    pub(crate) fn from_json(json: Json) -> Result<Document, String> {
        let Json::Object(mut body) = json else { return Err("not an object".to_string()) };
        body.shift_remove("kind");
        body.shift_remove("apiVersion");
        let mut rest = match body.shift_remove("metadata") {
            Some(Json::Object(map)) => map,
            None | Some(Json::Null) => Map::new(),
            Some(_) => return Err("metadata is not an object".to_string()),
        };
        let mut text = |field: &str| match rest.shift_remove(field) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(s)) => Ok(Some(s).filter(|s| !s.is_empty())),
            Some(_) => Err(format!("metadata.{field} is not a text")),
        };
        let name = text("name")?.unwrap_or_default();
        let namespace = text("namespace")?;
        // Nothing depends on these fields: a value that is no text stays in `rest`, and the document is read
        // all the same.
        let mut text_if_any = |field: &str| match rest.get(field) {
            Some(Json::String(_) | Json::Null) => match rest.shift_remove(field) {
                Some(Json::String(s)) => Some(s).filter(|s| !s.is_empty()),
                _ => None,
            },
            _ => None,
        };
        let uid = text_if_any("uid");
        let resource_version = text_if_any("resourceVersion");
        let creation_timestamp = text_if_any("creationTimestamp");
        let mut map = |field: &str| match rest.shift_remove(field) {
            None | Some(Json::Null) => Ok(BTreeMap::new()),
            Some(json) => serde_json::from_value(json).map_err(|e| format!("metadata.{field}: {e}")),
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
        Ok(Document { metadata, body })
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

    /// A field of `spec`; null when absent.
    pub(crate) fn spec(&self, field: &str) -> &Json {
        self.field(&["spec", field]).unwrap_or(&Json::Null)
    }

    /// The whole `spec`, which is created if it does not exist.
    pub(crate) fn spec_mut(&mut self) -> &mut Map<String, Json> {
        object(&mut self.body, "spec")
    }
}

/// Sets a field that is absent or has its zero value.
pub(crate) fn fill(map: &mut Map<String, Json>, field: &str, value: impl FnOnce() -> Json) {
    let unset = match map.get(field) {
        None | Some(Json::Null) => true,
        Some(Json::String(s)) => s.is_empty(),
        Some(Json::Array(items)) => items.is_empty(),
        Some(Json::Number(n)) => n.as_f64() == Some(0.0),
        Some(_) => false,
    };
    if unset {
        map.insert(field.into(), value());
    }
}

/// The object in a field, which is created if it does not exist.
pub(crate) fn object<'a>(map: &'a mut Map<String, Json>, field: &str) -> &'a mut Map<String, Json> {
    let entry = map.entry(field).or_insert_with(|| Json::Object(Map::new()));
    if !entry.is_object() {
        *entry = Json::Object(Map::new());
    }
    match entry {
        Json::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}
