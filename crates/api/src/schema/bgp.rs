//! BGPPeer and BGPConfiguration.

use super::*;

pub(crate) static BGP_PEER: Struct = Struct {
    go: "BGPPeer",
    fields: &[
        KIND,
        API_VERSION,
        METADATA,
        field("spec", "Spec", Omit::Never, object("v3.BGPPeerSpec", &BGP_PEER_SPEC)),
    ],
};

static BGP_PEER_SPEC: Struct = Struct {
    go: "BGPPeerSpec",
    fields: &[
        field("node", "Node", Omit::Zero, STRING),
        field("nodeSelector", "NodeSelector", Omit::Zero, STRING),
        field("peerIP", "PeerIP", Omit::Zero, STRING),
        field("asNumber", "ASNumber", Omit::Zero, AS_NUMBER),
        field("localASNumber", "LocalASNumber", Omit::Absent, AS_NUMBER),
        field("peerSelector", "PeerSelector", Omit::Zero, STRING),
        field("keepOriginalNextHop", "KeepOriginalNextHop", Omit::Zero, BOOL),
        field("password", "Password", Omit::Absent, PASSWORD),
        field("sourceAddress", "SourceAddress", Omit::Zero, text("v3.SourceAddress")),
        field("maxRestartTime", "MaxRestartTime", Omit::Absent, DURATION),
        field("keepaliveTime", "KeepaliveTime", Omit::Absent, DURATION),
        field("numAllowedLocalASNumbers", "NumAllowedLocalASNumbers", Omit::Absent, INT32),
        field("ttlSecurity", "TTLSecurity", Omit::Absent, UINT8),
        field("reachableBy", "ReachableBy", Omit::Zero, STRING),
        field("filters", "Filters", Omit::Zero, STRINGS),
        field("localWorkloadSelector", "LocalWorkloadSelector", Omit::Zero, STRING),
        field("reversePeering", "ReversePeering", Omit::Absent, text("v3.ReversePeering")),
        field("nextHopMode", "NextHopMode", Omit::Absent, text("v3.NextHopMode")),
    ],
};

const PASSWORD: Type = object("v3.BGPPassword", &BGP_PASSWORD);

static BGP_PASSWORD: Struct = Struct {
    go: "BGPPassword",
    fields: &[field("secretKeyRef", "SecretKeyRef", Omit::Absent, SECRET_KEY_SELECTOR)],
};

const SECRET_KEY_SELECTOR: Type = object("v1.SecretKeySelector", &SECRET_KEY);

static SECRET_KEY: Struct = Struct {
    go: "SecretKeySelector",
    fields: &[
        text_within("v1.LocalObjectReference", "name", "Name"),
        field("key", "Key", Omit::Never, STRING),
        field("optional", "Optional", Omit::Absent, BOOL),
    ],
};

pub(crate) static BGP_CONFIGURATION: Struct = Struct {
    go: "BGPConfiguration",
    fields: &[
        KIND,
        API_VERSION,
        METADATA,
        field("spec", "Spec", Omit::Never, object("v3.BGPConfigurationSpec", &BGP_CONFIGURATION_SPEC)),
    ],
};

static BGP_CONFIGURATION_SPEC: Struct = Struct {
    go: "BGPConfigurationSpec",
    fields: &[
        field("logSeverityScreen", "LogSeverityScreen", Omit::Zero, STRING),
        field("nodeToNodeMeshEnabled", "NodeToNodeMeshEnabled", Omit::Absent, BOOL),
        field("asNumber", "ASNumber", Omit::Absent, AS_NUMBER),
        field("serviceLoadBalancerIPs", "ServiceLoadBalancerIPs", Omit::Zero, LOAD_BALANCER_BLOCKS),
        field("serviceExternalIPs", "ServiceExternalIPs", Omit::Zero, EXTERNAL_BLOCKS),
        field("serviceClusterIPs", "ServiceClusterIPs", Omit::Zero, CLUSTER_BLOCKS),
        field("communities", "Communities", Omit::Zero, COMMUNITIES),
        field("prefixAdvertisements", "PrefixAdvertisements", Omit::Zero, PREFIX_ADVERTISEMENTS),
        field("listenPort", "ListenPort", Omit::Zero, UINT16),
        field("nodeMeshPassword", "NodeMeshPassword", Omit::Absent, PASSWORD),
        field("nodeMeshMaxRestartTime", "NodeMeshMaxRestartTime", Omit::Absent, DURATION),
        field("bindMode", "BindMode", Omit::Absent, text("v3.BindMode")),
        field("ignoredInterfaces", "IgnoredInterfaces", Omit::Zero, STRINGS),
        field("localWorkloadPeeringIPV4", "LocalWorkloadPeeringIPV4", Omit::Zero, STRING),
        field("localWorkloadPeeringIPV6", "LocalWorkloadPeeringIPV6", Omit::Zero, STRING),
        field(
            "serviceLoadBalancerAggregation",
            "ServiceLoadBalancerAggregation",
            Omit::Absent,
            text("v3.ServiceLoadBalancerAggregation"),
        ),
        field("programClusterRoutes", "ProgramClusterRoutes", Omit::Absent, STRING),
    ],
};

const LOAD_BALANCER_BLOCKS: Type = objects!("v3.ServiceLoadBalancerIPBlock", SERVICE_LOAD_BALANCER_IP_BLOCK);
const EXTERNAL_BLOCKS: Type = objects!("v3.ServiceExternalIPBlock", SERVICE_EXTERNAL_IP_BLOCK);
const CLUSTER_BLOCKS: Type = objects!("v3.ServiceClusterIPBlock", SERVICE_CLUSTER_IP_BLOCK);
const COMMUNITIES: Type = objects!("v3.Community", COMMUNITY);
const PREFIX_ADVERTISEMENTS: Type = objects!("v3.PrefixAdvertisement", PREFIX_ADVERTISEMENT);

const CIDR: Field = field("cidr", "CIDR", Omit::Zero, STRING);

static SERVICE_LOAD_BALANCER_IP_BLOCK: Struct = Struct { go: "ServiceLoadBalancerIPBlock", fields: &[CIDR] };
static SERVICE_EXTERNAL_IP_BLOCK: Struct = Struct { go: "ServiceExternalIPBlock", fields: &[CIDR] };
static SERVICE_CLUSTER_IP_BLOCK: Struct = Struct { go: "ServiceClusterIPBlock", fields: &[CIDR] };

static COMMUNITY: Struct = Struct {
    go: "Community",
    fields: &[field("name", "Name", Omit::Zero, STRING), field("value", "Value", Omit::Zero, STRING)],
};

static PREFIX_ADVERTISEMENT: Struct = Struct {
    go: "PrefixAdvertisement",
    fields: &[CIDR, field("communities", "Communities", Omit::Zero, STRINGS)],
};
