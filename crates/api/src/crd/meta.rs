//! The metadata of objects. In the group `projectcalico.org` an object has the metadata that users gave; in
//! `crd.projectcalico.org` they are moved into an annotation
//! (`libcalico-go/lib/backend/k8s/resources/resources.go`).

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::Group;
use crate::resource::{Metadata, Resource};
use golang::json;

/// The annotation for the metadata that users gave, in the group `crd.projectcalico.org`.
pub(super) const ANNOTATION: &str = "projectcalico.org/metadata";

/// Fields that only the API server sets. They are in the object's own metadata.
const SERVERS: [&str; 3] = ["deletionTimestamp", "deletionGracePeriodSeconds", "finalizers"];

/// The UID that users see of an object of the first group, or the other way round: the bits of each byte
/// reversed, except of the bytes 6 and 8, which tell version and variant. A text that is no UID is left as it
/// is.
pub fn convert_uid(uid: &str) -> String {
    let digits: Vec<u8> = uid
        .bytes()
        .filter(|b| *b != b'-')
        .filter_map(|b| (b as char).to_digit(16))
        .map(|d| d as u8)
        .collect();
    let shape: Vec<usize> = uid.split('-').map(str::len).collect();
    if digits.len() != 32 || shape != [8, 4, 4, 4, 12] {
        return uid.to_string();
    }
    let mut out = String::with_capacity(uid.len());
    for (index, pair) in digits.chunks(2).enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            out.push('-');
        }
        let byte = pair[0] << 4 | pair[1];
        let byte = if [6, 8].contains(&index) { byte } else { byte.reverse_bits() };
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

/// Whether a label or annotation is Calico's own, and so stands in the object too.
fn is_calicos(name: &str) -> bool {
    name.contains("projectcalico.org/") || name.contains("operator.tigera.io/")
}

fn texts(map: &BTreeMap<String, String>) -> Json {
    map.iter().map(|(name, value)| (name.clone(), Json::from(value.as_str()))).collect::<Map<_, _>>().into()
}

/// The metadata of the object that holds a resource, without `resourceVersion`.
pub(super) fn of_resource(group: Group, resource: &Resource) -> Map<String, Json> {
    let Json::Object(mut whole) = resource.to_json()["metadata"].take() else {
        unreachable!("a resource's metadata is an object")
    };
    whole.shift_remove("resourceVersion");
    whole.shift_remove("generation");
    whole.shift_remove("managedFields");
    if group == Group::V3 {
        return whole;
    }
    let metadata = resource.metadata();
    let mut out = Map::new();
    for field in ["name", "namespace", "uid"] {
        whole.shift_remove(field);
    }
    out.insert("name".into(), metadata.name.as_str().into());
    if let Some(uid) = &metadata.uid {
        out.insert("uid".into(), convert_uid(uid).into());
    }
    for field in SERVERS {
        out.extend(whole.shift_remove(field).map(|value| (field.to_string(), value)));
    }
    let calicos = |map: &BTreeMap<String, String>| {
        map.iter()
            .filter(|(name, _)| is_calicos(name))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect::<BTreeMap<_, _>>()
    };
    let (labels, mut annotations) = (calicos(&metadata.labels), calicos(&metadata.annotations));
    annotations.insert(ANNOTATION.into(), json::to_text(&Json::Object(whole)));
    if !labels.is_empty() {
        out.insert("labels".into(), texts(&labels));
    }
    out.insert("annotations".into(), texts(&annotations));
    out
}

/// The metadata of an object of the allocator. They are made anew for each write; whatever others have added
/// is lost.
pub(super) fn of_allocator(group: Group, name: String, labels: &[(&str, String)]) -> Map<String, Json> {
    let labels: Map<String, Json> =
        labels.iter().map(|(name, value)| ((*name).to_string(), value.as_str().into())).collect();
    let mut out = Map::new();
    out.insert("name".into(), name.into());
    if group == Group::V1 {
        let mut given = Map::new();
        if !labels.is_empty() {
            given.insert("labels".into(), labels.clone().into());
        }
        let text = json::to_text(&Json::Object(given));
        out.insert(
            "annotations".into(),
            Json::Object(Map::from_iter([(ANNOTATION.to_string(), text.into())])),
        );
    }
    if !labels.is_empty() {
        out.insert("labels".into(), labels.into());
    }
    out
}

/// The metadata that users see for an object of the group `crd.projectcalico.org`.
///
/// # Errors
/// When the annotation is no metadata.
pub(super) fn seen_in_v1(mut real: Metadata) -> Result<Metadata, String> {
    real.uid = real.uid.map(|uid| convert_uid(&uid));
    let Some(text) = real.annotations.remove(ANNOTATION) else { return Ok(real) };
    let wrong = |reason: String| format!("annotation {ANNOTATION}: {reason}");
    let given: Json = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let holder = Json::Object(Map::from_iter([("metadata".to_string(), given)]));
    // The kind does not matter to metadata.
    let given = Resource::from_json(crate::kinds::Kind::IPPool, holder).map_err(|e| wrong(e.to_string()))?;
    let mut seen = given.metadata().clone();
    for field in SERVERS {
        if let Some(value) = real.rest.shift_remove(field) {
            seen.rest.insert(field.into(), value);
        }
    }
    real.labels.extend(std::mem::take(&mut seen.labels));
    real.annotations.extend(std::mem::take(&mut seen.annotations));
    Ok(Metadata {
        creation_timestamp: seen.creation_timestamp.take().or(real.creation_timestamp),
        rest: seen.rest,
        ..real
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn uids() {
        let (one, other) = ("30316465-6365-4463-ad63-3564622d3638", "0c8c26a6-c6a6-44c6-adc6-ac2646b46c1c");
        assert_eq!(convert_uid(one), other);
        assert_eq!(convert_uid(other), one);
        for text in ["", "x", "30316465-6365-4463-ad63-3564622d363", "303164656365-4463-ad63-3564622d3638"] {
            assert_eq!(convert_uid(text), text);
        }
    }

    proptest! {
        #[test]
        fn converting_twice_changes_nothing(n: u128) {
            let hex = format!("{n:032x}");
            let uid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
            let converted = convert_uid(&uid);
            prop_assert_eq!(&converted[14..15], &uid[14..15], "the version stays");
            prop_assert_eq!(convert_uid(&converted), uid);
        }
    }
}
