//! Node (`libcalico-go/lib/apis/internalapi/node.go`).

use serde_json::Value as Json;

use super::definition::{Definition, Home, Role, Unreadable};
use crate::capability::{Backend, Operation, OperationRefusal};
use crate::checks::FieldError;
use crate::checks::tags::{CIDR_V4, CIDR_V6, IPV4, IPV6, MAC, Rule, WIREGUARD_KEY, check, cidr_or_ip};
use crate::columns::{self, Columns, column};
use crate::document::Document;
use crate::schema::*;

const UNREADABLE: &str = "nothing is assigned on that node until it is mended";

pub(super) static DEFINITION: Definition = Definition {
    aliases: &["node", "nodes", "no", "nos"],
    role: Role::Host,
    node_prefix: Some(""),
    unreadable: Unreadable { whole: UNREADABLE, part: UNREADABLE },
    refusal,
    client,
    odd,
    ..Definition::new("internalapi.Node", "nodes", Home::Nodes, &SCHEMA, &COLUMNS)
};

static SCHEMA: Struct = Struct {
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

static COLUMNS: Columns = Columns {
    all: &[
        columns::NAME,
        column("ASN", |r, context| {
            let own = r.field(&["spec", "bgp", "asNumber"]).map(columns::scalar);
            match (r.field(&["spec", "bgp"]), own) {
                (None, _) => String::new(),
                (_, Some(own)) => own,
                (_, None) => format!("({})", (context.default_as_number)()),
            }
        }),
        column("IPV4", |r, _| columns::text(r, &["spec", "bgp", "ipv4Address"])),
        column("IPV6", |r, _| columns::text(r, &["spec", "bgp", "ipv6Address"])),
    ],
    default: &["NAME"],
    wide: &["NAME", "ASN", "IPV4", "IPV6"],
};

/// Which operations are refused in Kubernetes, as recorded in 037-calicoctl-crud: there a Node is a view of a
/// Kubernetes Node. (`apply` falls back to an update.)
fn refusal(backend: Backend, operation: Operation) -> Option<OperationRefusal> {
    let is_refused = matches!(operation, Operation::Create | Operation::Delete);
    (backend == Backend::Kubernetes && is_refused).then(|| OperationRefusal {
        operation: operation.verb(),
        names_object: true,
        reason: "",
    })
}

/// The rules for single fields, in the order of the Go structs.
const RULES: [(&[&str], &str, Rule); 12] = [
    (&["spec", "bgp", "ipv4Address"], "IPv4Address", CIDR_V4),
    (&["spec", "bgp", "ipv6Address"], "IPv6Address", CIDR_V6),
    (&["spec", "bgp", "ipv4IPIPTunnelAddr"], "IPv4IPIPTunnelAddr", IPV4),
    (&["spec", "bgp", "routeReflectorClusterID"], "RouteReflectorClusterID", IPV4),
    (&["spec", "ipv4VXLANTunnelAddr"], "IPv4VXLANTunnelAddr", IPV4),
    (&["spec", "vxlanTunnelMACAddr"], "VXLANTunnelMACAddr", MAC),
    (&["spec", "ipv6VXLANTunnelAddr"], "IPv6VXLANTunnelAddr", IPV6),
    (&["spec", "vxlanTunnelMACAddrV6"], "VXLANTunnelMACAddrV6", MAC),
    (&["spec", "wireguard", "interfaceIPv4Address"], "InterfaceIPv4Address", IPV4),
    (&["spec", "wireguard", "interfaceIPv6Address"], "InterfaceIPv6Address", IPV6),
    (&["status", "wireguardPublicKey"], "WireguardPublicKey", WIREGUARD_KEY),
    (&["status", "wireguardPublicKeyV6"], "WireguardPublicKeyV6", WIREGUARD_KEY),
];

fn odd(node: &Document) -> Vec<FieldError> {
    let mut odd = Vec::new();
    let list = |json: Option<&Json>| json.and_then(Json::as_array).cloned().unwrap_or_default();
    let mut look = |field: String, value: &Json| {
        if let Some(text) = value.as_str().filter(|text| cidr_or_ip(text).is_none()) {
            odd.push(FieldError::of_value(field, text, "is no address and no network: nobody can use it"));
        }
    };
    for (i, address) in list(node.field(&["spec", "addresses"])).iter().enumerate() {
        look(format!("spec.addresses[{i}].address"), &address["address"]);
    }
    for (i, interface) in list(node.field(&["spec", "interfaces"])).iter().enumerate() {
        for (j, address) in list(interface.get("addresses")).iter().enumerate() {
            look(format!("spec.interfaces[{i}].addresses[{j}]"), address);
        }
    }
    for (i, network) in list(node.field(&["status", "podCIDRs"])).iter().enumerate() {
        look(format!("status.podCIDRs[{i}]"), network);
    }
    odd
}

fn client(node: &Document) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let apply = |faults: &mut Vec<FieldError>, root: &str| {
        for (path, go, rule) in RULES.iter().filter(|(path, _, _)| path[0] == root) {
            check(faults, go, node.field(path).unwrap_or(&Json::Null), *rule);
        }
    };
    apply(&mut faults, "spec");
    if node.field(&["spec", "bgp"]).and_then(Json::as_object).is_some_and(|bgp| bgp.is_empty()) {
        // Go prints the empty struct like this.
        faults.push(FieldError::of_value("BGP", "&{<nil>    }", "Spec.BGP should not be empty"));
    }
    apply(&mut faults, "status");
    faults
}
