//! How metadata changes when a resource is written (`calicoctl/resourcemgr`, `clientv3/resources.go`).

use api::resource::Metadata;
use api::{Home, Resource, Revision, Timestamp};
use serde_json::{Map, Value as Json};
use store::Effects;

/// The field that says from what a pod's name was made. The CNI plugin copies it to the pod's endpoint
/// (`cni-plugin/pkg/k8s/k8s.go`).
const GENERATE_NAME: &str = "generateName";

/// The resource as a create takes it. Of its metadata these stay: name, namespace, labels and annotations;
/// `resourceVersion`, which is then refused; and for an endpoint, the field that says from what its pod's
/// name was made.
pub fn for_create(resource: &Resource) -> Resource {
    resource.with(|metadata, _| {
        let noted = generate_name_of(resource);
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

fn generate_name_of(resource: &Resource) -> Option<(String, Json)> {
    let value = resource.metadata().rest.get(GENERATE_NAME).filter(|value| value.is_string())?;
    (resource.kind().definition().home == Home::Pods).then(|| (GENERATE_NAME.to_string(), value.clone()))
}

/// A fresh random UUID (version 4), in the lower-case form with dashes.
pub fn uid(effects: &impl Effects) -> String {
    let random = (u128::from(effects.seed()) << 64) | u128::from(effects.seed());
    uuid::Builder::from_random_bytes(random.to_be_bytes()).into_uuid().to_string()
}

/// The resource with an identity: `uid` and the time of creation.
pub fn with_identity(resource: &Resource, uid: String, now: Timestamp) -> Resource {
    resource.with(|metadata, _| {
        metadata.uid = Some(uid);
        metadata.creation_timestamp = Some(api::time::rfc3339(now));
    })
}

/// The resource as an update takes it. Labels and annotations are those of `new` only, and so is the field of
/// an endpoint that [`for_create`] keeps; all other metadata is that of `stored`.
pub fn for_update(new: &Resource, stored: &Resource, revision: &Revision) -> Resource {
    new.with(|metadata, _| {
        let noted = generate_name_of(new);
        *metadata = Metadata {
            labels: std::mem::take(&mut metadata.labels),
            annotations: std::mem::take(&mut metadata.annotations),
            resource_version: Some(revision.as_str().to_string()),
            ..stored.metadata().clone()
        };
        metadata.rest.extend(noted);
    })
}

/// The resource as readers see it: defaults applied, fields in Go's order, and its revision in
/// `resourceVersion`. Fields that Calico does not know are left out, since nobody could write them back.
pub fn as_read(stored: &Resource, revision: &Revision) -> Resource {
    let seen = api::defaults::on_read(stored).without_residue().canonical();
    seen.with(|metadata, _| metadata.resource_version = Some(revision.as_str().to_string()))
}

/// The resource without its identity: namespace, `uid`, `resourceVersion` and times are removed (`get
/// --export`).
pub fn without_identity(resource: &Resource) -> Resource {
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
