//! KubeControllersConfiguration (`clientv3/kubecontrollersconfig.go`).

use serde_json::Value as Json;

use super::tags::{CIDR, NAME, SELECTOR, check, fault, in_range, one_of};
use super::{FieldError, ValidationError, go_list, metadata, spec, texts};
use crate::resource::Resource;

const SWITCH: [&str; 2] = ["Enabled", "Disabled"];
const HOST_ENDPOINT: [&str; 4] = ["spec", "controllers", "node", "hostEndpoint"];

fn templates(configuration: &Resource) -> &[Json] {
    let path = ["spec", "controllers", "node", "hostEndpoint", "templates"];
    configuration.field(&path).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Templates need a name of their own and networks.
pub(super) fn before_write(new: &Resource) -> Result<(), ValidationError> {
    const FIELD: &str = "KubeControllersConfiguration.Node.HostEndpoint.Templates";
    let mut names: Vec<&str> = Vec::new();
    for template in templates(new) {
        let name = template["generateName"].as_str().unwrap_or_default();
        let fault = if name.is_empty() {
            FieldError::new(FIELD, "Template name must be specified")
        } else if name.len() > 253 {
            FieldError::new(FIELD, "Template name must be shorter than 253 characters")
        } else if names.contains(&name) {
            FieldError::new(format!("{FIELD}.{name}"), "Template name must be unique")
        } else if texts(&template["interfaceCIDRs"]).next().is_none()
            && template["interfacePattern"].is_null()
        {
            FieldError::new(format!("{FIELD}.{name}"), "CIDR can not be empty")
        } else {
            names.push(name);
            continue;
        };
        return Err(fault.into());
    }
    Ok(())
}

pub(super) fn client(configuration: &Resource) -> Vec<FieldError> {
    let mut faults = Vec::new();
    const ON_OFF: super::tags::Rule = ("oneof", |s| SWITCH.contains(&s));
    check(&mut faults, "HealthChecks", spec(configuration, "healthChecks"), ON_OFF);
    let at = |path: &[&str]| configuration.field(path).unwrap_or(&Json::Null);
    check(&mut faults, "SyncLabels", at(&["spec", "controllers", "node", "syncLabels"]), ON_OFF);
    let host_endpoint = at(&HOST_ENDPOINT);
    check(&mut faults, "AutoCreate", &host_endpoint["autoCreate"], ON_OFF);
    let mode = ("createDefaultHostEndpoint", ON_OFF.1);
    check(&mut faults, "CreateDefaultHostEndpoint", &host_endpoint["createDefaultHostEndpoint"], mode);
    for template in templates(configuration) {
        check(&mut faults, "GenerateName", &template["generateName"], NAME);
        let cidrs = &template["interfaceCIDRs"];
        if !texts(cidrs).all(CIDR.1) {
            faults.push(fault("InterfaceCIDRs", &go_list(texts(cidrs)), "cidrs"));
        }
        let labels = template["labels"].as_object().into_iter().flatten();
        let wrong = |(key, value): (&String, &Json)| {
            let value = value.as_str().unwrap_or_default();
            !metadata::qualified_name(key).is_empty() || !metadata::label_value(value).is_empty()
        };
        if labels.into_iter().any(wrong) {
            faults.push(fault("Labels", &template["labels"].to_string(), "labels"));
        }
        check(&mut faults, "NodeSelector", &template["nodeSelector"], SELECTOR);
    }
    let migration = at(&["spec", "controllers", "policyMigration", "enabled"]);
    check(&mut faults, "PolicyNameMigrator", migration, ON_OFF);
    faults
}

pub(super) fn schema(configuration: &Resource) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let at = |path: &[&str]| configuration.field(path).unwrap_or(&Json::Null);
    let levels = ["None", "Debug", "Info", "Warning", "Error", "Fatal", "Panic"];
    one_of(&mut faults, "spec.logSeverityScreen", spec(configuration, "logSeverityScreen"), &levels);
    one_of(&mut faults, "spec.healthChecks", spec(configuration, "healthChecks"), &SWITCH);
    for field in ["prometheusMetricsPort", "debugProfilePort"] {
        in_range(&mut faults, &format!("spec.{field}"), spec(configuration, field), 0, 65535);
    }
    let sync = at(&["spec", "controllers", "node", "syncLabels"]);
    one_of(&mut faults, "spec.controllers.node.syncLabels", sync, &SWITCH);
    let create = at(&["spec", "controllers", "node", "hostEndpoint", "autoCreate"]);
    one_of(&mut faults, "spec.controllers.node.hostEndpoint.autoCreate", create, &SWITCH);
    let assign = at(&["spec", "controllers", "loadBalancer", "assignIPs"]);
    let modes = ["AllServices", "RequestedServicesOnly"];
    one_of(&mut faults, "spec.controllers.loadBalancer.assignIPs", assign, &modes);
    let migration = at(&["spec", "controllers", "policyMigration", "enabled"]);
    one_of(&mut faults, "spec.controllers.policyMigration.enabled", migration, &["Disabled", "Enabled"]);
    faults
}
