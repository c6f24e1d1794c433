//! What the fields say of the kinds that have no definition of their own, which would say it.

/// The beginnings of paths, each with what such fields say. The longest beginning counts.
const MEANINGS: &[(&str, &[(&str, &str)])] = &[
    (
        "Node",
        &[
            ("spec.bgp.asNumber", "The number of its autonomous system."),
            ("spec.bgp.ipv4Address", "Its IPv4 address, with the prefix length of its subnet."),
            ("spec.bgp.ipv6Address", "Its IPv6 address, with the prefix length of its subnet."),
            ("spec.bgp.ipv4IPIPTunnelAddr", "The address of its IPIP tunnel."),
            ("spec.bgp.routeReflectorClusterID", "The cluster for which it reflects routes."),
            ("spec.ipv4VXLANTunnelAddr", "The IPv4 address of its VXLAN tunnel."),
            ("spec.ipv6VXLANTunnelAddr", "The IPv6 address of its VXLAN tunnel."),
            ("spec.vxlanTunnelMACAddr", "The hardware address of its IPv4 VXLAN tunnel."),
            ("spec.vxlanTunnelMACAddrV6", "The hardware address of its IPv6 VXLAN tunnel."),
            ("spec.orchRefs", "What the node is called elsewhere, as in Kubernetes."),
            ("spec.wireguard", "The addresses of its WireGuard tunnels."),
            ("spec.addresses", "Its addresses, and what each is for."),
            ("spec.interfaces", "Its interfaces, with their addresses."),
            ("status.wireguardPublicKey", "The key of its IPv4 WireGuard tunnel."),
            ("status.wireguardPublicKeyV6", "The key of its IPv6 WireGuard tunnel."),
            ("status.podCIDRs", "The networks that Kubernetes gave it for its pods."),
        ],
    ),
    (
        "WorkloadEndpoint",
        &[
            ("spec.orchestrator", "Who started the workload: `k8s`, `cni`, ..."),
            ("spec.workload", "The workload, where it is no pod."),
            ("spec.node", "The node."),
            ("spec.containerID", "The container, as the runtime names it."),
            ("spec.pod", "The pod."),
            ("spec.endpoint", "The interface's name in the container."),
            ("spec.serviceAccountName", "The pod's service account."),
            ("spec.ipNetworks", "Its addresses, each with its full length: /32, /128."),
            ("spec.ipNATs", "Floating addresses, and the address behind each."),
            ("spec.ipv4Gateway", "The IPv4 gateway, where there is one."),
            ("spec.ipv6Gateway", "The IPv6 gateway, where there is one."),
            ("spec.profiles", "The profiles that count for it."),
            ("spec.interfaceName", "The name of the interface's end on the host."),
            ("spec.mac", "The interface's hardware address."),
            ("spec.ports", "Ports with names, and ports of the host that lead to them."),
            (
                "spec.allowSpoofedSourcePrefixes",
                "Networks from which it may send although they are not its own.",
            ),
            ("spec.qosControls", "Limits of its traffic, by annotations of the pod."),
        ],
    ),
    (
        "Profile",
        &[
            ("spec.ingress", "A rule for what comes in: what it matches, and what becomes of it."),
            ("spec.egress", "A rule for what goes out: what it matches, and what becomes of it."),
            ("spec.labelsToApply", "Labels that endpoints with the profile have."),
        ],
    ),
];

/// What a field of a kind says.
pub fn of(kind: &str, path: &str) -> &'static str {
    let of_kind = MEANINGS.iter().find(|(known, _)| *known == kind).map_or(&[][..], |(_, fields)| *fields);
    let fitting =
        of_kind.iter().filter(|(start, _)| path == *start || path.starts_with(&format!("{start}.")));
    let found = fitting.max_by_key(|(start, _)| start.len());
    found.unwrap_or_else(|| panic!("tests/reference/meanings.rs says nothing of {kind}'s {path}")).1
}
