//! Patches, as `calicoctl patch` applies them: objects are merged, null removes a field, and anything else,
//! lists too, replaces the value.
//!
//! Calico uses Kubernetes' strategic merge. Only metadata that cannot be patched declares anything for that
//! merge; so the result is that of RFC 7386.

use api::{InputError, Resource};
use serde_json::{Map, Value as Json};

/// Why a patch cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch is no JSON object.
    #[error("performing strategic merge patch: invalid JSON document")]
    Syntax,
    /// The patched object is no valid resource.
    #[error("creating resource from patched data: {0}")]
    Input(#[from] InputError),
    /// The patch would change what identifies the resource.
    #[error("a patch cannot change {0}")]
    Identity(&'static str),
}

/// The resource with the patch applied, decoded strictly. Labels and annotations can be patched. The caller
/// decides which other metadata of the result it uses.
///
/// # Errors
/// See [`PatchError`].
pub fn apply(resource: &Resource, patch: &str) -> Result<Resource, PatchError> {
    let Ok(Json::Object(patch)) = serde_json::from_str(patch) else { return Err(PatchError::Syntax) };
    let mut json = resource.to_json();
    let Json::Object(map) = &mut json else { return Err(PatchError::Syntax) };
    merge(map, patch);
    let patched = Resource::from_input(json)?;
    let (new, old) = (patched.metadata(), resource.metadata());
    if patched.kind() != resource.kind() {
        return Err(PatchError::Identity("the kind"));
    }
    if new.name != old.name {
        return Err(PatchError::Identity("the name"));
    }
    if new.namespace != old.namespace {
        return Err(PatchError::Identity("the namespace"));
    }
    Ok(patched)
}

fn merge(target: &mut Map<String, Json>, patch: Map<String, Json>) {
    for (field, change) in patch {
        match change {
            Json::Null => {
                target.shift_remove(&field);
            }
            Json::Object(change) => {
                let entry = target.entry(field).or_insert_with(|| Json::Object(Map::new()));
                if !entry.is_object() {
                    *entry = Json::Object(Map::new());
                }
                if let Json::Object(inner) = entry {
                    merge(inner, change);
                }
            }
            other => {
                target.insert(field, other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn merged(target: Json, patch: Json) -> Json {
        let (Json::Object(mut target), Json::Object(patch)) = (target, patch) else { panic!("objects") };
        merge(&mut target, patch);
        Json::Object(target)
    }

    /// The examples of RFC 7386 whose target and patch are objects.
    #[test]
    fn merges_as_the_rfc_says() {
        let rows = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (target, patch, wanted) in rows {
            assert_eq!(merged(target.clone(), patch.clone()), wanted, "{target} {patch}");
        }
    }
}
