//! KubeControllersConfiguration (`clientv3/kubecontrollersconfig.go`).

use serde_json::Value as Json;

use super::definition::{Definition, Home, custom_resource, only_default};
use crate::checks::tags::{CIDR, NAME, Rule, SELECTOR, check, fault, go_list, in_range, one_of, texts};
use crate::checks::{FieldError, ValidationError, metadata, result};
use crate::columns::{self, Columns};
use crate::document::{self, Document, fill};
use crate::schema::*;

pub(super) static DEFINITION: Definition = Definition {
    aliases: &[
        "kubecontrollersconfiguration",
        "kubecontrollersconfigurations",
        "kubecontrollersconfig",
        "kubecontrollersconfigs",
    ],
    on_write,
    before_write,
    client,
    crd,
    on_create: |configuration| only_default(configuration, "a Kube Controllers Configuration"),
    ..Definition::new(
        "v3.KubeControllersConfiguration",
        "kubecontrollersconfigurations",
        HOME,
        &SCHEMA,
        &COLUMNS,
    )
};

const HOME: Home = Home::Custom(custom_resource!("kubecontrollersconfigurations"));

static SCHEMA: Struct = Struct {
    go: "KubeControllersConfiguration",
    fields: &[
        KIND,
        API_VERSION,
        METADATA,
        field("spec", "Spec", Omit::Never, object("v3.KubeControllersConfigurationSpec", &SPEC)),
        field("status", "Status", Omit::Never, object("v3.KubeControllersConfigurationStatus", &STATUS)),
    ],
};

static SPEC: Struct = Struct {
    go: "KubeControllersConfigurationSpec",
    fields: &[
        field("logSeverityScreen", "LogSeverityScreen", Omit::Zero, STRING),
        field("healthChecks", "HealthChecks", Omit::Zero, STRING),
        field("etcdV3CompactionPeriod", "EtcdV3CompactionPeriod", Omit::Absent, DURATION),
        field("prometheusMetricsPort", "PrometheusMetricsPort", Omit::Absent, INT),
        field("controllers", "Controllers", Omit::Never, object("v3.ControllersConfig", &CONTROLLERS)),
        field("debugProfilePort", "DebugProfilePort", Omit::Absent, INT32),
    ],
};

static STATUS: Struct = Struct {
    go: "KubeControllersConfigurationStatus",
    fields: &[
        field(
            "runningConfig",
            "RunningConfig",
            Omit::Absent,
            object("v3.KubeControllersConfigurationSpec", &SPEC),
        ),
        field("environmentVars", "EnvironmentVars", Omit::Zero, STRING_MAP),
    ],
};

static CONTROLLERS: Struct = Struct {
    go: "ControllersConfig",
    fields: &[
        field("node", "Node", Omit::Absent, object("v3.NodeControllerConfig", &NODE)),
        field("policy", "Policy", Omit::Absent, object("v3.PolicyControllerConfig", &POLICY)),
        field(
            "workloadEndpoint",
            "WorkloadEndpoint",
            Omit::Absent,
            object("v3.WorkloadEndpointControllerConfig", &WORKLOAD_ENDPOINT),
        ),
        field(
            "serviceAccount",
            "ServiceAccount",
            Omit::Absent,
            object("v3.ServiceAccountControllerConfig", &SERVICE_ACCOUNT),
        ),
        field("namespace", "Namespace", Omit::Absent, object("v3.NamespaceControllerConfig", &NAMESPACE)),
        field(
            "loadBalancer",
            "LoadBalancer",
            Omit::Absent,
            object("v3.LoadBalancerControllerConfig", &LOAD_BALANCER),
        ),
        field(
            "policyMigration",
            "Migration",
            Omit::Absent,
            object("v3.MigrationControllerConfig", &MIGRATION),
        ),
    ],
};

const RECONCILER_PERIOD: Field = field("reconcilerPeriod", "ReconcilerPeriod", Omit::Absent, DURATION);

static NODE: Struct = Struct {
    go: "NodeControllerConfig",
    fields: &[
        RECONCILER_PERIOD,
        field("syncLabels", "SyncLabels", Omit::Zero, STRING),
        field(
            "hostEndpoint",
            "HostEndpoint",
            Omit::Absent,
            object("v3.AutoHostEndpointConfig", &HOST_ENDPOINT),
        ),
        field("leakGracePeriod", "LeakGracePeriod", Omit::Absent, DURATION),
    ],
};

static POLICY: Struct = Struct { go: "PolicyControllerConfig", fields: &[RECONCILER_PERIOD] };
static WORKLOAD_ENDPOINT: Struct =
    Struct { go: "WorkloadEndpointControllerConfig", fields: &[RECONCILER_PERIOD] };
static SERVICE_ACCOUNT: Struct =
    Struct { go: "ServiceAccountControllerConfig", fields: &[RECONCILER_PERIOD] };
static NAMESPACE: Struct = Struct { go: "NamespaceControllerConfig", fields: &[RECONCILER_PERIOD] };

static LOAD_BALANCER: Struct = Struct {
    go: "LoadBalancerControllerConfig",
    fields: &[field("assignIPs", "AssignIPs", Omit::Zero, text("v3.AssignIPs"))],
};

static MIGRATION: Struct = Struct {
    go: "MigrationControllerConfig",
    fields: &[field("enabled", "PolicyNameMigrator", Omit::Zero, text("v3.ControllerMode"))],
};

static HOST_ENDPOINT: Struct = Struct {
    go: "AutoHostEndpointConfig",
    fields: &[
        field("autoCreate", "AutoCreate", Omit::Zero, STRING),
        field(
            "createDefaultHostEndpoint",
            "CreateDefaultHostEndpoint",
            Omit::Zero,
            text("v3.DefaultHostEndpointMode"),
        ),
        field("templates", "Templates", Omit::Zero, TEMPLATES),
    ],
};

const TEMPLATES: Type = objects!("v3.Template", TEMPLATE);

static TEMPLATE: Struct = Struct {
    go: "Template",
    fields: &[
        field("generateName", "GenerateName", Omit::Zero, STRING),
        field("interfaceCIDRs", "InterfaceCIDRs", Omit::Zero, STRINGS),
        field("interfacePattern", "InterfacePattern", Omit::Zero, STRING),
        field("labels", "Labels", Omit::Zero, STRING_MAP),
        field("nodeSelector", "NodeSelector", Omit::Zero, STRING),
    ],
};

static COLUMNS: Columns = Columns { all: &[columns::NAME], default: &["NAME"], wide: &["NAME"] };

fn on_write(configuration: &mut Document) {
    let spec = configuration.spec_mut();
    fill(spec, "healthChecks", || "Enabled".into());
    if spec.get("prometheusMetricsPort").is_none_or(Json::is_null) {
        spec.insert("prometheusMetricsPort".into(), 9094.into());
    }
    let controllers = document::object(spec, "controllers");
    let mut within = |controller: &str, field: &str, value: &str| {
        if let Some(Json::Object(map)) = controllers.get_mut(controller) {
            fill(map, field, || value.into());
        }
    };
    within("node", "leakGracePeriod", "15m0s");
    within("loadBalancer", "assignIPs", "AllServices");
    within("policyMigration", "enabled", "Enabled");
}

const SWITCH: [&str; 2] = ["Enabled", "Disabled"];
const HOST_ENDPOINT_PATH: [&str; 4] = ["spec", "controllers", "node", "hostEndpoint"];

fn templates(configuration: &Document) -> &[Json] {
    let path = ["spec", "controllers", "node", "hostEndpoint", "templates"];
    configuration.field(&path).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Checks that each template has a name of its own, and networks.
fn before_write(new: &Document, _: Option<&Document>, found: Vec<FieldError>) -> Result<(), ValidationError> {
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
    result(found)
}

fn client(configuration: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    const ON_OFF: Rule = ("oneof", |s| SWITCH.contains(&s));
    check(&mut faults, "HealthChecks", configuration.spec("healthChecks"), ON_OFF);
    let at = |path: &[&str]| configuration.field(path).unwrap_or(&Json::Null);
    check(&mut faults, "SyncLabels", at(&["spec", "controllers", "node", "syncLabels"]), ON_OFF);
    let host_endpoint = at(&HOST_ENDPOINT_PATH);
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

fn crd(configuration: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let at = |path: &[&str]| configuration.field(path).unwrap_or(&Json::Null);
    let levels = ["None", "Debug", "Info", "Warning", "Error", "Fatal", "Panic"];
    one_of(&mut faults, "spec.logSeverityScreen", configuration.spec("logSeverityScreen"), &levels);
    one_of(&mut faults, "spec.healthChecks", configuration.spec("healthChecks"), &SWITCH);
    for field in ["prometheusMetricsPort", "debugProfilePort"] {
        in_range(&mut faults, &format!("spec.{field}"), configuration.spec(field), 0, 65535);
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
