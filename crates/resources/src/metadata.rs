//! What becomes of metadata when a resource is written (`calicoctl/resourcemgr`, `clientv3/resources.go`).

use api::resource::Metadata;
use api::{Home, Resource, Revision, Timestamp};
use serde_json::{Map, Value as Json};
use store::Effects;

/// What a pod's name was made from: the CNI plugin notes it on the pod's endpoint (`cni-plugin/pkg/k8s/k8s.go`).
const GENERATE_NAME: &str = "generateName";

/// The resource as a create takes it: of its metadata name, namespace, labels and annotations stay, and `resourceVersion`, which is then refused; of an
/// endpoint's also what its pod's name was made from.
pub fn for_create(resource: &Resource) -> Resource {
    resource.with(|metadata, _| {
        let noted = noted(resource);
        *metadata = Metadata {
            name: std::mem::take(&mut metadata.name),
            namespace: metadata.namespace.take(),
            resource_version: metadata.resource_version.take(),
            labels: std::mem::take(&mut metadata.labels),
            annotations: std::mem::take(&mut metadata.annotations),
            rest: noted.into_iter().collect(),
            ..Metadata::default()
        };
    })
}

fn noted(resource: &Resource) -> Option<(String, Json)> {
    let value = resource.metadata().rest.get(GENERATE_NAME).filter(|value| value.is_string())?;
    (resource.kind().definition().home == Home::Pods).then(|| (GENERATE_NAME.to_string(), value.clone()))
}

/// A fresh random UUID (version 4), in the lower-case form with dashes.
pub fn uid(effects: &impl Effects) -> String {
    let random = (u128::from(effects.seed()) << 64) | u128::from(effects.seed());
    uuid::Builder::from_random_bytes(random.to_be_bytes()).into_uuid().to_string()
}

/// The same with an identity: `uid` and the time of creation.
pub fn created(resource: &Resource, uid: String, now: Timestamp) -> Resource {
    resource.with(|metadata, _| {
        metadata.uid = Some(uid);
        metadata.creation_timestamp = Some(api::time::rfc3339(now));
    })
}

/// The resource as an update takes it: labels and annotations are the new one's, whole, and what [`for_create`] keeps besides; all other metadata is the
/// stored one's.
pub fn for_update(new: &Resource, stored: &Resource, revision: &Revision) -> Resource {
    new.with(|metadata, _| {
        let noted = noted(new);
        *metadata = Metadata {
            labels: std::mem::take(&mut metadata.labels),
            annotations: std::mem::take(&mut metadata.annotations),
            resource_version: Some(revision.as_str().to_string()),
            ..stored.metadata().clone()
        };
        metadata.rest.extend(noted);
    })
}

/// The resource as readers see it: defaults applied, fields in Go's order, its revision in `resourceVersion`; fields that Calico does not know are left
/// out, since nobody could write them back.
pub fn shown(stored: &Resource, revision: &Revision) -> Resource {
    let seen = api::defaults::on_read(stored).without_residue().canonical();
    seen.with(|metadata, _| metadata.resource_version = Some(revision.as_str().to_string()))
}

/// The resource without what makes it this one: namespace, `uid`, `resourceVersion`, times (`get --export`).
pub fn exported(resource: &Resource) -> Resource {
    resource.with(|metadata, _| {
        metadata.namespace = None;
        metadata.uid = None;
        metadata.resource_version = None;
        metadata.creation_timestamp = None;
        let mut rest = std::mem::replace(&mut metadata.rest, Map::new());
        rest.retain(|field, _| field != "deletionTimestamp" && field != "deletionGracePeriodSeconds");
        metadata.rest = rest;
    })
}
