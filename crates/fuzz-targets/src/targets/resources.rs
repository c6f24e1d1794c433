//! Documents that users write.

use api::{Resource, decode_document, validate};
use serde_json::Value as Json;

use super::Target;
use crate::input::{bounded, halves, text, told};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "document", what: "a document of YAML: a resource or a list of them", run: document },
    Target { name: "manifest", what: "the documents of a file", run: manifest },
    Target { name: "patch", what: "a merge patch, a line of four dashes, and a resource", run: patch },
    Target { name: "leak-report", what: "a report of calicoctl ipam check", run: report },
];

fn resources(bytes: &[u8]) -> Vec<Resource> {
    let json = match golang::yaml::read_strict(bytes) {
        Ok(json) => json,
        Err(error) => {
            told(error.without_content(), bytes.len());
            told(error, bytes.len());
            return Vec::new();
        }
    };
    match decode_document(json) {
        Ok(resources) => resources,
        Err(error) => {
            bounded("an error's help", error.help().map_or(0, |help| help.len()), bytes.len(), 8);
            told(error, bytes.len());
            Vec::new()
        }
    }
}

fn document(bytes: &[u8]) {
    for resource in resources(bytes) {
        hold(&resource, bytes.len());
    }
}

/// What holds of each resource that was read.
fn hold(resource: &Resource, input: usize) {
    let json = resource.to_json();
    let again = Resource::from_input(json.clone());
    let again = again.unwrap_or_else(|error| panic!("{error}: {json}"));
    // What is read once more stays as it is: it was canonical.
    assert_eq!(again.to_json(), json);
    let stored = resource.to_stored_text();
    bounded("the resource", stored.len(), input, 16);
    // What a user may write, everybody can read when it is stored.
    let read: Json = serde_json::from_str(&stored).unwrap_or_else(|error| panic!("{error}: {stored}"));
    assert_eq!(golang::json::to_text(&read), stored);
    for fault in [validate::resource(resource).err(), validate::client(resource).err()].into_iter().flatten()
    {
        bounded("the faults", fault.to_string().len(), input, 64);
    }
    for odd in validate::oddities(resource) {
        told(odd, input);
    }
    if let Err(error) = resource.as_pool() {
        told(error, input);
    }
    resource.as_node();
    resource.as_reservation();
}

fn manifest(bytes: &[u8]) {
    match calicoctl::door::read_manifest(bytes) {
        Ok((resources, warnings)) => {
            bounded("the resources", resources.len(), bytes.len(), 1);
            let size = warnings.iter().map(String::len).sum();
            bounded("the warnings", size, bytes.len(), 512);
        }
        Err(said) => told(said, bytes.len()),
    }
}

fn patch(bytes: &[u8]) {
    let (patch, resource) = halves(bytes);
    let patch = text(patch);
    for resource in resources(resource) {
        match resources::patch::apply(&resource, &patch) {
            Ok(patched) => {
                assert_eq!(patched.key(), resource.key());
                hold(&patched, bytes.len());
            }
            Err(error) => told(error, bytes.len()),
        }
    }
}

fn report(bytes: &[u8]) {
    match calicoctl::input::report::Report::read(bytes) {
        Ok(report) => {
            let common = calicoctl::input::report::common(&[report.clone(), report]);
            bounded("what leaked", common.addresses.len() + common.handles.len(), bytes.len(), 1);
        }
        Err(error) => told(error, bytes.len()),
    }
}
