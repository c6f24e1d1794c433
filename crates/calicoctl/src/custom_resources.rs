//! The definitions of the custom resources, as in `deploy/crds`.

use api::crd::{Collection, Group};
use serde_json::Value as Json;
use store::kubernetes::Definition;

use golang::yaml;

/// The definition of one custom resource.
pub struct CustomResource {
    name: String,
    text: String,
    objects: String,
}

impl CustomResource {
    /// The definitions of a group, in the order in which they are printed.
    ///
    /// # Errors
    /// When a manifest of this program is no definition, which a test rules out.
    pub fn all(group: Group) -> Result<Vec<CustomResource>, String> {
        let manifests = Collection::all().filter_map(|collection| collection.definition(group));
        manifests.map(|text| CustomResource::read(group, text)).collect()
    }

    fn read(group: Group, text: &str) -> Result<CustomResource, String> {
        let manifest = yaml::read(text.as_bytes()).map_err(|error| error.to_string())?;
        let word = |path: &str| {
            let word = manifest.pointer(path).and_then(Json::as_str);
            word.ok_or_else(|| format!("a manifest of a custom resource lacks {path}"))
        };
        Ok(CustomResource {
            name: word("/metadata/name")?.to_string(),
            objects: format!("/apis/{group}/{}", word("/spec/names/plural")?),
            text: manifest.to_string(),
        })
    }

    /// The definition in the form in which a store takes it.
    pub fn definition(&self) -> Definition<'_> {
        Definition { name: &self.name, text: &self.text, objects: &self.objects }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_manifests_are_there_and_one_definition_each() {
        for (group, folder) in [(Group::V1, "v1"), (Group::V3, "v3")] {
            let dir = format!("{}/../../deploy/crds/{folder}", env!("CARGO_MANIFEST_DIR"));
            let all = CustomResource::all(group).unwrap();
            assert_eq!(all.len(), std::fs::read_dir(dir).unwrap().count());
            for (one, collection) in all.iter().zip(Collection::all()) {
                assert_eq!(one.name, format!("{}.{}", collection.plural(group), group.name()));
                let manifest: Json = serde_json::from_str(&one.text).unwrap();
                assert_eq!(manifest["spec"]["names"]["kind"], collection.kind_name(group), "{}", one.name);
                let scope = match collection {
                    Collection::Resources(kind) => kind.scope(),
                    _ => api::KindScope::Cluster,
                };
                assert_eq!(manifest["spec"]["scope"], format!("{scope:?}"), "{}", one.name);
            }
        }
        let pools = CustomResource::all(Group::V3).unwrap().swap_remove(0);
        let definition = pools.definition();
        assert_eq!(definition.name, "ippools.projectcalico.org");
        assert_eq!(definition.objects, "/apis/projectcalico.org/v3/ippools");
    }
}
