//! KubeControllersConfiguration.

use super::*;

pub(crate) static KUBE_CONTROLLERS_CONFIGURATION: Struct = Struct {
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
