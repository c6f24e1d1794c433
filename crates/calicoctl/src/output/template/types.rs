//! Resources as a template sees them: a resource's JSON, typed by the Go types of [`api::schema`].

use std::collections::BTreeMap;

use api::Kind;
use api::schema::{self, Place, Shape, Struct, Type};
use golang::duration;
use serde_json::Value;

use super::data::{Data, Field};

/// The data that `get` passes to a template: Go's slice of the results, each an object or a list of objects.
pub fn results(resources: &[Value]) -> Data {
    let object = |resource: &Value| Data::Reference {
        go_type: "runtime.Object".to_owned(),
        target: Some(Box::new(resource_data(resource))),
    };
    Data::List { element_type: "runtime.Object".to_owned(), items: resources.iter().map(object).collect() }
}

/// An object, or a list of objects, with the type of its `kind`. All kinds that `get` knows have a type.
fn resource_data(resource: &Value) -> Data {
    let name = resource["kind"].as_str().unwrap_or_default();
    match (Kind::from_name(name), name.strip_suffix("List").and_then(Kind::from_name)) {
        (Some(kind), _) => data_of_type(&kind.go_type(), Some(resource)),
        (None, Some(kind)) => list_data(kind, resource),
        (None, None) => Data::Nothing,
    }
}

fn list_data(kind: Kind, list: &Value) -> Data {
    let item = kind.go_type();
    let text = |json: &str| Data::text(list[json].as_str().unwrap_or_default());
    let type_meta = vec![
        Field { name: "Kind".to_owned(), embedded: false, value: text("kind") },
        Field { name: "APIVersion".to_owned(), embedded: false, value: text("apiVersion") },
    ];
    let list_meta = struct_fields(&schema::LIST_META, Some(&list["metadata"]));
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let items = Data::List {
        element_type: item.go.to_owned(),
        items: items.iter().map(|value| data_of_type(&item, Some(value))).collect(),
    };
    Data::Struct {
        go_type: format!("{}List", item.go),
        fields: vec![
            embedded_struct("v1.TypeMeta", type_meta),
            embedded_struct("v1.ListMeta", list_meta),
            Field { name: "Items".to_owned(), embedded: false, value: items },
        ],
    }
}

/// An embedded struct. Go names such a field after its type.
fn embedded_struct(go_type: &str, fields: Vec<Field>) -> Field {
    let name = go_type.rsplit('.').next().unwrap_or(go_type).to_owned();
    Field { name, embedded: true, value: Data::Struct { go_type: go_type.to_owned(), fields } }
}

/// All fields of a struct, set or not. Adjacent fields of the same embedded struct are put into one such
/// struct.
fn struct_fields(of: &Struct, value: Option<&Value>) -> Vec<Field> {
    of.fields
        .chunk_by(|a, b| a.place == b.place && matches!(a.place, Place::Within(_)))
        .map(|fields| match fields[0].place {
            Place::Within(go_type) => {
                embedded_struct(go_type, fields.iter().map(|field| struct_field(field, value)).collect())
            }
            Place::Own | Place::Embedded => struct_field(&fields[0], value),
        })
        .collect()
}

fn struct_field(field: &schema::Field, value: Option<&Value>) -> Field {
    let value = value.and_then(|value| value.get(field.json)).filter(|value| !value.is_null());
    let value = if field.is_pointer() {
        Data::Reference {
            go_type: format!("*{}", field.ty.go),
            target: value.map(|value| Box::new(data_of_type(&field.ty, Some(value)))),
        }
    } else {
        data_of_type(&field.ty, value)
    };
    Field { name: field.go.to_owned(), embedded: field.place == Place::Embedded, value }
}

/// `value` as Go decodes it into that type; without a value, Go's zero value.
fn data_of_type(ty: &Type, value: Option<&Value>) -> Data {
    let value = value.filter(|value| !value.is_null());
    let go_type = ty.go.to_owned();
    let text = value.and_then(Value::as_str);
    match &ty.shape {
        Shape::Text => Data::Text { go_type, text: text.unwrap_or_default().to_owned() },
        Shape::Bool => Data::Bool(value.and_then(Value::as_bool).unwrap_or_default()),
        Shape::Int { .. } | Shape::AsNumber => {
            Data::Int { go_type, value: value.and_then(Value::as_i64).unwrap_or_default() }
        }
        Shape::Float => Data::Float(value.and_then(Value::as_f64).unwrap_or_default()),
        Shape::Map => {
            let entry = |(key, value): (&String, &Value)| {
                (key.clone(), Data::text(value.as_str().unwrap_or_default()))
            };
            let entries = value.and_then(Value::as_object).into_iter().flatten();
            Data::Map {
                value_type: "string".to_owned(),
                entries: entries.map(entry).collect::<BTreeMap<_, _>>(),
            }
        }
        Shape::List(item) => {
            let items = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            Data::List {
                element_type: item.go.to_owned(),
                items: items.iter().map(|value| data_of_type(item, Some(value))).collect(),
            }
        }
        Shape::Struct(of) => Data::Struct { go_type, fields: struct_fields(of, value) },
        Shape::Uint8OrText => uint8_or_text(go_type, value),
        Shape::Time => {
            let inner = Data::Time(text.map_or(ZERO_TIME.to_owned(), go_time));
            let fields = vec![Field { name: "Time".to_owned(), embedded: true, value: inner }];
            Data::Struct { go_type, fields }
        }
        Shape::Duration => {
            let value = text.and_then(|text| duration::parse(text).ok()).unwrap_or_default();
            let inner = Data::Int { go_type: "time.Duration".to_owned(), value };
            let fields = vec![Field { name: "Duration".to_owned(), embedded: true, value: inner }];
            Data::Struct { go_type, fields }
        }
        Shape::Any => raw(go_type, value),
    }
}

/// `numorstring.Uint8OrString`, and the types made of it.
fn uint8_or_text(go_type: String, value: Option<&Value>) -> Data {
    let field = |name: &str, value| Field { name: name.to_owned(), embedded: false, value };
    let int = |go_type: &str, value| Data::Int { go_type: go_type.to_owned(), value };
    let text = value.and_then(Value::as_str);
    let number = value.and_then(Value::as_i64).unwrap_or_default();
    let fields = vec![
        field("Type", int("numorstring.NumOrStringType", i64::from(text.is_some()))),
        field("NumVal", int("uint8", number)),
        field("StrVal", Data::text(text.unwrap_or_default())),
    ];
    Data::Struct { go_type, fields }
}

/// `v1.FieldsV1`: JSON that Go keeps as bytes.
fn raw(go_type: String, value: Option<&Value>) -> Data {
    let byte = |byte| Data::Int { go_type: "uint8".to_owned(), value: i64::from(byte) };
    let items = value.map(Value::to_string).unwrap_or_default().bytes().map(byte).collect();
    let value = Data::List { element_type: "uint8".to_owned(), items };
    Data::Struct { go_type, fields: vec![Field { name: "Raw".to_owned(), embedded: false, value }] }
}

const ZERO_TIME: &str = "0001-01-01 00:00:00 +0000 UTC";

/// Go prints a time in UTC as `2026-08-01 10:00:03 +0000 UTC`.
fn go_time(text: &str) -> String {
    match text.strip_suffix('Z').and_then(|text| text.split_once('T')) {
        Some((date, time)) => format!("{date} {time} +0000 UTC"),
        None => text.to_owned(),
    }
}
