//! Resources as go-templates see them: Go's field names, zero values included.

use serde_json::{Map, Value as Json};

use crate::canonical::zero;
use crate::kind::Kind;
use crate::resource::{API_VERSION, Resource};
use crate::schema::{LIST_META, OBJECT_META, Omit, Shape, Struct, Type};

/// The resource with Go's field names: `{{.ObjectMeta.Name}}`, `{{.Spec.CIDR}}`. Fields of embedded structs are there twice, as Go
/// promotes them: `{{.Name}}`, `{{.Kind}}`. Nil pointers are null; fields that Go does not know are left out.
pub fn go_value(resource: &Resource) -> Json {
    let document = resource.to_json();
    let mut out = Map::new();
    let Json::Object(fields) = struct_value(resource.kind().schema(), &document) else { return document };
    let type_meta: Map<String, Json> =
        ["Kind", "APIVersion"].iter().map(|name| (name.to_string(), fields[*name].clone())).collect();
    out.insert("TypeMeta".into(), Json::Object(type_meta));
    if let Some(Json::Object(metadata)) = fields.get("ObjectMeta") {
        out.extend(metadata.clone());
    }
    out.extend(fields);
    Json::Object(out)
}

/// A list with Go's field names: `{{range .Items}}`.
pub fn go_list_value<'a>(
    kind: Kind,
    resource_version: &str,
    items: impl IntoIterator<Item = &'a Resource>,
) -> Json {
    let type_meta = serde_json::json!({"Kind": kind.list_kind(), "APIVersion": API_VERSION});
    let list_meta = struct_value(&LIST_META, &serde_json::json!({"resourceVersion": resource_version}));
    let mut out = Map::new();
    for promoted in [&type_meta, &list_meta] {
        out.extend(promoted.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
    }
    out.insert("TypeMeta".into(), type_meta);
    out.insert("ListMeta".into(), list_meta);
    out.insert("Items".into(), Json::Array(items.into_iter().map(go_value).collect()));
    Json::Object(out)
}

/// The Go type of a field by its Go path, pointers left out, as in template errors: `v3.IPPoolSpec` for `["Spec"]`.
pub fn go_type(kind: Kind, path: &[&str]) -> Option<&'static str> {
    let mut at = kind.schema();
    let mut found = None;
    for (i, step) in path.iter().enumerate() {
        let fields = at.fields.iter().chain(if i == 0 { OBJECT_META.fields } else { &[] });
        let ty: &'static Type = &fields.into_iter().find(|f| f.go == *step)?.ty;
        found = Some(ty.go);
        match &ty.shape {
            Shape::Struct(of) => at = of,
            _ if i + 1 == path.len() => {}
            _ => return None,
        }
    }
    found
}

fn struct_value(of: &'static Struct, json: &Json) -> Json {
    let mut out = Map::new();
    for field in of.fields {
        let value = match json.get(field.json).filter(|v| !v.is_null()) {
            Some(value) => typed(&field.ty, value),
            // `omitempty` on a struct does nothing, so a struct that may be absent is a pointer.
            None if field.omit == Omit::Absent => Json::Null,
            None => typed(&field.ty, &zero(&field.ty.shape)),
        };
        out.insert(field.go.into(), value);
    }
    Json::Object(out)
}

fn typed(ty: &'static Type, value: &Json) -> Json {
    match (&ty.shape, value) {
        (Shape::Struct(of), Json::Object(_)) => struct_value(of, value),
        (Shape::List(item), Json::Array(items)) => {
            Json::Array(items.iter().map(|v| typed(item, v)).collect())
        }
        (Shape::List(_), Json::Null) => Json::Array(Vec::new()),
        (Shape::Map, Json::Null) => Json::Object(Map::new()),
        (_, other) => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn go_names_and_zero_values() {
        let pool = Resource::from_json(
            Kind::IPPool,
            json!({"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"cidr": "10.0.0.0/16", "future": 1}}),
        )
        .unwrap();
        let value = go_value(&pool);
        for (pointer, expected) in [
            ("/ObjectMeta/Name", json!("p")),
            ("/Name", json!("p")),
            ("/TypeMeta/Kind", json!("IPPool")),
            ("/Kind", json!("IPPool")),
            ("/ObjectMeta/Labels/a", json!("b")),
            ("/Spec/CIDR", json!("10.0.0.0/16")),
            ("/Spec/NATOutgoing", json!(false)),
            ("/Spec/IPIPMode", json!("")),
            ("/Spec/BlockSize", json!(0)),
            ("/Spec/AllowedUses", json!([])),
            ("/Spec/AssignmentMode", json!(null)),
            ("/Status", json!(null)),
        ] {
            assert_eq!(value.pointer(pointer), Some(&expected), "{pointer}");
        }
        assert_eq!(value.pointer("/Spec/future"), None);
        let list = go_list_value(Kind::IPPool, "12", [&pool]);
        assert_eq!(list.pointer("/Items/0/Spec/CIDR"), Some(&json!("10.0.0.0/16")));
        assert_eq!(list.pointer("/ListMeta/ResourceVersion"), Some(&json!("12")));
        assert_eq!(go_type(Kind::IPPool, &["Spec"]), Some("v3.IPPoolSpec"));
        assert_eq!(go_type(Kind::Node, &["Spec", "BGP"]), Some("internalapi.NodeBGPSpec"));
        assert_eq!(go_type(Kind::Node, &["Spec", "Nope"]), None);
    }
}
