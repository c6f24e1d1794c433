//! Records as an API server keeps them: custom resources, Nodes and Pods.

use api::crd::{self, Collection, Group, PodState, key_of_name, object_name};
use api::{Key, Kind, Value, fault};
use serde_json::Value as Json;

use super::Target;
use crate::input::{bounded, head, text, told};

pub(super) const TARGETS: &[Target] = &[
    Target {
        name: "custom-resource",
        what: "a group (v1 or v3) and a collection's name, a newline, and an object of it",
        run: object,
    },
    Target { name: "kubernetes-node", what: "a Node of Kubernetes", run: node },
    Target { name: "kubernetes-pod", what: "a Pod", run: pod },
    Target { name: "object-name", what: "the name of an object of each collection", run: name },
];

fn object(bytes: &[u8]) {
    let (head, rest) = head(bytes);
    let group = if head.starts_with("v3") { Group::V3 } else { Group::V1 };
    let Some((_, plural)) = head.split_once(' ') else { return };
    let Some(collection) = Collection::all().find(|found| found.plural(group) == plural) else { return };
    let text = text(rest);
    let header = (collection == Collection::Blocks).then(|| crd::decode_header(group, &text));
    let object = match crd::decode(group, collection, &text) {
        Ok(object) => object,
        Err(error) => return told(error, 0),
    };
    if let (Some(header), Value::Block(block)) = (header, &object.value) {
        let header = header.unwrap_or_else(|error| panic!("the block is read, and not its header: {error}"));
        assert_eq!((header.block, &header.header), (block.cidr, &block.header()));
        assert_eq!(header.is_deleted, object.is_deleted);
    }
    for fault in fault::of_record(&object.key, &object.value) {
        told(fault, text.len());
    }
    written_is_read(group, collection, &object, text.len());
}

fn written_is_read(group: Group, collection: Collection, object: &crd::Object, input: usize) {
    let write = |object: &crd::Object| {
        crd::encode(group, &object.key, &object.value, Some(&object.revision))
            .unwrap_or_else(|| panic!("{} has an object", object.key))
            .to_string()
    };
    let written = write(object);
    bounded("the written object", written.len(), input, 16);
    let again = crd::decode(group, collection, &written);
    let again = again.unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(again.key, object.key, "{written}");
    assert_eq!(write(&again), written);
}

fn node(bytes: &[u8]) {
    let text = text(bytes);
    let object = match crd::node::decode(&text) {
        Ok(object) => object,
        Err(error) => return told(error, 0),
    };
    let Value::Resource(resource) = &object.value else { panic!("a Node is a resource") };
    bounded("the Node", resource.to_stored_text().len(), text.len(), 16);
    resource.as_node();
    let kubernetes: Json = serde_json::from_str(&text).unwrap_or_default();
    let merged = crd::node::merge(&kubernetes, resource).to_string();
    // What was put into the annotations is what was read from them.
    let again = crd::node::decode(&merged).unwrap_or_else(|error| panic!("{error}: {merged}"));
    assert_eq!(again.key, object.key);
}

fn pod(bytes: &[u8]) {
    let text = text(bytes);
    match PodState::decode(&text) {
        Ok(pod) => bounded("the addresses", pod.addresses.len(), text.len(), 1),
        Err(error) => told(error, 0),
    }
    let object = match crd::pod::decode("cali", &text) {
        Ok(Some(object)) => object,
        Ok(None) => return,
        Err(error) => return told(error, 0),
    };
    let Value::Resource(endpoint) = &object.value else { panic!("an endpoint is a resource") };
    bounded("the endpoint", endpoint.to_stored_text().len(), text.len(), 16);
    if crd::pod::pod_of(&object.key).is_some() {
        bounded("the patch", crd::pod::patch(endpoint, &object.uid).to_string().len(), text.len(), 16);
    }
}

fn name(bytes: &[u8]) {
    let name = text(bytes);
    bounded("why it is no name", crd::why_no_name(&name).map_or(0, str::len), 0, 1);
    bounded("the hash", crd::host_hash(&name).len(), 0, 1);
    if crd::why_no_name(&name).is_some() {
        // No server has an object of that name; reading it must do no harm.
        Collection::all().for_each(|collection| drop(key_of_name(collection, &name)));
        return;
    }
    for collection in Collection::all() {
        let Some(key) = key_of_name(collection, &name) else { continue };
        match key {
            // Of a long owner a name has only the beginning.
            Key::Affinity { .. } if name.len() > 200 => {}
            Key::Resource { kind: Kind::Profile, .. } => {}
            _ => assert_eq!(object_name(&key), name, "{key}"),
        }
    }
}
