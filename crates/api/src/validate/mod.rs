//! The rules for resources, with Calico's texts (`libcalico-go/lib/validator/v3`, the rules of its CRDs, and
//! `libcalico-go/lib/clientv3`).
//!
//! Three layers, in the order in which they report:
//! 1. *client*: Go's field and struct rules; Calico's programs check them in every mode.
//! 2. *schema*: what the CRDs say (ranges, patterns, enumerations, then expressions); in Kubernetes the API
//!    server checks them.
//! 3. *operation*: what may be created, and what may not change.
//!
//! Rules about several objects (overlapping pools, blocks of another size) are checked by those who read them
//! all; the texts of their faults are here.

use crate::capability::Backend;
use crate::checks::{self, result};
use crate::defaults;
use crate::kinds::{Home, KindScope};
use crate::resource::Resource;

pub use crate::checks::{FieldError, ValidationError};
pub use crate::kinds::ip_pool::{block_size_conflict, overlap};

/// Checks one resource by itself: layers 1 and 2, as `calicoctl validate` does without a datastore. No
/// defaults are applied first, so what only holds after defaulting is not found here.
///
/// # Errors
/// All faults.
pub fn resource(resource: &Resource) -> Result<(), ValidationError> {
    let mut faults = client_faults(resource);
    faults.extend((resource.kind().definition().crd)(resource));
    result(faults)
}

/// What a user wrote that has no effect, or that nobody can use, though Calico takes it.
pub fn oddities(resource: &Resource) -> Vec<FieldError> {
    let mut odd: Vec<FieldError> = checks::metadata::ignored(resource.metadata())
        .filter(|field| !(*field == "generateName" && resource.kind().definition().home == Home::Pods))
        .map(|field| FieldError::new(format!("metadata.{field}"), "is not written: it has no effect here"))
        .collect();
    odd.extend((resource.kind().definition().odd)(resource));
    odd
}

/// Checks layer 1 alone, for Kubernetes, where the API server checks layer 2.
///
/// # Errors
/// All faults.
pub fn client(resource: &Resource) -> Result<(), ValidationError> {
    result(client_faults(resource))
}

/// Checks what is to be created, as typed; `found` are the faults that the caller found by looking at other
/// objects ([`overlap`]). What is stored afterwards is [`defaults::on_write`] of it. In Kubernetes layer 2 is
/// left to the API server.
///
/// # Errors
/// The faults of the first stage that has any, in Calico's order: before defaults are applied, after it, and
/// of the operation.
pub fn create(new: &Resource, found: Vec<FieldError>, backend: Backend) -> Result<(), ValidationError> {
    let rules = new.kind().definition();
    (rules.before_write)(new, None, found)?;
    after_defaults(new, backend)?;
    (rules.on_create)(new)?;
    if let Some(version) = new.metadata().resource_version.as_deref().filter(|v| !v.is_empty()) {
        let reason = "field must not be set for a Create request";
        let fault = FieldError::of_value("Metadata.ResourceVersion", version, reason);
        return Err(fault.with_help("leave resourceVersion out, or use `calicoctl apply`").into());
    }
    namespace(new)
}

/// Checks what is to replace `old`, as typed; `old` as read, defaults applied ([`defaults::on_read`]).
///
/// # Errors
/// As [`create`].
pub fn update(new: &Resource, old: &Resource, backend: Backend) -> Result<(), ValidationError> {
    let rules = new.kind().definition();
    (rules.before_write)(new, Some(old), Vec::new())?;
    after_defaults(new, backend)?;
    (rules.on_update)(new)?;
    let metadata = new.metadata();
    let must = |set: bool, name: &str| match set {
        true => Ok(()),
        false => Err(FieldError::of_value(name, "", "field must be set for an Update request").into()),
    };
    must(metadata.resource_version.is_some(), "Metadata.ResourceVersion")?;
    namespace(new)?;
    must(metadata.creation_timestamp.is_some(), "Metadata.CreationTimestamp")?;
    must(metadata.uid.is_some(), "Metadata.UID")
}

fn after_defaults(new: &Resource, backend: Backend) -> Result<(), ValidationError> {
    let written = defaults::on_write(new);
    match backend {
        Backend::Kubernetes => client(&written),
        Backend::Embedded | Backend::Etcd => resource(&written),
    }
}

fn namespace(new: &Resource) -> Result<(), ValidationError> {
    if new.kind().scope() == KindScope::Namespaced && new.metadata().namespace.is_none() {
        let reason = "namespace is not specified on namespaced resource";
        return Err(FieldError::new("Metadata.Namespace", reason).into());
    }
    Ok(())
}

fn client_faults(resource: &Resource) -> Vec<FieldError> {
    let mut faults = checks::metadata::faults(resource.metadata());
    faults.extend((resource.kind().definition().client)(resource));
    faults
}

#[cfg(test)]
mod tests;
