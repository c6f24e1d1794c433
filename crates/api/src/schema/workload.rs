//! WorkloadEndpoint.

use super::*;

pub(crate) static WORKLOAD_ENDPOINT: Struct = Struct {
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
