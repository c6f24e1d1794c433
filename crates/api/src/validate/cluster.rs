//! Tier and Profile.

use super::metadata::qualified_name;
use super::tags::{is_label, one_of};
use super::{FieldError, spec};
use crate::resource::Resource;

const MAX_LABEL: usize = 63;

pub(super) fn tier_client(tier: &Resource) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let name = tier.name();
    if name.len() > MAX_LABEL {
        let reason = format!("name is too long by {} bytes", name.len() - MAX_LABEL);
        faults.push(FieldError::of_value("Metadata.Name", name, reason));
    }
    if !is_label(name) {
        let reason = "name must consist of lower case alphanumeric characters or '-' (regex: [a-z0-9]([-a-z0-9]*[a-z0-9])?)";
        faults.push(FieldError::of_value("Metadata.Name", name, reason));
    }
    faults
}

/// The rules of a Profile are not looked at: nobody but the CNI plugin writes any here.
pub(super) fn profile_client(profile: &Resource) -> Vec<FieldError> {
    let labels = spec(profile, "labelsToApply").as_object();
    let faults = labels.into_iter().flatten().flat_map(|(key, _)| {
        let of = |reason| FieldError::of_value("LabelsToApply", key, reason);
        qualified_name(key).into_iter().map(of).collect::<Vec<_>>()
    });
    faults.collect()
}

pub(super) fn tier_schema(tier: &Resource) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let action = spec(tier, "defaultAction");
    one_of(&mut faults, "spec.defaultAction", action, &["Pass", "Deny"]);
    for (name, wanted) in [("kube-admin", "Pass"), ("kube-baseline", "Pass"), ("default", "Deny")] {
        if tier.name() == name && action.as_str().unwrap_or("Deny") != wanted {
            let message = format!("The '{name}' tier must have default action '{wanted}'");
            faults.push(FieldError::new("Tier", message));
        }
    }
    faults
}
