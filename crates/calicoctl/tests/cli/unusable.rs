//! No value that cannot be used is taken without a word: each is put into each field of each kind, and an
//! error or a warning must follow.

use std::collections::BTreeSet;

use api::schema::{Shape, Struct, Type};
use api::{Kind, KindScope};
use serde_json::{Map, Value as Json, json};

use crate::world::World;

/// A field: the steps to it, `[]` for a list's only item.
type Path = Vec<&'static str>;

fn fields(of: &'static Struct, before: &Path, out: &mut Vec<(Path, &'static Type)>) {
    for field in of.fields {
        let path: Path = before.iter().copied().chain([field.json]).collect();
        inside(&field.ty, path, out);
    }
}

fn inside(ty: &'static Type, path: Path, out: &mut Vec<(Path, &'static Type)>) {
    match &ty.shape {
        Shape::Struct(of) => fields(of, &path, out),
        Shape::List(item) => inside(item, path.iter().copied().chain(["[]"]).collect(), out),
        _ => {}
    }
    out.push((path, ty));
}

/// Values of a wrong type, and for a text one that no field with a meaning can have.
fn unusable(ty: &Type) -> Vec<Json> {
    let odd = || json!("?! x");
    match &ty.shape {
        Shape::Text => vec![odd(), json!([]), json!({})],
        Shape::Bool => vec![json!("TRUE"), json!(1)],
        Shape::Int { .. } => vec![json!("1"), json!(1.5), json!(-99_999_999_999_i64), json!(true)],
        Shape::Float => vec![json!("1"), json!(true)],
        Shape::Map => vec![json!("a=b"), json!({"?!": "x"}), json!([])],
        Shape::List(_) => vec![odd(), json!({})],
        Shape::Struct(_) => vec![odd(), json!([]), json!({"nonsense": 1})],
        Shape::AsNumber => vec![odd(), json!(-1), json!(true)],
        Shape::Uint8OrText => vec![json!(256), json!(true)],
        Shape::Time | Shape::Duration => vec![odd(), json!(1)],
        Shape::Any => vec![],
    }
}

fn put(json: &mut Json, path: &[&'static str], value: Json) {
    let Some((step, rest)) = path.split_first() else {
        *json = value;
        return;
    };
    if *step == "[]" {
        if !json.is_array() {
            *json = json!([null]);
        }
        return put(&mut json[0], rest, value);
    }
    if !json.is_object() {
        *json = Json::Object(Map::new());
    }
    put(&mut json[*step], rest, value);
}

fn valid(kind: Kind) -> Json {
    let spec = match kind {
        Kind::IPPool => json!({"cidr": "10.0.0.0/16"}),
        Kind::HostEndpoint => json!({"node": "n1", "interfaceName": "eth0"}),
        Kind::BGPPeer => json!({"peerIP": "10.0.0.1", "asNumber": 64512}),
        _ => json!({}),
    };
    let mut document = json!({"kind": kind.name(), "apiVersion": "projectcalico.org/v3", "metadata": {"name": "default"}, "spec": spec});
    if kind.scope() == KindScope::Namespaced {
        document["metadata"]["namespace"] = "ns".into();
    }
    document
}

/// What may hold anything: what servers fill in, and what others give their meaning to.
const FREE: [&str; 11] = [
    ".metadata.generation",
    ".metadata.managedFields.",
    ".metadata.selfLink",
    ".metadata.uid",
    // It is compared with that of the store.
    ".metadata.resourceVersion",
    ".status.",
    // Names of Kubernetes' secrets.
    ".secretKeyRef.",
    "ClusterInformation.spec.",
    // A regular expression, which Calico's controllers compile.
    "KubeControllersConfiguration.spec.controllers.node.hostEndpoint.templates.[].interfacePattern",
    "Node.spec.interfaces.[].name",
    "Node.spec.orchRefs.",
];

#[test]
fn no_field_takes_what_it_cannot_use() {
    let world = World::new();
    let mut taken = BTreeSet::new();
    let mut tried = 0;
    for kind in Kind::ALL.iter().filter(|kind| kind.is_offered()) {
        let mut all = Vec::new();
        fields(kind.schema(), &Vec::new(), &mut all);
        for (path, ty) in all {
            for value in unusable(ty) {
                let mut document = valid(*kind);
                put(&mut document, &path, value.clone());
                let ran = world.run_with("validate -f -", &document.to_string());
                tried += 1;
                if ran.code == 0 && ran.stderr.is_empty() {
                    taken.insert(format!("{kind}.{} = {value}", path.join(".")));
                }
            }
        }
    }
    assert!(tried > 500, "{tried}");
    let is_free = |one: &String, free: &&str| one.contains(*free) && !one.contains("podCIDRs");
    let unneeded: Vec<_> = FREE.iter().filter(|free| !taken.iter().any(|one| is_free(one, free))).collect();
    assert!(unneeded.is_empty(), "nothing is free at {unneeded:?}");
    taken.retain(|one| !FREE.iter().any(|free| is_free(one, free)));
    assert!(
        taken.is_empty(),
        "{} of {tried}:\n{}",
        taken.len(),
        taken.into_iter().collect::<Vec<_>>().join("\n")
    );
}
