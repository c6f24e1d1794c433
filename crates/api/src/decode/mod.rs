//! Documents that somebody wrote, strictly decoded as `calicoctl` decodes them
//! (`calicoctl/calicoctl/resourcemgr`, `sigs.k8s.io/yaml`, `encoding/json`).
//!
//! What is stored is read leniently instead, by [`Resource::from_json`].

mod value;

use serde_json::{Map, Value as Json};

use crate::canonical;
use crate::crd::{self, Collection, Group};
use crate::kinds::Kind;
use crate::near::nearest;
use crate::record::Value;
use crate::resource::{API_VERSION, Resource};
use crate::schema::{Field, LIST_META, Shape, Struct, Type};
use golang::json;
use value::Decoder;

/// Why a document is not accepted as a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// A field that the kind does not have. The text stands alone: `calicoctl` puts nothing before it.
    #[error("field in document is not recognized or is in the wrong location: {field}")]
    UnknownField {
        /// The field, as the document has it.
        field: String,
        /// The path of a field of the kind that was perhaps meant.
        near: Option<String>,
    },
    /// A value of the wrong type, or one that cannot be read. Holds Go's text.
    #[error("error unmarshaling JSON: while decoding JSON: {0}")]
    Json(String),
    /// The kind or version is unknown.
    #[error("unknown resource type ({kind}) and/or version ({version})")]
    UnknownKind {
        /// The kind, as the document has it.
        kind: String,
        /// The version, as the document has it.
        version: String,
    },
    /// A typed list has an item of another kind. (Calico's calicoctl crashes.)
    #[error("item {index} of {list} is of kind {kind}")]
    ItemKind {
        /// The number of the item in the list, counted from 1.
        index: usize,
        /// The kind of the list.
        list: String,
        /// The kind of the item.
        kind: String,
    },
}

impl InputError {
    /// What helps, where the words do not say it.
    pub fn help(&self) -> Option<String> {
        match self {
            InputError::UnknownField { near, .. } => {
                near.as_ref().map(|near| format!("did you mean {near}?"))
            }
            InputError::UnknownKind { kind, version } if version.is_empty() && !kind.is_empty() => {
                Some(format!("apiVersion is missing: write apiVersion: {API_VERSION}"))
            }
            InputError::UnknownKind { kind, .. } => {
                let offered = Kind::ALL.iter().filter(|kind| kind.is_offered()).map(|kind| kind.name());
                let offered: Vec<_> = offered.collect();
                Some(match nearest(kind, offered.iter().copied()) {
                    Some(near) => format!("write apiVersion: {API_VERSION} and kind: {near}"),
                    None => format!("apiVersion {API_VERSION} has the kinds {}", offered.join(", ")),
                })
            }
            InputError::Json(text) => wanted_type(text),
            InputError::ItemKind { .. } => None,
        }
    }
}

/// The field of a wrong type, and what to write there, from Go's words: `cannot unmarshal string into Go
/// struct field IPPoolSpec.spec.disabled of type bool`.
fn wanted_type(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("into Go struct field ")?;
    let (field, go) = rest.split_once(" of type ")?;
    let (_, path) = field.split_once('.')?;
    let wanted = match go {
        "bool" => "true or false, without quotes".to_string(),
        "int" | "int32" | "int64" | "uint16" | "uint8" => "a whole number, without quotes".to_string(),
        "string" => "a text".to_string(),
        "map[string]string" => "names with texts, a line each".to_string(),
        list if list.starts_with("[]") => "a list".to_string(),
        _ => return Some(format!("{path} has fields of its own below it")),
    };
    Some(format!("{path} takes {wanted}"))
}

/// Reads a document: an object, a typed list (`IPPoolList` with `items`), a bare array of objects of any
/// kinds, or what `kubectl get -o yaml` writes: a `List`, and objects of the group
/// `crd.projectcalico.org/v1`.
///
/// Inside an array plain scalars are not turned into texts where a text is wanted (`name: 7` is an error),
/// elsewhere they are, as the original's YAML reader does.
///
/// # Errors
/// The first fault, in the order in which the original finds faults: fields sorted by name.
pub fn decode_document(document: Json) -> Result<Vec<Resource>, InputError> {
    match document {
        Json::Null => Err(unknown_kind(&Map::new())),
        Json::Array(items) => {
            let mut kinds = Vec::with_capacity(items.len());
            for item in &items {
                kinds.push(array_item_map(item)?);
            }
            let mut wanted = Vec::with_capacity(items.len());
            for map in kinds {
                wanted.push(match target(map)? {
                    Target::One(kind) => (kind, map),
                    Target::List(_) | Target::Custom(_) | Target::AnyList => return Err(unknown_kind(map)),
                });
            }
            wanted.into_iter().map(|(kind, map)| object(kind, map, false)).collect()
        }
        Json::Object(map) if type_text(&map, "kind").is_some() => match target(&map)? {
            Target::One(kind) => object(kind, &map, true).map(|resource| vec![resource]),
            Target::List(kind) => typed_list(kind, &map),
            Target::Custom(kind) => custom_resource(kind, &map).map(|resource| vec![resource]),
            Target::AnyList => any_list(&map),
        },
        other => Err(not_a_list(&other)),
    }
}

/// The error for a document that is neither an object with a kind nor an array. As a last try, Calico reads
/// such a document as an array.
fn not_a_list(json: &Json) -> InputError {
    InputError::Json(format!(
        "json: cannot unmarshal {} into Go value of type []unstructured.Unstructured",
        json::type_name(json)
    ))
}

impl Resource {
    /// Reads one object strictly: unknown fields and wrong types are errors. The result is canonical (see
    /// [`Resource::canonical`]).
    ///
    /// # Errors
    /// As [`decode_document`]; a list is an unknown kind here.
    pub fn from_input(json: Json) -> Result<Resource, InputError> {
        match &json {
            Json::Object(map) if type_text(map, "kind").is_some() => match target(map)? {
                Target::One(kind) => object(kind, map, true),
                Target::List(_) | Target::Custom(_) | Target::AnyList => Err(unknown_kind(map)),
            },
            other => Err(not_a_list(other)),
        }
    }
}

enum Target {
    One(Kind),
    List(Kind),
    /// An object as the custom resources of Kubernetes have it.
    Custom(Kind),
    /// `kind: List`.
    AnyList,
}

fn target(map: &Map<String, Json>) -> Result<Target, InputError> {
    let kind = type_text(map, "kind").unwrap_or_default();
    let known = |name: &str| {
        let kind = Kind::from_name(name).filter(|kind| kind.is_offered());
        kind.filter(|_| type_text(map, "apiVersion") == Some(API_VERSION))
    };
    if let Some(kind) = known(kind) {
        return Ok(Target::One(kind));
    }
    if let Some(kind) = kind.strip_suffix("List").and_then(known) {
        return Ok(Target::List(kind));
    }
    match type_text(map, "apiVersion") {
        Some("v1") if kind == "List" => Ok(Target::AnyList),
        Some(version) if version == Group::V1.api_version() => {
            let kinds = Kind::ALL.iter().filter(|kind| kind.is_offered());
            let mut custom = kinds.filter(|kind| Collection::of_kind(**kind).is_some());
            let found = custom.find(|found| Collection::Resources(**found).kind_name(Group::V1) == kind);
            found.map(|kind| Target::Custom(*kind)).ok_or_else(|| unknown_kind(map))
        }
        _ => Err(unknown_kind(map)),
    }
}

/// An object of `crd.projectcalico.org/v1`, which keeps the resource's metadata in an annotation. What is
/// read from it leniently is then read as strictly as any other document.
fn custom_resource(kind: Kind, map: &Map<String, Json>) -> Result<Resource, InputError> {
    let text = Json::Object(map.clone()).to_string();
    let read = crd::decode(Group::V1, Collection::Resources(kind), &text);
    let object = read.map_err(|error| InputError::Json(error.to_string()))?;
    let Value::Resource(resource) = object.value else { return Err(unknown_kind(map)) };
    let version = Some(object.revision.as_str().to_string()).filter(|version| !version.is_empty());
    Resource::from_input(resource.with(|metadata, _| metadata.resource_version = version).to_json())
}

fn any_list(map: &Map<String, Json>) -> Result<Vec<Resource>, InputError> {
    let known = ["kind", "apiVersion", "metadata", "items"];
    if let Some(field) = map.keys().find(|field| !known.contains(&field.as_str())) {
        return Err(InputError::UnknownField { field: field.clone(), near: None });
    }
    let items = map.get("items").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let read = |item: &Json| match item {
        Json::Object(map) if type_text(map, "kind").is_some() => match target(map)? {
            Target::One(kind) => object(kind, map, true),
            Target::Custom(kind) => custom_resource(kind, map),
            Target::List(_) | Target::AnyList => Err(unknown_kind(map)),
        },
        other => array_item_map(other).and_then(|map| Err(unknown_kind(map))),
    };
    items.iter().map(read).collect()
}

fn type_text<'a>(map: &'a Map<String, Json>, field: &str) -> Option<&'a str> {
    map.get(field).and_then(Json::as_str).filter(|s| !s.is_empty())
}

fn unknown_kind(map: &Map<String, Json>) -> InputError {
    let version = type_text(map, "apiVersion").unwrap_or_default();
    // `schema.ParseGroupVersion` takes one slash at most.
    let version = if version == "/" || version.matches('/').count() > 1 { "" } else { version };
    InputError::UnknownKind {
        kind: type_text(map, "kind").unwrap_or_default().to_string(),
        version: version.strip_prefix('/').unwrap_or(version).to_string(),
    }
}

fn array_item_map(item: &Json) -> Result<&Map<String, Json>, InputError> {
    match item {
        Json::Object(map) if type_text(map, "kind").is_some() => Ok(map),
        Json::Object(_) | Json::Null => {
            let text = json::to_text(&sorted(item));
            Err(InputError::Json(format!("Object 'Kind' is missing in '{text}'")))
        }
        other => Err(InputError::Json(format!(
            "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            json::type_name(other)
        ))),
    }
}

fn sorted(json: &Json) -> Json {
    match json {
        Json::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by(|a, b| a.0.cmp(b.0));
            Json::Object(entries.into_iter().map(|(k, v)| (k.clone(), sorted(v))).collect())
        }
        Json::Array(items) => Json::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

fn object(kind: Kind, map: &Map<String, Json>, coerce: bool) -> Result<Resource, InputError> {
    let mut decoder = Decoder::new(coerce);
    let decoded = decoder.object(kind.schema(), map);
    decoder.finish().map_err(|fault| with_near(fault, kind))?;
    resource(kind, decoded)
}

fn with_near(fault: InputError, kind: Kind) -> InputError {
    match fault {
        InputError::UnknownField { field, .. } => {
            InputError::UnknownField { near: kind.schema().nearest(&field), field }
        }
        other => other,
    }
}

fn typed_list(kind: Kind, map: &Map<String, Json>) -> Result<Vec<Resource>, InputError> {
    let mut decoder = Decoder::new(true);
    let mut decoded = decoder.list(kind.list_kind(), map, &kind.go_type(), &LIST_META);
    decoder.finish().map_err(|fault| with_near(fault, kind))?;
    let items = decoded.shift_remove("items").and_then(|items| match items {
        Json::Array(items) => Some(items),
        _ => None,
    });
    let items = items.into_iter().flatten().enumerate();
    let read = |(i, item): (usize, Json)| {
        let Json::Object(item) = item else { return resource(kind, Map::new()) };
        match type_text(&item, "kind") {
            Some(other) if other != kind.name() => Err(InputError::ItemKind {
                index: i + 1,
                list: kind.list_kind().to_string(),
                kind: other.to_string(),
            }),
            _ => resource(kind, item),
        }
    };
    items.map(read).collect()
}

fn resource(kind: Kind, decoded: Map<String, Json>) -> Result<Resource, InputError> {
    let decoded = canonical::object(kind.schema(), decoded);
    Resource::from_json(kind, Json::Object(decoded)).map_err(|e| InputError::Json(e.to_string()))
}

#[cfg(test)]
mod tests;
