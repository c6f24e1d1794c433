//! Objects that the API server accepts or refuses, and fields that it adds or drops.

use serde_json::{Value as Json, json};
use servers::kube_server::KubeServer;

use super::{create, object, verdicts, with_objects};

const TOO_SMALL: &str = "spec: Invalid value: IP pool size is too small for use with Calico IPAM. It must be equal to or greater than the block size.";
const BLOCK_SIZE: &str = "spec: Invalid value: blockSize must be between 20 and 32 for IPv4 pools, and between 116 and 128 for IPv6 pools";
const MODES: &str = "supported values: \"Never\", \"Always\", \"CrossSubnet\"";

/// Compares the verdicts of the API server. An empty text means that it accepts the object.
fn check(server: &KubeServer, group: &str, kind: &str, cases: &[(Json, &str)]) {
    let named =
        |(i, (spec, _)): (usize, &(Json, &str))| object(group, kind, &format!("case-{i}"), spec.clone());
    let objects: Vec<_> = cases.iter().enumerate().map(named).collect();
    for (verdict, (spec, wanted)) in verdicts(server, &objects).iter().zip(cases) {
        match wanted.is_empty() {
            true => assert_eq!(verdict, "", "{group} {kind} {spec}"),
            false => {
                assert!(verdict.contains(wanted), "{group} {kind} {spec}: {verdict:?} tells not {wanted:?}")
            }
        }
    }
}

/// The cases in which the API server refuses, and not the client, were recorded in 036-pool-validation. The
/// other cases are the other rules.
pub(super) fn pools_are_checked(server: &KubeServer, group: &str) {
    let services = |more: Json| {
        let mut spec = json!({"cidr": "10.37.0.0/16", "allowedUses": ["LoadBalancer"]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let cases = [
        (json!({"cidr": "10.10.0.0/24", "blockSize": 28}), ""),
        (json!({"cidr": "10.10.0.0/26"}), ""),
        (json!({"cidr": "10.10.0.0/20", "blockSize": 20}), ""),
        (json!({"cidr": "10.10.0.0/32", "blockSize": 32}), ""),
        (json!({"cidr": "10.10.0.0/24", "blockSize": 0}), ""),
        (json!({"cidr": "0.0.0.0/0"}), "overlaps with IPv4 link local range 169.254.0.0/16"),
        (json!({"cidr": "fd00::/122"}), ""),
        (json!({"cidr": "fd00::/116", "blockSize": 116}), ""),
        (json!({"cidr": "10.20.0.0/28"}), TOO_SMALL),
        (json!({"cidr": "fd00::/123"}), TOO_SMALL),
        (json!({"cidr": "10.10.0.0/29", "blockSize": 28}), TOO_SMALL),
        (json!({"cidr": "10.21.0.0/28", "disabled": true}), ""),
        (json!({"cidr": "10.22.0.0/16", "blockSize": 19}), BLOCK_SIZE),
        (json!({"cidr": "10.22.0.0/16", "blockSize": 33}), BLOCK_SIZE),
        (json!({"cidr": "fd00::/64", "blockSize": 115}), BLOCK_SIZE),
        (json!({"cidr": "fd00::/64", "blockSize": 26}), BLOCK_SIZE),
        (json!({"cidr": "fd00::/64", "blockSize": 129}), "spec.blockSize: Invalid value"),
        (json!({}), "spec.cidr: Required value"),
        (json!({"cidr": "10.300.0.0/16"}), "spec.cidr in body must be of type cidr: \"10.300.0.0/16\""),
        (json!({"cidr": "10.30.0.1"}), "spec.cidr in body must be of type cidr: \"10.30.0.1\""),
        (json!({"cidr": "10.20.0.5/24"}), "spec: Invalid value: IPPool CIDR must be strictly masked"),
        (
            json!({"cidr": "10.31.0.0/16", "ipipMode": "Always", "vxlanMode": "Always"}),
            "spec: Forbidden: ipipMode and vxlanMode cannot both be enabled",
        ),
        (json!({"cidr": "10.31.0.0/16", "ipipMode": "Never", "vxlanMode": "CrossSubnet"}), ""),
        (
            json!({"cidr": "fd01::/64", "ipipMode": "Always"}),
            "spec: Forbidden: IPIP is not supported on IPv6 pools",
        ),
        (json!({"cidr": "fd01::/64", "vxlanMode": "Always"}), ""),
        (json!({"cidr": "10.32.0.0/16", "ipipMode": "Sometimes"}), MODES),
        (json!({"cidr": "10.33.0.0/16", "vxlanMode": "always"}), MODES),
        (json!({"cidr": "10.34.0.0/16", "nodeSelector": "rack =="}), ""),
        (
            json!({"cidr": "10.36.0.0/16", "nodeSelector": "global()"}),
            "spec: Invalid value: global() selector is not valid for IPPool nodeSelector",
        ),
        (
            json!({"cidr": "10.36.0.0/16", "namespaceSelector": "global()"}),
            "spec: Invalid value: global() selector is not valid for IPPool namespaceSelector",
        ),
        (json!({"cidr": "10.36.0.0/16", "nodeSelector": "x".repeat(1025)}), "spec.nodeSelector: Too long"),
        (
            json!({"cidr": "169.254.0.0/20"}),
            "spec: Invalid value: IPPool CIDR overlaps with IPv4 link local range 169.254.0.0/16",
        ),
        (json!({"cidr": "169.0.0.0/8"}), "overlaps with IPv4 link local range 169.254.0.0/16"),
        (
            json!({"cidr": "fe80::/64"}),
            "spec: Invalid value: IPPool CIDR overlaps with IPv6 link local range fe80::/10",
        ),
        (services(json!({})), ""),
        (
            services(json!({"allowedUses": ["LoadBalancer", "Workload"]})),
            "spec: Forbidden: LoadBalancer cannot be combined with Workload or Tunnel allowed uses",
        ),
        (
            services(json!({"nodeSelector": "rack == '0'"})),
            "spec: Invalid value: IP Pool with AllowedUse LoadBalancer must have nodeSelector set to all()",
        ),
        (services(json!({"vxlanMode": "Always"})), "LoadBalancer IP pool cannot have IPIP or VXLAN enabled"),
        (services(json!({"disableBGPExport": true})), "LoadBalancer IP pools cannot disable BGP export"),
        (json!({"cidr": "10.39.0.0/16", "allowedUses": ["Nothing"]}), "Unsupported value: \"Nothing\""),
        (json!({"cidr": "10.39.0.0/16", "allowedUses": ["Tunnel", "Tunnel"]}), "Duplicate value: \"Tunnel\""),
        (
            json!({"cidr": "10.40.0.0/16", "allowedUses": ["Tunnel"], "namespaceSelector": "all()"}),
            "spec: Forbidden: IP Pool with AllowedUse Tunnel cannot have namespaceSelector",
        ),
        (json!({"cidr": "10.40.0.0/16", "assignmentMode": "By hand"}), "Unsupported value: \"By hand\""),
    ];
    check(server, group, "IPPool", &cases);
}

pub(super) fn pools_keep_what_blocks_rest_on(server: &KubeServer, group: &str) {
    let pool = |name: &str, spec: Json| object(group, "IPPool", name, spec);
    let implied = json!({"cidr": "10.50.0.0/24"});
    let given = json!({"cidr": "10.51.0.0/24", "blockSize": 28});
    let (_, errors) = with_objects(server, &["create"], &[pool("implied", implied), pool("given", given)]);
    assert_eq!(errors, Vec::<String>::new());
    let changes = [
        (pool("implied", json!({"cidr": "10.50.0.0/24", "blockSize": 26, "disabled": true})), ""),
        (
            pool("implied", json!({"cidr": "10.50.0.0/24", "blockSize": 27})),
            "IPPool BlockSize cannot be modified",
        ),
        (pool("given", json!({"cidr": "10.51.0.0/24"})), "IPPool BlockSize cannot be modified"),
        (pool("given", json!({"cidr": "10.52.0.0/24", "blockSize": 28})), "IPPool CIDR cannot be modified"),
    ];
    for (pool, wanted) in changes {
        let (_, errors) = with_objects(server, &["replace"], &[pool]);
        assert_eq!(errors.is_empty(), wanted.is_empty(), "{errors:?}");
        assert!(errors.concat().contains(wanted), "{errors:?}");
    }
}

fn settings_kind(group: &str) -> &'static str {
    if group.starts_with("crd.") { "IPAMConfig" } else { "IPAMConfiguration" }
}

pub(super) fn other_kinds_are_checked(server: &KubeServer, group: &str) {
    let is_v3 = !group.starts_with("crd.");
    let in_v3 = |text: &'static str| if is_v3 { text } else { "" };
    // Recorded in 017-reservations.
    let bare = "spec.reservedCIDRs[0] in body must be of type cidr: \"10.10.0.0\"";
    let reservations = [
        (json!({"reservedCIDRs": ["10.10.0.1/32", "fd00::/64"]}), ""),
        (json!({"reservedCIDRs": ["10.10.0.5/24"]}), ""),
        (json!({"reservedCIDRs": []}), ""),
        (json!({"reservedCIDRs": ["10.10.0.0"]}), bare),
        (json!({"reservedCIDRs": ["10.10.0.0/24", "10.10.0.0/24"]}), "Duplicate value"),
    ];
    check(server, group, "IPReservation", &reservations);

    let affinity = |state: &str, cidr: &str, deleted: Json| json!({"state": state, "node": "n1", "type": "host", "cidr": cidr, "deleted": deleted});
    let (no, wrong) = if is_v3 { (json!(false), json!("false")) } else { (json!("false"), json!(false)) };
    let affinities = [
        (affinity("confirmed", "10.0.0.0/26", no.clone()), ""),
        (affinity("", "10.0.0.0/26", no.clone()), ""),
        (affinity("lost", "10.0.0.0/26", no.clone()), in_v3("Unsupported value: \"lost\"")),
        (affinity("pending", "everything", no), in_v3("must be of type cidr")),
        (affinity("pending", "10.0.0.0/26", wrong), "spec.deleted"),
        (
            json!({"state": "pending", "node": "n1", "cidr": "10.0.0.0/26"}),
            if is_v3 { "" } else { "spec.deleted: Required value" },
        ),
        (json!({"state": "pending", "cidr": "10.0.0.0/26"}), "spec.node: Required value"),
    ];
    check(server, group, "BlockAffinity", &affinities);

    let block = |more: Json| {
        let mut spec = json!({
            "cidr": "10.0.0.0/30", "allocations": [0, null, null, null], "unallocated": [1, 2, 3],
            "attributes": [{"handle_id": "h", "secondary": {"node": "n1"}}], "strictAffinity": false,
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let blocks = [
        (block(json!({})), ""),
        (block(json!({"affinity": "host:n-1.example_2", "sequenceNumber": i64::MAX})), ""),
        (block(json!({"affinity": "n1"})), in_v3("should match '^(host|virtual):")),
        (block(json!({"attributes": null})), "spec.attributes: Required value"),
        (block(json!({"unallocated": [null]})), "spec.unallocated[0]"),
        (block(json!({"affinityClaimTime": "yesterday"})), "must be of type date-time"),
        (block(json!({"strictAffinity": null})), "spec.strictAffinity: Required value"),
    ];
    check(server, group, "IPAMBlock", &blocks);

    let handles = [
        (json!({"handleID": "Net.5F", "block": {"10.0.0.0/26": 1}, "deleted": false}), ""),
        (json!({"handleID": "Net.5F", "block": {}}), ""),
        (json!({"handleID": "Net.5F", "block": null}), "spec.block: Required value"),
        (json!({"handleID": "Net.5F", "block": {"10.0.0.0/26": "one"}}), "must be of type integer"),
    ];
    check(server, group, "IPAMHandle", &handles);

    let settings = |more: Json| {
        let mut spec = json!({"strictAffinity": false, "autoAllocateBlocks": true});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let settings = [
        (
            settings(
                json!({"maxBlocksPerHost": 20, "ipCooldownSeconds": 1200, "kubeVirtVMAddressPersistence": "Disabled"}),
            ),
            "",
        ),
        (settings(json!({"maxBlocksPerHost": 1_000_001})), in_v3("should be less than or equal to 1000000")),
        (settings(json!({"maxBlocksPerHost": -1})), "should be greater than or equal to 0"),
        (settings(json!({"ipCooldownSeconds": 1201})), "should be less than or equal to 1200"),
        (settings(json!({"kubeVirtVMAddressPersistence": "Maybe"})), "Unsupported value: \"Maybe\""),
        (json!({}), if is_v3 { "" } else { "spec.autoAllocateBlocks: Required value" }),
    ];
    check(server, group, settings_kind(group), &settings);

    let controllers = [
        (
            json!({"controllers": {"node": {"leakGracePeriod": "15m", "hostEndpoint": {"autoCreate": "Disabled"}}}}),
            "",
        ),
        (json!({}), "spec.controllers: Required value"),
        (json!({"controllers": {}, "prometheusMetricsPort": 65536}), "less than or equal to 65535"),
        (json!({"controllers": {}, "logSeverityScreen": "Loud"}), "Unsupported value: \"Loud\""),
        (json!({"controllers": {"node": {"syncLabels": "On"}}}), "Unsupported value: \"On\""),
    ];
    check(server, group, "KubeControllersConfiguration", &controllers);
    bgp(server, group);
    // Only the group `projectcalico.org` has a rule for the names of tiers.
    let tier = |name: &str, action: &str| {
        object(group, "Tier", name, json!({"order": 1.5, "defaultAction": action}))
    };
    let told =
        verdicts(server, &[tier("default", "Pass"), tier("kube-admin", "Pass"), tier("mine", "Allow")]);
    assert!(told[0].contains(in_v3("The 'default' tier must have default action 'Deny'")), "{}", told[0]);
    assert_eq!((told[0].is_empty(), told[1].as_str()), (!is_v3, ""));
    assert!(told[2].contains("Unsupported value: \"Allow\""), "{}", told[2]);
}

fn bgp(server: &KubeServer, group: &str) {
    let address = "peerIP must be an IP address, optionally with a port";
    let peers = [
        (json!({"peerIP": "10.0.0.1", "asNumber": 64512}), ""),
        (json!({"peerIP": "10.0.0.1:179", "asNumber": 64512}), ""),
        (json!({"peerIP": "fd00::1", "asNumber": 64512}), ""),
        (json!({"peerIP": "[fd00::1]:179", "asNumber": 64512, "reachableBy": "fd00::2"}), ""),
        (json!({"peerIP": "10.0.0.1:0", "asNumber": 64512}), address),
        (json!({"peerIP": "10.0.0.1:65536", "asNumber": 64512}), address),
        (json!({"peerIP": "[fd00::1]", "asNumber": 64512}), address),
        (json!({"peerIP": "[fd00::1]:x", "asNumber": 64512}), address),
        (json!({"peerIP": "router", "asNumber": 64512}), address),
        (
            json!({"node": "n1", "nodeSelector": "all()"}),
            "Forbidden: node and nodeSelector cannot both be set",
        ),
        (
            json!({"peerIP": "10.0.0.1", "peerSelector": "all()"}),
            "Forbidden: peerIP and peerSelector cannot both be set",
        ),
        (
            json!({"peerSelector": "all()", "asNumber": 1}),
            "Forbidden: asNumber must be empty when peerSelector is set",
        ),
        (
            json!({"localWorkloadSelector": "all()"}),
            "Invalid value: asNumber is required when localWorkloadSelector is set",
        ),
        (json!({"localWorkloadSelector": "all()", "asNumber": 1}), ""),
        (json!({"reachableBy": "10.0.0.2"}), "Forbidden: reachableBy must be empty when peerIP is empty"),
        (json!({"keepOriginalNextHop": true, "nextHopMode": "Keep"}), "cannot both be set"),
        (json!({"keepOriginalNextHop": false, "nextHopMode": "Keep"}), ""),
    ];
    check(server, group, "BGPPeer", &peers);
    let configurations = [
        (
            json!({"asNumber": 64512, "logSeverityScreen": "warning", "serviceClusterIPs": [{"cidr": "10.96.0.0/16"}]}),
            "",
        ),
        (json!({"logSeverityScreen": "loud"}), "should match"),
        (json!({"listenPort": 0}), "greater than or equal to 1"),
        (json!({"serviceClusterIPs": [{"cidr": "10.96.0.1"}]}), "must be of type cidr"),
        (
            json!({"nodeToNodeMeshEnabled": false, "nodeMeshMaxRestartTime": "10s"}),
            "nodeMeshMaxRestartTime cannot be set when nodeToNodeMeshEnabled is false",
        ),
    ];
    check(server, group, "BGPConfiguration", &configurations);
}

/// No field is lost, and no other defaults appear.
pub(super) fn objects_are_stored_as_they_are(server: &KubeServer, group: &str) {
    let is_v3 = !group.starts_with("crd.");
    let deleted = if is_v3 { json!(false) } else { json!("false") };
    let settings = json!({"strictAffinity": true, "autoAllocateBlocks": false});
    let settings_default = if is_v3 { json!({"maxBlocksPerHost": 0}) } else { json!({}) };
    let cases = [
        (
            "IPPool",
            json!({"cidr": "10.60.0.0/24"}),
            json!({"nodeSelector": "all()", "assignmentMode": "Automatic"}),
        ),
        ("IPReservation", json!({"reservedCIDRs": ["10.0.0.1/32", "10.0.0.64/26"]}), json!({})),
        (
            "BlockAffinity",
            json!({"state": "confirmed", "node": "node1", "type": "host", "cidr": "10.0.0.0/26", "deleted": deleted}),
            json!({}),
        ),
        (
            "IPAMBlock",
            json!({
                "cidr": "10.0.0.0/30", "affinity": "host:node1", "affinityClaimTime": "2026-08-01T10:00:00Z",
                "allocations": [0, 1, null, null], "unallocated": [3, 2],
                "attributes": [
                    {"handle_id": "n.5f", "secondary": {"node": "node1"}, "alternateOwnerAttrs": {"node": "node2"}},
                    {"releasedAt": "2026-08-01T10:05:00Z"},
                ],
                "sequenceNumber": 1_785_578_400_123_456_790_i64,
                "sequenceNumberForAllocation": {"0": 1_785_578_400_123_456_789_i64},
                "deleted": false, "strictAffinity": false,
            }),
            json!({}),
        ),
        (
            "IPAMHandle",
            json!({"handleID": "n.5F", "block": {"10.0.0.0/30": 1, "fd00::/122": 2}, "deleted": false}),
            json!({}),
        ),
        (settings_kind(group), settings, settings_default),
        (
            "ClusterInformation",
            json!({"clusterGUID": "5c6e", "clusterType": "k8s,kdd", "calicoVersion": "v3.33.0", "datastoreReady": false, "variant": "Calico"}),
            json!({}),
        ),
        (
            "KubeControllersConfiguration",
            json!({"controllers": {"node": {"leakGracePeriod": "0s"}, "loadBalancer": {"assignIPs": "RequestedServicesOnly"}}}),
            json!({"healthChecks": "Enabled"}),
        ),
        (
            "BGPPeer",
            json!({"peerIP": "10.0.0.1", "asNumber": 64512, "password": {"secretKeyRef": {"name": "s", "key": "k"}}}),
            json!({}),
        ),
        (
            "BGPConfiguration",
            json!({"communities": [{"name": "c", "value": "1:2"}], "prefixAdvertisements": [{"cidr": "10.0.0.0/8", "communities": ["c"]}]}),
            json!({"logSeverityScreen": "Info", "serviceLoadBalancerAggregation": "Enabled"}),
        ),
        ("Tier", json!({"order": 7}), json!({"defaultAction": "Deny"})),
    ];
    let with_unknown = |(kind, spec, _): &(&str, Json, Json)| {
        let mut spec = spec.clone();
        spec["unknown"] = json!("is left out");
        object(group, kind, "stored", spec)
    };
    let stored = create(server, &cases.iter().map(with_unknown).collect::<Vec<_>>());
    for (stored, (kind, spec, defaults)) in stored.iter().zip(cases) {
        let mut wanted = spec;
        wanted.as_object_mut().unwrap().extend(defaults.as_object().unwrap().clone());
        assert_eq!(stored["spec"], wanted, "{group} {kind}");
        assert_eq!(stored["kind"], kind);
    }
}
