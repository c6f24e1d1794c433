//! Records as a Kubernetes API server keeps them in its etcd.

use api::crd::{self, Collection, Group};
use api::{Key, Kind, Resource, Value};
use serde_json::{Value as Json, json};

/// The key under which the API server keeps a record's object in etcd, and the object as it stands there:
/// JSON, which API servers read, whatever they write themselves. `None` for a record that has no object.
pub fn stored_object(group: Group, key: &Key, value: &Value) -> Option<(String, String)> {
    let (path, mut object) = match (key, value) {
        (Key::Resource { kind: Kind::Node, name, .. }, _) => (format!("minions/{name}"), node(name)),
        (Key::Resource { kind: Kind::WorkloadEndpoint, .. }, Value::Resource(endpoint)) => pod(endpoint)?,
        _ => {
            let object = crd::encode(group, key, value, None)?;
            let (plural, name) = (Collection::of(key)?.plural(group), crd::object_name(key));
            (format!("{}/{plural}/{name}", group.name()), object)
        }
    };
    object["metadata"]["uid"] = uid(&path).into();
    object["metadata"]["creationTimestamp"] = "2026-08-01T10:00:00Z".into();
    object["metadata"]["generation"] = 1.into();
    Some((format!("/registry/{path}"), object.to_string()))
}

/// A UID that no other object has.
fn uid(path: &str) -> String {
    let hash = |basis: u64| {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        path.bytes().fold(basis, step)
    };
    let digits = format!("{:016x}{:016x}", hash(0xcbf2_9ce4_8422_2325), hash(0x8422_2325_cbf2_9ce4));
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

fn node(name: &str) -> Json {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}, "status": {}})
}

fn pod(endpoint: &Resource) -> Option<(String, Json)> {
    let text = |field: &str| endpoint.text(&["spec", field]);
    let namespace = endpoint.metadata().namespace.as_deref()?;
    let (name, node) = (text("pod")?, text("node")?);
    let net = endpoint.field(&["spec", "ipNetworks"])?.get(0)?.as_str()?;
    let addr = net.split('/').next()?;
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "annotations": {
            "cni.projectcalico.org/podIP": net, "cni.projectcalico.org/podIPs": net,
            "cni.projectcalico.org/containerID": text("containerID")}},
        "spec": {"nodeName": node, "serviceAccountName": "default", "restartPolicy": "Always",
            "containers": [{"name": "c", "image": "nginx"}]},
        "status": {"phase": "Running", "podIP": addr, "podIPs": [{"ip": addr}]},
    });
    Some((format!("pods/{namespace}/{name}"), object))
}
