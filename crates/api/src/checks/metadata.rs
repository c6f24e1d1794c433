//! Names, labels and annotations (`validateObjectMeta`, `k8s.io/apimachinery/pkg/util/validation`).

use serde_json::Value as Json;

use super::error::FieldError;
use super::tags::{ends, is_subdomain};
use crate::document::Metadata;

const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;
const MAX_ANNOTATIONS: usize = 256 * 1024;
const SUBDOMAIN: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
     character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

pub(crate) fn faults(metadata: &Metadata) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let name = metadata.name.as_str();
    if name.len() > MAX_NAME {
        let over = name.len() - MAX_NAME;
        faults.push(FieldError::of_value("Metadata.Name", name, format!("name is too long by {over} bytes")));
    }
    if !is_subdomain(name) {
        let reason = format!(
            "name must consist of lower case alphanumeric characters, '-' or '.' (regex: {SUBDOMAIN})"
        );
        faults.push(FieldError::of_value("Metadata.Name", name, reason));
    }
    annotations(&mut faults, metadata);
    for (key, value) in &metadata.labels {
        let wrong = qualified_name(key).into_iter();
        faults.extend(wrong.map(|reason| FieldError::of_value("Metadata.Labels (label)", key, reason)));
        let wrong = label_value(value).into_iter();
        faults.extend(wrong.map(|reason| FieldError::of_value("Metadata.Labels (value)", value, reason)));
    }
    faults
}

/// Fields of metadata that users may write, and that are kept from them. Those that servers fill in, and that
/// come back in what users write again, are left out.
pub(crate) fn ignored(metadata: &Metadata) -> impl Iterator<Item = &str> {
    const SERVERS: [&str; 3] = ["generation", "managedFields", "selfLink"];
    let is_set = |json: &Json| match json {
        Json::Null => false,
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        _ => true,
    };
    let set = metadata.rest.iter().filter(move |(_, json)| is_set(json)).map(|(field, _)| field.as_str());
    set.filter(|field| !SERVERS.contains(field))
}

fn annotations(faults: &mut Vec<FieldError>, metadata: &Metadata) {
    const FIELD: &str = "Metadata.Annotations (key)";
    for key in metadata.annotations.keys() {
        let wrong = qualified_name(&key.to_lowercase()).into_iter();
        faults.extend(wrong.map(|reason| FieldError::of_value(FIELD, key, reason)));
    }
    let total: usize = metadata.annotations.iter().map(|(k, v)| k.len() + v.len()).sum();
    if total > MAX_ANNOTATIONS {
        let pairs: Vec<String> = metadata.annotations.iter().map(|(k, v)| format!("{k}:{v}")).collect();
        let reason = format!("total size of annotations is too large by {} bytes", total - MAX_ANNOTATIONS);
        faults.push(FieldError::of_value(FIELD, format!("map[{}]", pairs.join(" ")), reason));
    }
}

/// Why a text is no label key.
pub(crate) fn qualified_name(key: &str) -> Vec<String> {
    let mut reasons = Vec::new();
    let name = match key.split('/').collect::<Vec<_>>().as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                reasons.push("prefix part must be non-empty".to_string());
            } else {
                if prefix.len() > MAX_NAME {
                    reasons.push(format!("prefix part must be no more than {MAX_NAME} bytes"));
                }
                if !is_subdomain(prefix) {
                    reasons.push(format!(
                        "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
                         start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{SUBDOMAIN}')"
                    ));
                }
            }
            *name
        }
        _ => {
            reasons.push(format!(
                "a valid label key {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return reasons;
        }
    };
    if name.is_empty() {
        reasons.push("name part must be non-empty".to_string());
    } else if name.len() > MAX_LABEL {
        reasons.push(format!("name part must be no more than {MAX_LABEL} bytes"));
    }
    if !is_name_part(name) {
        reasons.push(format!("name part {QUALIFIED}"));
    }
    reasons
}

/// Why a text is no label value.
pub(crate) fn label_value(value: &str) -> Vec<String> {
    let mut reasons = Vec::new();
    if value.len() > MAX_LABEL {
        reasons.push(format!("must be no more than {MAX_LABEL} bytes"));
    }
    if !value.is_empty() && !is_name_part(value) {
        reasons.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
             alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
             '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
                .to_string(),
        );
    }
    reasons
}

fn is_name_part(text: &str) -> bool {
    let inside = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    text.bytes().all(inside) && ends(text, |b| b.is_ascii_alphanumeric())
}
