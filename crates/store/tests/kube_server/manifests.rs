//! The definitions as the API server reports them.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use servers::kube_server::KubeServer;

/// Calico's definitions in the group `projectcalico.org`: plural, kind, short names, printer columns (where
/// there are none, name and age are printed), and whether there is a status.
const V3: &[(&str, &str, &str, &str, bool)] = &[
    ("bgpconfigurations", "BGPConfiguration", "bgpconfig bgpconfigs", "", false),
    (
        "bgppeers",
        "BGPPeer",
        "",
        "Node Selector .spec.nodeSelector string; Node .spec.node string; Local ASN .spec.localASNumber string; \
         Peer Selector .spec.peerSelector string; Peer IP .spec.peerIP string; Peer ASN .spec.asNumber string",
        false,
    ),
    (
        "blockaffinities",
        "BlockAffinity",
        "affinity affinities",
        "CIDR .spec.cidr string; Node .spec.node string; Type .spec.type string",
        false,
    ),
    (
        "clusterinformations",
        "ClusterInformation",
        "clusterinfo clusterinfos",
        "Version .spec.calicoVersion string; Ready .spec.datastoreReady boolean; Types .spec.clusterType string",
        false,
    ),
    (
        "hostendpoints",
        "HostEndpoint",
        "hep heps",
        "Node .spec.node string; Interface .spec.interfaceName string",
        false,
    ),
    (
        "ipamblocks",
        "IPAMBlock",
        "",
        "CIDR .spec.cidr string; Affinity .spec.affinity string; ClaimTime .spec.affinityClaimTime date",
        false,
    ),
    (
        "ipamconfigurations",
        "IPAMConfiguration",
        "ipamconfig ipamconfigs",
        "StrictAffinity .spec.strictAffinity boolean; MaxBlocksPerHost .spec.maxBlocksPerHost integer; \
         AutoAllocateBlocks .spec.autoAllocateBlocks boolean",
        false,
    ),
    ("ipamhandles", "IPAMHandle", "", "ID .spec.handleID string", false),
    (
        "ippools",
        "IPPool",
        "",
        "CIDR .spec.cidr string; VXLAN .spec.vxlanMode string; IPIP .spec.ipipMode string; NAT .spec.natOutgoing boolean; \
         Allocatable .status.conditions[?(@.type=='Allocatable')].status string; Age .metadata.creationTimestamp date",
        true,
    ),
    ("ipreservations", "IPReservation", "", "", false),
    ("kubecontrollersconfigurations", "KubeControllersConfiguration", "kcc kccs", "", true),
    (
        "tiers",
        "Tier",
        "",
        "Order .spec.order integer; DefaultAction .spec.defaultAction string; \
         Status .status.conditions[?(@.type=='Ready')].reason string",
        true,
    ),
];

/// The names in the group `crd.projectcalico.org`. There are no short names and no columns there, and the
/// kind of the allocator's settings has another name.
fn v1_names<'a>(plural: &'a str, kind: &'a str) -> (&'a str, &'a str) {
    match plural {
        "ipamconfigurations" => ("ipamconfigs", "IPAMConfig"),
        _ => (plural, kind),
    }
}

fn definitions(server: &KubeServer) -> BTreeMap<String, Json> {
    let out = server.kubectl(&["get", "customresourcedefinitions", "-o", "json"]).output().unwrap();
    let list: Json = serde_json::from_slice(&out.stdout).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    items.map(|crd| (crd["metadata"]["name"].as_str().unwrap().to_string(), crd["spec"].clone())).collect()
}

/// From a definition: kind and scope, short names, columns, whether there is a status, and the version.
fn told(spec: &Json) -> (String, String, String, bool, String) {
    let text = |json: &Json| json.as_str().unwrap().to_string();
    let version = &spec["versions"][0];
    assert_eq!(spec["versions"].as_array().unwrap().len(), 1);
    assert_eq!(spec["scope"], "Cluster");
    assert_eq!(spec["names"]["listKind"], format!("{}List", text(&spec["names"]["kind"])));
    assert_eq!(spec["names"]["singular"], text(&spec["names"]["kind"]).to_lowercase());
    let short = spec["names"]["shortNames"].as_array().into_iter().flatten().map(text);
    let columns = version["additionalPrinterColumns"].as_array().into_iter().flatten();
    let columns =
        columns.map(|c| format!("{} {} {}", text(&c["name"]), text(&c["jsonPath"]), text(&c["type"])));
    // If a definition names no columns, the API server reports this one.
    let columns: Vec<_> = columns.filter(|column| column != "Age .metadata.creationTimestamp date").collect();
    (
        text(&spec["names"]["kind"]),
        short.collect::<Vec<_>>().join(" "),
        columns.join("; "),
        version["subresources"]["status"].is_object(),
        text(&version["name"]),
    )
}

pub(super) fn names_are_those_of_calico(server: &KubeServer) {
    let definitions = definitions(server);
    assert_eq!(definitions.len(), 2 * V3.len());
    for &(plural, kind, short, columns, status) in V3 {
        let columns = columns.trim_end_matches("; Age .metadata.creationTimestamp date");
        let v3 = &definitions[&format!("{plural}.projectcalico.org")];
        assert_eq!(told(v3), (kind.into(), short.into(), columns.into(), status, "v3".into()), "{plural}");
        let (plural, kind) = v1_names(plural, kind);
        let v1 = &definitions[&format!("{plural}.crd.projectcalico.org")];
        assert_eq!(told(v1), (kind.into(), String::new(), String::new(), status, "v1".into()), "{plural}");
    }
}

/// Kinds for which Calico has only one type have the same schema in both groups; but only the group
/// `projectcalico.org` demands metadata and spec, and checks the names of tiers.
pub(super) fn groups_agree(server: &KubeServer) {
    let definitions = definitions(server);
    let of_its_own = ["ipamblocks", "blockaffinities", "ipamconfigurations"];
    for (plural, ..) in V3.iter().filter(|(plural, ..)| !of_its_own.contains(plural)) {
        let schema = |group: &str| {
            let spec = &definitions[&format!("{plural}.{group}")];
            spec["versions"][0]["schema"]["openAPIV3Schema"].clone()
        };
        let (v1, mut v3) = (schema("crd.projectcalico.org"), schema("projectcalico.org"));
        let root = v3.as_object_mut().unwrap();
        assert!(root.remove("required").is_some(), "{plural}");
        assert_eq!(root.remove("x-kubernetes-validations").is_some(), *plural == "tiers", "{plural}");
        assert_eq!(v1, v3, "{plural}");
    }
}
