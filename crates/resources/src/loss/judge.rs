//! What objects say about the features that a cluster uses.

use serde_json::Value as Json;
use store::strangers::StrangerKind;

use super::Feature;

/// The group of Calico's kinds.
const CALICO: &str = "projectcalico.org";

const fn calico(plural: &'static str) -> StrangerKind {
    StrangerKind { group: CALICO, plural }
}

const fn policy(plural: &'static str) -> StrangerKind {
    StrangerKind { group: "policy.networking.k8s.io", plural }
}

/// Felix's settings, of the cluster and of single nodes.
const FELIX: StrangerKind = calico("felixconfigurations");
/// The settings of BGP; those of the whole cluster are named `default`.
pub(super) const BGP_SETTINGS: StrangerKind = calico("bgpconfigurations");
/// The pools.
pub(super) const POOLS: StrangerKind = calico("ippools");

/// Each kind by which a feature is used.
pub(super) const KINDS: [(Feature, StrangerKind); 10] = [
    (Feature::Policy, calico("networkpolicies")),
    (Feature::Policy, calico("globalnetworkpolicies")),
    (Feature::Policy, StrangerKind { group: "networking.k8s.io", plural: "networkpolicies" }),
    (Feature::Policy, policy("adminnetworkpolicies")),
    (Feature::Policy, policy("baselineadminnetworkpolicies")),
    (Feature::Policy, policy("clusternetworkpolicies")),
    (Feature::HostEndpoint, calico("hostendpoints")),
    (Feature::WireGuard, FELIX),
    (Feature::Ebpf, FELIX),
    (Feature::Bgp, calico("bgppeers")),
];

/// How an object uses the feature, in words; `None` where it does not.
pub(super) fn use_by(feature: Feature, kind: StrangerKind, object: &Json) -> Option<String> {
    let fields: &[&str] = match feature {
        Feature::Policy | Feature::HostEndpoint | Feature::Bgp => return Some(shown(kind, object)),
        Feature::WireGuard => &["wireguardEnabled", "wireguardEnabledV6"],
        Feature::Ebpf => &["bpfEnabled"],
    };
    let field = fields.iter().find(|field| object["spec"][**field] == true)?;
    Some(format!("{} ({field})", shown(kind, object)))
}

fn shown(kind: StrangerKind, object: &Json) -> String {
    let metadata = &object["metadata"];
    let name = name_of(object);
    match metadata["namespace"].as_str().filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

pub(super) fn name_of(object: &Json) -> &str {
    object["metadata"]["name"].as_str().unwrap_or("without a name")
}

/// Whether nodes announce their routes to each other by BGP, as they do unless the settings forbid it.
pub(super) fn has_mesh(settings: &[Json]) -> bool {
    let of_cluster = settings.iter().find(|settings| name_of(settings) == "default");
    of_cluster.is_none_or(|settings| settings["spec"]["nodeToNodeMeshEnabled"] != false)
}

/// Whether Calico's nodes learn by BGP where the pool's addresses are. Only with VXLAN Felix does that by
/// itself.
pub(super) fn needs_bgp(pool: &Json) -> bool {
    let spec = &pool["spec"];
    let has_vxlan = spec["vxlanMode"].as_str().is_some_and(|mode| !mode.is_empty() && mode != "Never");
    let is_for_services = spec["allowedUses"]
        .as_array()
        .is_some_and(|uses| !uses.is_empty() && uses.iter().all(|one| one == "LoadBalancer"));
    !(has_vxlan || is_for_services || spec["disableBGPExport"] == true)
}
