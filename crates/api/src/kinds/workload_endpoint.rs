//! WorkloadEndpoint (`libcalico-go/lib/apis/internalapi/workloadendpoint.go`,
//! `clientv3/workloadendpoint.go`).

use serde_json::Value as Json;

use super::definition::{Definition, Home, KindScope};
use crate::capability::{Backend, Operation, OperationRefusal};
use crate::checks::tags::{
    CIDR, CONTAINER_ID, INTERFACE, IP, IPV4, IPV6, MAC, NAME, NET, PORT_NAME, check, check_each, check_set,
    cidr_or_ip, fault, go_list, has_ports, protocol, texts,
};
use crate::checks::{FieldError, ValidationError, result};
use crate::columns::{self, Columns, column};
use crate::document::Document;
use crate::schema::*;
use crate::wep_name::{Identifiers, LABEL_NAMESPACE, LABEL_ORCHESTRATOR};

pub(super) static DEFINITION: Definition = Definition {
    aliases: &["workloadendpoint", "workloadendpoints", "wep", "weps"],
    short: Some("wep"),
    scope: KindScope::Namespaced,
    refusal,
    on_write,
    before_write,
    client,
    ..Definition::new("internalapi.WorkloadEndpoint", "workloadendpoints", Home::Pods, &SCHEMA, &COLUMNS)
};

static SCHEMA: Struct = Struct {
    go: "WorkloadEndpoint",
    fields: &[
        KIND,
        API_VERSION,
        METADATA,
        field("spec", "Spec", Omit::Never, object("internalapi.WorkloadEndpointSpec", &SPEC)),
    ],
};

static SPEC: Struct = Struct {
    go: "WorkloadEndpointSpec",
    fields: &[
        field("orchestrator", "Orchestrator", Omit::Zero, STRING),
        field("workload", "Workload", Omit::Zero, STRING),
        field("node", "Node", Omit::Zero, STRING),
        field("containerID", "ContainerID", Omit::Zero, STRING),
        field("pod", "Pod", Omit::Zero, STRING),
        field("endpoint", "Endpoint", Omit::Zero, STRING),
        field("serviceAccountName", "ServiceAccountName", Omit::Zero, STRING),
        field("ipNetworks", "IPNetworks", Omit::Zero, STRINGS),
        field("ipNATs", "IPNATs", Omit::Zero, IP_NATS),
        field("ipv4Gateway", "IPv4Gateway", Omit::Zero, STRING),
        field("ipv6Gateway", "IPv6Gateway", Omit::Zero, STRING),
        field("profiles", "Profiles", Omit::Zero, STRINGS),
        field("interfaceName", "InterfaceName", Omit::Zero, STRING),
        field("mac", "MAC", Omit::Zero, STRING),
        field("ports", "Ports", Omit::Zero, PORTS),
        field("allowSpoofedSourcePrefixes", "AllowSpoofedSourcePrefixes", Omit::Zero, STRINGS),
        field("qosControls", "QoSControls", Omit::Absent, object("internalapi.QoSControls", &QOS_CONTROLS)),
    ],
};

const IP_NATS: Type = objects!("internalapi.IPNAT", IP_NAT);
const PORTS: Type = objects!("internalapi.WorkloadEndpointPort", PORT);

static IP_NAT: Struct = Struct {
    go: "IPNAT",
    fields: &[
        field("internalIP", "InternalIP", Omit::Never, STRING),
        field("externalIP", "ExternalIP", Omit::Never, STRING),
    ],
};

static PORT: Struct = Struct {
    go: "WorkloadEndpointPort",
    fields: &[
        field("name", "Name", Omit::Never, STRING),
        field("protocol", "Protocol", Omit::Never, ty("numorstring.Protocol", Shape::Uint8OrText)),
        field("port", "Port", Omit::Never, UINT16),
        field("hostPort", "HostPort", Omit::Never, UINT16),
        field("hostIP", "HostIP", Omit::Never, STRING),
    ],
};

static QOS_CONTROLS: Struct = Struct {
    go: "QoSControls",
    fields: &[
        field("ingressBandwidth", "IngressBandwidth", Omit::Zero, INT64),
        field("ingressBurst", "IngressBurst", Omit::Zero, INT64),
        field("ingressPeakrate", "IngressPeakrate", Omit::Zero, INT64),
        field("ingressMinburst", "IngressMinburst", Omit::Zero, INT64),
        field("egressBandwidth", "EgressBandwidth", Omit::Zero, INT64),
        field("egressBurst", "EgressBurst", Omit::Zero, INT64),
        field("egressPeakrate", "EgressPeakrate", Omit::Zero, INT64),
        field("egressMinburst", "EgressMinburst", Omit::Zero, INT64),
        field("ingressPacketRate", "IngressPacketRate", Omit::Zero, INT64),
        field("ingressPacketBurst", "IngressPacketBurst", Omit::Zero, INT64),
        field("egressPacketRate", "EgressPacketRate", Omit::Zero, INT64),
        field("egressPacketBurst", "EgressPacketBurst", Omit::Zero, INT64),
        field("ingressMaxConnections", "IngressMaxConnections", Omit::Zero, INT64),
        field("egressMaxConnections", "EgressMaxConnections", Omit::Zero, INT64),
        field("dscp", "DSCP", Omit::Absent, ty("numorstring.DSCP", Shape::Uint8OrText)),
    ],
};

static COLUMNS: Columns = Columns {
    all: &[
        columns::NAME,
        column("NAMESPACE", |r, _| r.metadata().namespace.clone().unwrap_or_default()),
        column("WORKLOAD", |r, _| {
            let workload = columns::text(r, &["spec", "workload"]);
            if workload.is_empty() { columns::text(r, &["spec", "pod"]) } else { workload }
        }),
        column("NODE", |r, _| columns::text(r, &["spec", "node"])),
        column("NETWORKS", |r, _| columns::join(r, "ipNetworks")),
        column("INTERFACE", |r, _| columns::text(r, &["spec", "interfaceName"])),
        column("PROFILES", |r, _| columns::join(r, "profiles")),
        column("NATS", |r, _| nats(r)),
        column("ORCHESTRATOR", |r, _| columns::text(r, &["spec", "orchestrator"])),
    ],
    default: &["WORKLOAD", "NODE", "NETWORKS", "INTERFACE"],
    wide: &["NAME", "WORKLOAD", "NODE", "NETWORKS", "INTERFACE", "PROFILES", "NATS"],
};

/// The endpoint's NATs, each as `external->internal`, joined by commas. (Calico crashes on an endpoint with
/// NATs.)
fn nats(endpoint: &Document) -> String {
    let nats = endpoint.field(&["spec", "ipNATs"]).and_then(Json::as_array);
    let text = |nat: &Json, field: &str| nat[field].as_str().unwrap_or_default().to_string();
    let pair = |nat: &Json| format!("{}->{}", text(nat, "externalIP"), text(nat, "internalIP"));
    nats.into_iter().flatten().map(pair).collect::<Vec<_>>().join(",")
}

/// Which operations are refused in Kubernetes, as recorded in 037-calicoctl-crud: there an endpoint is a view
/// of a Pod.
fn refusal(backend: Backend, operation: Operation) -> Option<OperationRefusal> {
    let (operation, reason) = (operation.verb(), "unsupported PatchMode: patchModeUnspecified");
    (backend == Backend::Kubernetes).then_some(OperationRefusal { operation, names_object: true, reason })
}

/// Sets the name, and the labels with the namespace and the orchestrator.
fn on_write(endpoint: &mut Document) {
    let orchestrator = endpoint.text(&["spec", "orchestrator"]).unwrap_or_default().to_string();
    let name = Identifiers::of(endpoint).name().unwrap_or_default();
    let metadata = &mut endpoint.metadata;
    if metadata.name.is_empty() {
        metadata.name = name;
    }
    let namespace = metadata.namespace.clone().unwrap_or_default();
    metadata.labels.insert(LABEL_NAMESPACE.into(), namespace);
    metadata.labels.insert(LABEL_ORCHESTRATOR.into(), orchestrator);
}

/// Checks that a given name is the one that the spec determines.
fn before_write(new: &Document, _: Option<&Document>, found: Vec<FieldError>) -> Result<(), ValidationError> {
    let expected = Identifiers::of(new).name()?;
    if new.name().is_empty() || new.name() == expected {
        return result(found);
    }
    let reason = format!(
        "the WorkloadEndpoint name does not match the primary identifiers assigned in the Spec: expected name {expected}"
    );
    Err(FieldError::of_value("Name", new.name(), reason).into())
}

fn client(endpoint: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let value = |field: &str| endpoint.spec(field);
    for (field, go) in [("orchestrator", "Orchestrator"), ("workload", "Workload"), ("node", "Node")] {
        check(&mut faults, go, value(field), NAME);
    }
    check(&mut faults, "ContainerID", value("containerID"), CONTAINER_ID);
    for (field, go) in
        [("pod", "Pod"), ("endpoint", "Endpoint"), ("serviceAccountName", "ServiceAccountName")]
    {
        check(&mut faults, go, value(field), NAME);
    }
    check_each(&mut faults, "IPNetworks", value("ipNetworks"), NET);
    for nat in value("ipNATs").as_array().into_iter().flatten() {
        faults.extend(nat_faults(nat));
    }
    check(&mut faults, "IPv4Gateway", value("ipv4Gateway"), IPV4);
    check(&mut faults, "IPv6Gateway", value("ipv6Gateway"), IPV6);
    check_each(&mut faults, "Profiles", value("profiles"), NAME);
    check_set(&mut faults, "InterfaceName", value("interfaceName").as_str().unwrap_or_default(), INTERFACE);
    check(&mut faults, "MAC", value("mac"), MAC);
    for port in value("ports").as_array().into_iter().flatten() {
        faults.extend(port_faults(port));
    }
    check_each(&mut faults, "AllowSpoofedSourcePrefixes", value("allowSpoofedSourcePrefixes"), CIDR);
    faults.extend(network_faults(value("ipNetworks"), value("ipNATs")));
    faults
}

fn nat_faults(nat: &Json) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let text = |field: &str| nat[field].as_str().unwrap_or_default();
    check(&mut faults, "InternalIP", &nat["internalIP"], IP);
    check(&mut faults, "ExternalIP", &nat["externalIP"], IP);
    // Calico's error names InternalIP and shows the external address, whichever of the two is wrong. This
    // program does the same.
    let mut read = |field: &str| {
        let parsed = cidr_or_ip(text(field));
        if parsed.is_none() {
            faults.push(FieldError::of_value("InternalIP", text("externalIP"), "invalid IP address"));
        }
        parsed
    };
    let (internal, external) = (read("internalIP"), read("externalIP"));
    if let (Some((internal, _)), Some((external, _))) = (internal, external)
        && internal.family() != external.family()
    {
        faults.push(FieldError::of_value("ExternalIP", text("externalIP"), "mismatched IP versions"));
    }
    faults
}

fn port_faults(port: &Json) -> Vec<FieldError> {
    let mut faults = Vec::new();
    check(&mut faults, "Name", &port["name"], PORT_NAME);
    let protocol = protocol(&mut faults, &port["protocol"]);
    if port["port"].as_u64().unwrap_or(0) == 0 {
        faults.push(fault("Port", "0", "gt"));
    }
    check(&mut faults, "HostIP", &port["hostIP"], NET);
    if !has_ports(&protocol) {
        let reason = "WorkloadEndpointPort protocol does not support ports.";
        faults.push(FieldError::of_value("WorkloadEndpointPort.Protocol", protocol, reason));
    }
    let unnamed = port["name"].as_str().unwrap_or_default().is_empty();
    if unnamed && port["hostPort"].as_u64().unwrap_or(0) == 0 {
        let reason = "WorkloadEndpointPort name must not be empty if no HostPort is specified";
        faults.push(FieldError::of_value("WorkloadEndpointPort.Name", "", reason));
    }
    faults
}

fn network_faults(networks: &Json, nats: &Json) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let mut cidrs = Vec::new();
    for text in texts(networks) {
        match cidr_or_ip(text) {
            // Calico crashes on such a text.
            None => faults.push(FieldError::of_value("IPNetworks", text, "invalid CIDR")),
            Some((cidr, _)) => {
                if cidr.prefix() != cidr.family().bits() {
                    let reason = "IP network contains multiple addresses";
                    faults.push(FieldError::of_value("IPNetworks", go_list(texts(networks)), reason));
                }
                cidrs.push(cidr);
            }
        }
    }
    let nats = nats.as_array().map(Vec::as_slice).unwrap_or_default();
    let internal = |nat: &Json| cidr_or_ip(nat["internalIP"].as_str().unwrap_or_default());
    let inside = |nat: &Json| internal(nat).is_some_and(|(_, ip)| cidrs.iter().any(|c| c.contains(ip)));
    if !nats.iter().all(inside) {
        let list: Vec<String> = nats
            .iter()
            .map(|nat| {
                let text = |field: &str| nat[field].as_str().unwrap_or_default();
                format!("{{{} {}}}", text("internalIP"), text("externalIP"))
            })
            .collect();
        let reason = "NAT is not in the endpoint networks";
        faults.push(FieldError::of_value("IPNATs", format!("[{}]", list.join(" ")), reason));
    }
    faults
}
