//! Node.

use super::*;

pub(crate) static NODE: Struct = Struct {
    go: "Node",
    fields: &[
        KIND,
        API_VERSION,
        METADATA,
        field("spec", "Spec", Omit::Never, object("internalapi.NodeSpec", &NODE_SPEC)),
        field("status", "Status", Omit::Never, object("internalapi.NodeStatus", &NODE_STATUS)),
    ],
};

static NODE_SPEC: Struct = Struct {
    go: "NodeSpec",
    fields: &[
        field("bgp", "BGP", Omit::Absent, object("internalapi.NodeBGPSpec", &NODE_BGP_SPEC)),
        field("ipv4VXLANTunnelAddr", "IPv4VXLANTunnelAddr", Omit::Zero, STRING),
        field("vxlanTunnelMACAddr", "VXLANTunnelMACAddr", Omit::Zero, STRING),
        field("ipv6VXLANTunnelAddr", "IPv6VXLANTunnelAddr", Omit::Zero, STRING),
        field("vxlanTunnelMACAddrV6", "VXLANTunnelMACAddrV6", Omit::Zero, STRING),
        field("orchRefs", "OrchRefs", Omit::Zero, ORCH_REFS),
        field("wireguard", "Wireguard", Omit::Absent, WIREGUARD),
        field("addresses", "Addresses", Omit::Zero, ADDRESSES),
        field("interfaces", "Interfaces", Omit::Zero, INTERFACES),
    ],
};

const ORCH_REFS: Type = objects!("internalapi.OrchRef", ORCH_REF);
const WIREGUARD: Type = object("internalapi.NodeWireguardSpec", &NODE_WIREGUARD_SPEC);
const ADDRESSES: Type = objects!("internalapi.NodeAddress", NODE_ADDRESS);
const INTERFACES: Type = objects!("internalapi.NodeInterface", NODE_INTERFACE);

static NODE_BGP_SPEC: Struct = Struct {
    go: "NodeBGPSpec",
    fields: &[
        field("asNumber", "ASNumber", Omit::Absent, AS_NUMBER),
        field("ipv4Address", "IPv4Address", Omit::Zero, STRING),
        field("ipv6Address", "IPv6Address", Omit::Zero, STRING),
        field("ipv4IPIPTunnelAddr", "IPv4IPIPTunnelAddr", Omit::Zero, STRING),
        field("routeReflectorClusterID", "RouteReflectorClusterID", Omit::Zero, STRING),
    ],
};

static NODE_WIREGUARD_SPEC: Struct = Struct {
    go: "NodeWireguardSpec",
    fields: &[
        field("interfaceIPv4Address", "InterfaceIPv4Address", Omit::Zero, STRING),
        field("interfaceIPv6Address", "InterfaceIPv6Address", Omit::Zero, STRING),
    ],
};

static NODE_ADDRESS: Struct = Struct {
    go: "NodeAddress",
    fields: &[field("address", "Address", Omit::Never, STRING), field("type", "Type", Omit::Zero, STRING)],
};

static NODE_INTERFACE: Struct = Struct {
    go: "NodeInterface",
    fields: &[
        field("name", "Name", Omit::Zero, STRING),
        field("addresses", "Addresses", Omit::Zero, STRINGS),
    ],
};

static ORCH_REF: Struct = Struct {
    go: "OrchRef",
    fields: &[
        field("nodeName", "NodeName", Omit::Zero, STRING),
        field("orchestrator", "Orchestrator", Omit::Never, STRING),
    ],
};

static NODE_STATUS: Struct = Struct {
    go: "NodeStatus",
    fields: &[
        field("wireguardPublicKey", "WireguardPublicKey", Omit::Zero, STRING),
        field("wireguardPublicKeyV6", "WireguardPublicKeyV6", Omit::Zero, STRING),
        field("podCIDRs", "PodCIDRs", Omit::Zero, STRINGS),
    ],
};
