//! The custom resources' definitions, as `deploy/crds` has them.

use api::crd::Group;
use serde_json::Value as Json;
use store::kubernetes::Definition;

use crate::input::yaml;

/// A definition.
pub struct CustomResource {
    name: String,
    text: String,
    objects: String,
}

impl CustomResource {
    /// The definitions of a group.
    ///
    /// # Errors
    /// Never, unless a manifest is not one.
    pub fn all(group: Group) -> Result<Vec<CustomResource>, String> {
        manifests(group).iter().map(|text| CustomResource::read(group, text)).collect()
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

    /// What the store takes.
    pub fn definition(&self) -> Definition<'_> {
        Definition { name: &self.name, text: &self.text, objects: &self.objects }
    }
}

/// The manifests of a group, in the order in which they are told of.
fn manifests(group: Group) -> &'static [&'static str] {
    match group {
        Group::V1 => V1,
        Group::V3 => V3,
    }
}

macro_rules! files {
    ($group:literal: $($plural:literal)*) => {
        &[$(include_str!(concat!("../../../deploy/crds/", $group, "/", $plural, ".yaml"))),*]
    };
}

const V1: &[&str] = files!("v1":
    "ippools" "ipreservations" "ipamblocks" "blockaffinities" "ipamhandles" "ipamconfigs" "clusterinformations"
    "kubecontrollersconfigurations" "bgpconfigurations" "bgppeers" "tiers");
const V3: &[&str] = files!("v3":
    "ippools" "ipreservations" "ipamblocks" "blockaffinities" "ipamhandles" "ipamconfigurations" "clusterinformations"
    "kubecontrollersconfigurations" "bgpconfigurations" "bgppeers" "tiers");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_manifests_are_there_and_one_definition_each() {
        for (group, folder) in [(Group::V1, "v1"), (Group::V3, "v3")] {
            let dir = format!("{}/../../deploy/crds/{folder}", env!("CARGO_MANIFEST_DIR"));
            let all = CustomResource::all(group).unwrap();
            assert_eq!(all.len(), std::fs::read_dir(dir).unwrap().count());
            let suffix = group.name();
            assert!(all.iter().all(|one| one.name.ends_with(&format!(".{suffix}"))), "{suffix}");
        }
        let pools = CustomResource::all(Group::V3).unwrap().swap_remove(0);
        let definition = pools.definition();
        assert_eq!(definition.name, "ippools.projectcalico.org");
        assert_eq!(definition.objects, "/apis/projectcalico.org/v3/ippools");
    }
}
