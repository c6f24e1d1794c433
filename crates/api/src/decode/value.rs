//! Decoding a JSON value by its Go type, with Go's texts for what does not fit.

use serde_json::{Map, Number, Value as Json};

use super::{Field, InputError, Shape, Struct, Type};
use crate::time;
use golang::json::type_name as json_type;
use golang::{duration, number};

/// Decodes by schema. Remembers the first fault and goes on, as Go's decoder does.
pub(super) struct Decoder {
    coerce: bool,
    fault: Option<InputError>,
    path: Vec<&'static str>,
    inside: &'static str,
}

impl Decoder {
    /// With `coerce`, plain scalars become texts where a text is wanted.
    pub(super) fn new(coerce: bool) -> Decoder {
        Decoder { coerce, fault: None, path: Vec::new(), inside: "" }
    }

    /// The first fault, if there was one.
    pub(super) fn finish(self) -> Result<(), InputError> {
        self.fault.map_or(Ok(()), Err)
    }

    /// Decodes an object; the result holds known fields only, by their exact names.
    pub(super) fn object(&mut self, of: &'static Struct, map: &Map<String, Json>) -> Map<String, Json> {
        let mut out = Map::new();
        self.merge(of, map, &mut out);
        out
    }

    /// Decodes a typed list: `kind`, `apiVersion`, `metadata` and `items`.
    pub(super) fn list(
        &mut self,
        list: &'static str,
        map: &Map<String, Json>,
        item: &Type,
        metadata: &'static Struct,
    ) -> Map<String, Json> {
        let mut out = Map::new();
        for (key, value) in by_name(map) {
            self.inside = list;
            let is = |name: &str| key.eq_ignore_ascii_case(name);
            if is("items") {
                self.path.push("items");
                match value {
                    Json::Array(items) => {
                        let items = items.iter().map(|v| self.value(item, v).unwrap_or(Json::Null)).collect();
                        out.insert("items".into(), Json::Array(items));
                    }
                    Json::Null => {}
                    other => self.mismatch(json_type(other), &format!("[]{}", item.go)),
                }
                self.path.pop();
            } else if is("metadata") {
                self.path.push("metadata");
                match value {
                    Json::Object(map) => {
                        self.object(metadata, map);
                    }
                    Json::Null => {}
                    other => self.mismatch(json_type(other), "v1.ListMeta"),
                }
                self.path.pop();
            } else if !is("kind") && !is("apiVersion") {
                self.unknown(key);
            }
        }
        out
    }

    /// Go decodes a field that is given twice (in different case) into what the first left behind.
    fn merge(&mut self, of: &'static Struct, map: &Map<String, Json>, out: &mut Map<String, Json>) {
        for (key, value) in by_name(map) {
            let Some(field) = of.field(key) else {
                self.unknown(key);
                continue;
            };
            let outside = std::mem::replace(&mut self.inside, of.go);
            self.path.push(field.json);
            self.field(field, value, out);
            self.path.pop();
            self.inside = outside;
        }
    }

    fn field(&mut self, field: &'static Field, value: &Json, out: &mut Map<String, Json>) {
        match (&field.ty.shape, value, out.get_mut(field.json)) {
            (_, Json::Null, _) => {
                if field.is_pointer() || matches!(field.ty.shape, Shape::Time) {
                    out.shift_remove(field.json);
                }
            }
            (Shape::Struct(of), Json::Object(map), Some(Json::Object(before))) => self.merge(of, map, before),
            _ => {
                if let Some(value) = self.value(&field.ty, value) {
                    out.insert(field.json.into(), value);
                }
            }
        }
    }

    /// The value as Go would write it again; `None` after a fault, or for null.
    fn value(&mut self, ty: &Type, value: &Json) -> Option<Json> {
        match (&ty.shape, value) {
            (_, Json::Null) => None,
            (Shape::Any, any) => Some(any.clone()),
            (Shape::Text, Json::String(_)) | (Shape::Bool, Json::Bool(_)) => Some(value.clone()),
            (Shape::Text, Json::Bool(b)) if self.coerce => Some(b.to_string().into()),
            (Shape::Text, Json::Number(n)) if self.coerce => Some(scalar_text(n).into()),
            (Shape::Int { min, max }, Json::Number(n)) => self.int(n, *min, *max, ty.go),
            (Shape::Float, Json::Number(n)) => Some(Json::Number(as_go_number(n))),
            (Shape::Map, Json::Object(map)) => Some(Json::Object(self.texts(map))),
            (Shape::List(item), Json::Array(items)) => {
                let zero = |item: &Type| crate::canonical::zero(&item.shape);
                Some(Json::Array(
                    items.iter().map(|v| self.value(item, v).unwrap_or_else(|| zero(item))).collect(),
                ))
            }
            (Shape::Struct(of), Json::Object(map)) => Some(Json::Object(self.object(of, map))),
            (Shape::AsNumber, _) => self.as_number(value),
            (Shape::Uint8OrText, _) => self.uint8_or_text(value),
            (Shape::Time, Json::String(text)) => self.or_fault(time::canonical(text)),
            (Shape::Duration, Json::String(text)) => self.or_fault(duration::parse(text).map(duration::text)),
            (Shape::Time | Shape::Duration, other) => {
                self.mismatch(json_type(other), "string");
                None
            }
            (_, other) => {
                self.mismatch(json_type(other), ty.go);
                None
            }
        }
    }

    fn texts(&mut self, map: &Map<String, Json>) -> Map<String, Json> {
        let text = Type { go: "string", shape: Shape::Text };
        let entries = by_name(map).into_iter();
        entries.map(|(k, v)| (k.clone(), self.value(&text, v).unwrap_or_else(|| "".into()))).collect()
    }

    fn int(&mut self, n: &Number, min: i64, max: i64, go: &str) -> Option<Json> {
        let text = number_text(n);
        match text.parse::<i64>() {
            Ok(int) if (min..=max).contains(&int) => Some(int.into()),
            _ => {
                self.mismatch(&format!("number {text}"), go);
                None
            }
        }
    }

    /// `numorstring.ASNumber`: a number of 32 bits; else a text that holds one, or two numbers of 16 bits
    /// with a dot between.
    fn as_number(&mut self, value: &Json) -> Option<Json> {
        match value {
            Json::Number(n) => match number_text(n).parse::<u32>() {
                Ok(number) => Some(number.into()),
                Err(_) => {
                    self.mismatch("number", "string");
                    None
                }
            },
            Json::String(text) => match parse_as_number(text) {
                Some(number) => Some(number.into()),
                None => self.or_fault(Err(format!("invalid AS Number format ({text})"))),
            },
            other => {
                self.mismatch(json_type(other), "string");
                None
            }
        }
    }

    fn uint8_or_text(&mut self, value: &Json) -> Option<Json> {
        match value {
            Json::String(text) => Some(match text.parse::<u8>() {
                Ok(number) => number.into(),
                Err(_) => text.as_str().into(),
            }),
            Json::Number(n) => self.int(n, 0, 255, "uint8"),
            other => {
                self.mismatch(json_type(other), "uint8");
                None
            }
        }
    }

    fn or_fault(&mut self, value: Result<String, String>) -> Option<Json> {
        match value {
            Ok(text) => Some(text.into()),
            Err(text) => {
                self.fault.get_or_insert(InputError::Json(text));
                None
            }
        }
    }

    fn unknown(&mut self, key: &str) {
        self.fault.get_or_insert(InputError::UnknownField { field: key.to_string(), near: None });
    }

    fn mismatch(&mut self, value: &str, go: &str) {
        let (inside, path) = (self.inside, self.path.join("."));
        let text =
            format!("json: cannot unmarshal {value} into Go struct field {inside}.{path} of type {go}");
        self.fault.get_or_insert(InputError::Json(text));
    }
}

/// The original's YAML reader goes through a Go map, which sorts the fields.
fn by_name(map: &Map<String, Json>) -> Vec<(&String, &Json)> {
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by(|a, b| a.0.cmp(b.0));
    entries
}

/// Reads `64512` or `1.10` (1 * 65536 + 10).
pub(crate) fn parse_as_number(text: &str) -> Option<u32> {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if digits(text) {
        return text.parse().ok();
    }
    let (high, low) = text.split_once('.')?;
    let number = |s: &str| digits(s).then(|| s.parse::<u16>().ok()).flatten();
    Some(u32::from(number(high)?) << 16 | u32::from(number(low)?))
}

/// A number as the original hands it from YAML to JSON.
fn number_text(n: &Number) -> String {
    match n.as_f64() {
        Some(x) if n.is_f64() => number::json(x),
        _ => n.to_string(),
    }
}

/// A number where a text is wanted.
fn scalar_text(n: &Number) -> String {
    match n.as_f64() {
        Some(x) if n.is_f64() => number::general(x),
        _ => n.to_string(),
    }
}

/// A whole number loses its fraction part, as Go writes it.
fn as_go_number(n: &Number) -> Number {
    match number_text(n).parse::<i64>() {
        Ok(int) => int.into(),
        Err(_) => n.clone(),
    }
}
