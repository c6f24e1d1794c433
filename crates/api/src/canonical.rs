//! Documents in the form in which Calico writes them, and the fields in them that Calico does not know.

use serde_json::{Map, Value as Json};

use crate::resource::Resource;
use crate::schema::{Field, OBJECT_META, Omit, Shape, Struct};

impl Resource {
    /// The same resource with its fields in Go's order: zero values left out where Go leaves them out and
    /// written where Go writes them, unknown fields after the known ones of their object. Values of a wrong
    /// type stay.
    pub fn canonical(&self) -> Resource {
        self.with(|metadata, body| {
            metadata.rest = object(&OBJECT_META, std::mem::take(&mut metadata.rest));
            *body = object(self.kind().schema(), std::mem::take(body));
            for field in ["kind", "apiVersion", "metadata"] {
                body.shift_remove(field);
            }
        })
    }

    /// This resource with the fields of `stored` that the schema does not know, at every level.
    ///
    /// They survive where their object does: an object that was removed takes its unknown fields along. Items
    /// of a list are matched by position, and only while the list keeps its length, since nothing else says
    /// which item is which. An unknown field that this resource has too keeps this resource's value.
    pub fn carry_residue(&self, stored: &Resource) -> Resource {
        self.with(|metadata, body| {
            carry(&OBJECT_META, &mut metadata.rest, &stored.metadata().rest);
            carry(self.kind().schema(), body, stored.body());
        })
    }

    /// This resource without the fields that the schema does not know: what Calico's own programs see of it.
    pub fn without_residue(&self) -> Resource {
        self.with(|metadata, body| {
            strip(&OBJECT_META, &mut metadata.rest);
            strip(self.kind().schema(), body);
        })
    }
}

/// An object in Go's order. See [`Resource::canonical`].
pub(crate) fn object(of: &'static Struct, mut map: Map<String, Json>) -> Map<String, Json> {
    let mut out = Map::new();
    for field in of.fields {
        let value = map.shift_remove(field.json).filter(|v| !v.is_null()).map(|v| value(&field.ty.shape, v));
        let value = match (field.omit, value) {
            (Omit::Zero, Some(v)) if is_zero(&v) => None,
            (Omit::Zero | Omit::Absent, v) => v,
            (Omit::Never, v) => Some(v.unwrap_or_else(|| zero(&field.ty.shape))),
            (Omit::NeverTrue, v) => Some(v.unwrap_or(Json::Bool(true))),
        };
        if let Some(value) = value {
            out.insert(field.json.into(), value);
        }
    }
    out.extend(map);
    out
}

fn value(shape: &'static Shape, value: Json) -> Json {
    match (shape, value) {
        (Shape::Struct(of), Json::Object(map)) => Json::Object(object(of, map)),
        (Shape::List(item), Json::Array(items)) => {
            Json::Array(items.into_iter().map(|v| self::value(&item.shape, v)).collect())
        }
        (_, other) => other,
    }
}

/// The zero value of a Go type, as Go writes it.
pub(crate) fn zero(shape: &Shape) -> Json {
    match shape {
        Shape::Text => "".into(),
        Shape::Bool => false.into(),
        Shape::Int { .. } | Shape::Float | Shape::AsNumber | Shape::Uint8OrText => 0.into(),
        Shape::Struct(of) => Json::Object(object(of, Map::new())),
        Shape::Duration => "0s".into(),
        Shape::Map | Shape::List(_) | Shape::Time | Shape::Any => Json::Null,
    }
}

fn is_zero(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Bool(b) => !b,
        Json::Number(n) => n.as_f64() == Some(0.0),
        Json::String(s) => s.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(map) => map.is_empty(),
    }
}

fn carry(of: &Struct, new: &mut Map<String, Json>, stored: &Map<String, Json>) {
    for (key, before) in stored {
        match of.fields.iter().find(|f| f.json == key) {
            None => {
                new.entry(key.clone()).or_insert_with(|| before.clone());
            }
            Some(field) => {
                if let Some(after) = new.get_mut(key) {
                    carry_value(field, after, before);
                }
            }
        }
    }
}

fn carry_value(field: &Field, new: &mut Json, stored: &Json) {
    match (&field.ty.shape, new, stored) {
        (Shape::Struct(of), Json::Object(new), Json::Object(stored)) => carry(of, new, stored),
        (Shape::List(item), Json::Array(new), Json::Array(stored)) if new.len() == stored.len() => {
            let Shape::Struct(of) = &item.shape else { return };
            for (new, stored) in new.iter_mut().zip(stored) {
                if let (Json::Object(new), Json::Object(stored)) = (new, stored) {
                    carry(of, new, stored);
                }
            }
        }
        _ => {}
    }
}

fn strip(of: &Struct, map: &mut Map<String, Json>) {
    map.retain(|key, value| {
        let Some(field) = of.fields.iter().find(|f| f.json == key) else { return false };
        match (&field.ty.shape, value) {
            (Shape::Struct(of), Json::Object(map)) => strip(of, map),
            (Shape::List(item), Json::Array(items)) => {
                if let Shape::Struct(of) = &item.shape {
                    items.iter_mut().filter_map(Json::as_object_mut).for_each(|map| strip(of, map));
                }
            }
            _ => {}
        }
        true
    });
}
