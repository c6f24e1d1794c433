//! Node (`libcalico-go/lib/apis/internalapi/node.go`).

use serde_json::Value as Json;

use super::FieldError;
use super::tags::{CIDR_V4, CIDR_V6, IPV4, IPV6, MAC, Rule, WIREGUARD_KEY, check};
use crate::resource::Resource;

/// In the order of the Go structs.
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

pub(super) fn client(node: &Resource) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let apply = |faults: &mut Vec<FieldError>, root: &str| {
        for (path, go, rule) in RULES.iter().filter(|(path, _, _)| path[0] == root) {
            check(faults, go, node.field(path).unwrap_or(&Json::Null), *rule);
        }
    };
    apply(&mut faults, "spec");
    if node.field(&["spec", "bgp"]).and_then(Json::as_object).is_some_and(|bgp| bgp.is_empty()) {
        // The value is how Go prints the empty struct.
        faults.push(FieldError::of_value("BGP", "&{<nil>    }", "Spec.BGP should not be empty"));
    }
    apply(&mut faults, "status");
    faults
}
