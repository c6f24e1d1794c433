//! The rules for resources, with Calico's texts (`libcalico-go/lib/validator/v3`, the rules of its CRDs, and `libcalico-go/lib/clientv3`).
//!
//! Three layers, in the order in which they report:
//! 1. *client*: Go's field and struct rules; Calico's programs check them in every mode.
//! 2. *schema*: what the CRDs say (ranges, patterns, enumerations, then expressions); in Kubernetes the API server checks them.
//! 3. *operation*: what may be created, and what may not change.
//!
//! Rules across objects (overlapping pools, blocks of another size) need other objects, so they are not here; their texts are.

mod bgp;
mod cluster;
mod controllers;
mod ipam;
mod metadata;
mod node;
mod pool;
mod tags;
mod workload;

use std::fmt;

use serde_json::Value as Json;

use crate::capability::Backend;
use crate::defaults;
use crate::kind::{Kind, Scope};
use crate::resource::Resource;

pub use pool::{block_size_conflict, overlap};

/// A fault of one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Which, in the notation of the rule that it breaks: `IPPool.Spec.CIDR`, `spec.cidr`, `NodeSelector`.
    pub name: String,
    /// What stands there, where the rule says so.
    pub value: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

impl FieldError {
    /// A fault that shows the value.
    pub fn of_value(
        name: impl Into<String>,
        value: impl Into<String>,
        reason: impl Into<String>,
    ) -> FieldError {
        FieldError { name: name.into(), value: Some(value.into()), reason: reason.into() }
    }

    /// A fault that does not show the value.
    pub fn new(name: impl Into<String>, reason: impl Into<String>) -> FieldError {
        FieldError { name: name.into(), value: None, reason: reason.into() }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(value) = &self.value {
            write!(f, " = '{value}'")?;
        }
        if !self.reason.is_empty() {
            write!(f, " ({})", self.reason)?;
        }
        Ok(())
    }
}

/// Why a resource is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValidationError {
    /// These fields are wrong; at least one.
    Fields(Vec<FieldError>),
    /// A fault that names no field.
    Text(String),
}

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValidationError::Text(text) => f.write_str(text),
            ValidationError::Fields(fields) => match fields.as_slice() {
                [one] => write!(f, "error with field {one}"),
                many => {
                    f.write_str("error with the following fields:\n")?;
                    many.iter().try_for_each(|field| writeln!(f, "-  {field}"))
                }
            },
        }
    }
}

impl std::error::Error for ValidationError {}

impl From<FieldError> for ValidationError {
    fn from(field: FieldError) -> Self {
        ValidationError::Fields(vec![field])
    }
}

/// Checks one resource by itself: layers 1 and 2, as `calicoctl validate` does without a datastore. No defaults are applied first, so what
/// only holds after defaulting is not found here.
///
/// # Errors
/// All faults.
pub fn resource(resource: &Resource) -> Result<(), ValidationError> {
    let mut faults = client_faults(resource);
    faults.extend(schema_faults(resource));
    result(faults)
}

/// Checks layer 1 alone, for Kubernetes, where the API server checks layer 2.
///
/// # Errors
/// All faults.
pub fn client(resource: &Resource) -> Result<(), ValidationError> {
    result(client_faults(resource))
}

/// Checks what is to be created, as typed; `found` are the faults that the caller found by looking at other objects
/// ([`overlap`]). What is stored afterwards is [`defaults::on_write`] of it. In Kubernetes layer 2 is left to the API server.
///
/// # Errors
/// The faults of the first stage that has any, in Calico's order: before defaults are applied, after it, and of the operation.
pub fn create(new: &Resource, found: Vec<FieldError>, backend: Backend) -> Result<(), ValidationError> {
    before_write(new, None, found)?;
    after_defaults(new, backend)?;
    only_default(new)?;
    if let Some(version) = new.metadata().resource_version.as_deref().filter(|v| !v.is_empty()) {
        let reason = "field must not be set for a Create request";
        return Err(FieldError::of_value("Metadata.ResourceVersion", version, reason).into());
    }
    namespace(new)
}

/// Checks what is to replace `old`, as typed; `old` as read, defaults applied ([`defaults::on_read`]).
///
/// # Errors
/// As [`create`].
pub fn update(new: &Resource, old: &Resource, backend: Backend) -> Result<(), ValidationError> {
    before_write(new, Some(old), Vec::new())?;
    after_defaults(new, backend)?;
    if new.kind() == Kind::BGPConfiguration {
        only_default(new)?;
    }
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

fn before_write(
    new: &Resource,
    old: Option<&Resource>,
    found: Vec<FieldError>,
) -> Result<(), ValidationError> {
    match new.kind() {
        Kind::IPPool => pool::before_write(new, old, found),
        Kind::WorkloadEndpoint => workload::before_write(new),
        Kind::KubeControllersConfiguration => controllers::before_write(new),
        _ => result(found),
    }
}

fn after_defaults(new: &Resource, backend: Backend) -> Result<(), ValidationError> {
    let written = defaults::on_write(new);
    match backend {
        Backend::Kubernetes => client(&written),
        Backend::Embedded | Backend::Etcd => resource(&written),
    }
}

fn only_default(new: &Resource) -> Result<(), ValidationError> {
    if new.name() == "default" {
        return Ok(());
    }
    let other = |what: &str| {
        let text = format!("Cannot create {what} resource with a name other than \"default\"");
        Err(ValidationError::Text(text))
    };
    match new.kind() {
        Kind::IPAMConfiguration => other("an IPAMConfiguration"),
        Kind::KubeControllersConfiguration => other("a Kube Controllers Configuration"),
        Kind::ClusterInformation => other("a Cluster Information"),
        Kind::BGPConfiguration => result(bgp::default_only(new)),
        _ => Ok(()),
    }
}

fn namespace(new: &Resource) -> Result<(), ValidationError> {
    if new.kind().scope() == Scope::Namespaced && new.metadata().namespace.is_none() {
        let reason = "namespace is not specified on namespaced resource";
        return Err(FieldError::new("Metadata.Namespace", reason).into());
    }
    Ok(())
}

fn result(faults: Vec<FieldError>) -> Result<(), ValidationError> {
    if faults.is_empty() { Ok(()) } else { Err(ValidationError::Fields(faults)) }
}

fn client_faults(resource: &Resource) -> Vec<FieldError> {
    let mut faults = metadata::faults(resource.metadata());
    faults.extend(match resource.kind() {
        Kind::IPPool => pool::client(resource),
        Kind::IPReservation => ipam::reservation_client(resource),
        Kind::IPAMConfiguration => ipam::configuration_client(resource),
        Kind::Node => node::client(resource),
        Kind::WorkloadEndpoint => workload::client(resource),
        Kind::BGPPeer => bgp::peer_client(resource),
        Kind::BGPConfiguration => bgp::configuration_client(resource),
        Kind::KubeControllersConfiguration => controllers::client(resource),
        Kind::Tier => cluster::tier_client(resource),
        Kind::Profile => cluster::profile_client(resource),
        Kind::ClusterInformation => Vec::new(),
    });
    faults
}

fn schema_faults(resource: &Resource) -> Vec<FieldError> {
    match resource.kind() {
        Kind::IPPool => pool::schema(resource),
        Kind::IPReservation => ipam::reservation_schema(resource),
        Kind::IPAMConfiguration => ipam::configuration_schema(resource),
        Kind::BGPPeer => bgp::peer_schema(resource),
        Kind::BGPConfiguration => bgp::configuration_schema(resource),
        Kind::KubeControllersConfiguration => controllers::schema(resource),
        Kind::Tier => cluster::tier_schema(resource),
        // No CRD: these are no custom resources, or have no rules.
        Kind::Node | Kind::WorkloadEndpoint | Kind::ClusterInformation | Kind::Profile => Vec::new(),
    }
}

/// A field of `spec`; null when absent.
fn spec<'a>(resource: &'a Resource, field: &str) -> &'a Json {
    resource.field(&["spec", field]).unwrap_or(&Json::Null)
}

fn texts(json: &Json) -> impl Iterator<Item = &str> {
    json.as_array().into_iter().flatten().filter_map(Json::as_str)
}

/// A list as Go's `%v` prints it.
fn go_list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests;
