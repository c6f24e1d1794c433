//! Compares this program's objects of the Kubernetes API server with those that Calico stored there.
#![allow(missing_docs, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "recordings are files")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use api::crd::{Collection, Group, block_of_name, decode, decode_header, encode, node, object_name, pod};
use api::{
    Affinity, AffinityState, Attribute, Block, BlockCidr, Handle, HandleId, IpamConfig, Key, Kind, Owner,
    Resource, Timestamp, Value,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// Replaces the placeholders of a recording by values, also inside of longer texts.
fn fill(json: &Json) -> Json {
    match json {
        Json::String(text) => fill_text(text),
        Json::Array(items) => items.iter().map(fill).collect(),
        Json::Object(map) => Json::Object(map.iter().map(|(k, v)| (k.clone(), fill(v))).collect()),
        other => other.clone(),
    }
}

fn fill_text(text: &str) -> Json {
    if let Some(rest) = text.strip_prefix("<seq-").and_then(|t| t.strip_suffix('>')) {
        let mut numbers = rest.split('+').map(|n| n.parse::<u64>().unwrap());
        let (base, more) = (numbers.next().unwrap(), numbers.next().unwrap_or(0));
        return (base * 1_000_000_000 + 1_785_000_000_000_000_000 + more).into();
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        let Some((word, after)) = after.split_once('>') else {
            out.push('<');
            rest = after;
            continue;
        };
        match word.split_once('-') {
            Some(("uid", number)) => out.push_str(&format!("0b0e4a52-6b52-4a4e-9a53-{number:0>12}")),
            Some(("time", number)) => {
                out.push_str(&format!("2026-08-01T10:00:{:0>2}Z", number.parse::<u32>().unwrap() % 60))
            }
            Some(("rev", number)) => out.push_str(number),
            Some(("guid", number)) => out.push_str(&format!("{number:0>32}")),
            _ => out.push_str(&format!("<{word}>")),
        }
        rest = after;
    }
    out.push_str(rest);
    out.into()
}

#[allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a test that is skipped says why")]
fn recordings(least: usize) -> Option<PathBuf> {
    let root = std::env::var("RACKPOOL_RECORDINGS").ok().map(PathBuf::from);
    if root.is_none() {
        println!("skipped: {least} recordings: RACKPOOL_RECORDINGS names none");
    }
    root
}

fn files(root: &Path, group: Group) -> Vec<PathBuf> {
    let folder = root.join(if group == Group::V1 { "kdd-v1" } else { "kdd-v3" });
    let scenarios = std::fs::read_dir(folder).unwrap().flatten();
    let files = scenarios.flat_map(|scenario| std::fs::read_dir(scenario.path()).unwrap().flatten());
    files
        .map(|file| file.path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("objects-"))
        .collect()
}

fn collection(plural: &str) -> Option<Collection> {
    Some(match plural {
        "ipamblocks" => Collection::Blocks,
        "blockaffinities" => Collection::Affinities,
        "ipamhandles" => Collection::Handles,
        "ipamconfigs" | "ipamconfigurations" => Collection::IpamConfig,
        other => Collection::Resources(Kind::from_plural(other).filter(|kind| *kind != Kind::Node)?),
    })
}

/// The object without the fields that the server sets.
fn without_servers(mut object: Json, keeps_time: bool) -> Json {
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.remove("uid");
    if !keeps_time {
        metadata.remove("creationTimestamp");
    }
    object
}

/// Whether Calico wrote the object, and not `kubectl` in one of the scenarios.
fn is_calicos(group: Group, collection: Collection, object: &Json) -> bool {
    let annotations = &object["metadata"]["annotations"];
    if annotations["kubectl.kubernetes.io/last-applied-configuration"].is_string()
        || annotations["who"].is_string()
    {
        return false;
    }
    if collection.has_tombstones()
        && (object["spec"]["deleted"].is_null() || object["spec"]["state"] == json!(""))
    {
        return false;
    }
    if collection == Collection::Affinities && object["metadata"]["labels"].is_null() {
        // The object was recorded in 034, where an old release wrote it without labels.
        return false;
    }
    if collection == Collection::Blocks && object["spec"]["sequenceNumberForAllocation"].is_null() {
        return false;
    }
    group == Group::V3 || annotations["projectcalico.org/metadata"].is_string()
}

/// For each collection, the least number of recorded objects that this program must write unchanged.
const LEAST_WRITTEN: [(&str, usize); 5] =
    [("IPAMBlock", 250), ("BlockAffinity", 240), ("IPAMHandle", 400), ("IPPool", 250), ("IPAMConfig", 5)];

#[test]
fn every_recorded_object() {
    let Some(root) = recordings(LEAST_WRITTEN.iter().map(|(_, least)| least).sum()) else { return };
    let mut written = BTreeMap::<&str, usize>::new();
    for group in [Group::V1, Group::V3] {
        for file in files(&root, group) {
            let document: Json = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
            for (plural, objects) in document.as_object().unwrap() {
                let Some(collection) = collection(plural) else { continue };
                for object in objects.as_array().unwrap() {
                    let object = fill(object);
                    let at = format!("{}: {}", file.display(), object["metadata"]["name"]);
                    let read = decode(group, collection, &object.to_string())
                        .unwrap_or_else(|e| panic!("{at}: {e}"));
                    assert_eq!(read.revision.as_str(), object["metadata"]["resourceVersion"], "{at}");
                    assert_eq!(read.uid, object["metadata"]["uid"], "{at}");
                    if object_name(&read.key) != object["metadata"]["name"].as_str().unwrap() {
                        panic!("{at} is named {}", object_name(&read.key));
                    }
                    if let Value::Block(block) = &read.value {
                        let header = decode_header(group, &object.to_string()).unwrap();
                        assert_eq!((header.header, header.block), (block.header(), block.cidr), "{at}");
                        assert_eq!(header.is_deleted, read.is_deleted, "{at}");
                    }
                    if !is_calicos(group, collection, &object) {
                        continue;
                    }
                    let again = encode(group, &read.key, &read.value, Some(&read.revision)).unwrap();
                    let is_resource = matches!(collection, Collection::Resources(_)) && group == Group::V3;
                    let (again, object) =
                        (without_servers(again, is_resource), without_servers(object, is_resource));
                    assert_eq!(again, object, "{at}");
                    *written.entry(collection.kind_name(group)).or_default() += 1;
                }
            }
        }
    }
    for (kind, least) in LEAST_WRITTEN {
        assert!(written[kind] >= least, "{written:?}");
    }
}

/// The bodies of Calico's recorded requests equal those that this program would send.
#[test]
fn every_recorded_write_of_the_allocator() {
    const LEAST: usize = 1000;
    let Some(root) = recordings(LEAST) else { return };
    let mut compared = 0;
    for group in [Group::V1, Group::V3] {
        for file in files(&root, group) {
            let steps = file.with_file_name("steps.json");
            let steps: Json = serde_json::from_str(&std::fs::read_to_string(steps).unwrap()).unwrap();
            for request in
                steps.as_array().unwrap().iter().filter_map(|step| step["api_requests"].as_array()).flatten()
            {
                let plural = request["uri"].as_str().unwrap().split(['/', '?']).nth(4).unwrap_or_default();
                let verb = request["verb"].as_str().unwrap();
                let Some(collection) = collection(plural).filter(|c| c.has_tombstones()) else { continue };
                if !["POST", "PUT"].contains(&verb) || request["body"].is_null() {
                    continue;
                }
                let mut body = fill(&request["body"]);
                body["metadata"].as_object_mut().unwrap().remove("uid");
                let mut object = body.clone();
                object["metadata"].as_object_mut().unwrap().entry("resourceVersion").or_insert("1".into());
                if is_calicos(group, collection, &object) {
                    let read = decode(group, collection, &object.to_string()).unwrap();
                    let revision = (verb == "PUT").then_some(&read.revision);
                    assert_eq!(encode(group, &read.key, &read.value, revision).unwrap(), body);
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > LEAST, "{compared}");
}

#[test]
fn users_see_what_they_gave() {
    // Recorded in 037-calicoctl-crud.
    let object = json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {
        "annotations": {
            "projectcalico.org/metadata": r#"{"creationTimestamp":"2026-08-01T10:00:02Z","labels":{"projectcalico.org/x":"true","site":"east"},"annotations":{"note":"hello","projectcalico.org/z":"w"}}"#,
            "projectcalico.org/z": "w"},
        "labels": {"projectcalico.org/x": "true"},
        "creationTimestamp": "2026-08-01T10:00:03Z", "generation": 3, "managedFields": [], "name": "b",
        "resourceVersion": "4", "uid": "30316465-6365-4463-ad63-3564622d3638"},
        "spec": {"cidr": "10.20.0.0/24"}});
    let read = decode(Group::V1, Collection::Resources(Kind::IPPool), &object.to_string()).unwrap();
    let Value::Resource(pool) = &read.value else { panic!("{read:?}") };
    let metadata = json!({"name": "b", "uid": "0c8c26a6-c6a6-44c6-adc6-ac2646b46c1c",
        "creationTimestamp": "2026-08-01T10:00:02Z", "labels": {"projectcalico.org/x": "true", "site": "east"},
        "annotations": {"note": "hello", "projectcalico.org/z": "w"}});
    assert_eq!(pool.to_json()["metadata"], metadata);
    assert_eq!(read.uid, "30316465-6365-4463-ad63-3564622d3638");
    // Without the annotation, the object's own fields are read.
    let object = json!({"metadata": {"name": "b", "resourceVersion": "4", "labels": {"a": "b"}}, "spec": {"cidr": "10.20.0.0/24"}});
    let read = decode(Group::V1, Collection::Resources(Kind::IPPool), &object.to_string()).unwrap();
    let Value::Resource(pool) = &read.value else { panic!("{read:?}") };
    assert_eq!(pool.metadata().labels["a"], "b");
}

#[test]
fn a_pool_that_is_being_deleted_keeps_its_finalizers() {
    let object = json!({"metadata": {"name": "b", "resourceVersion": "4", "deletionTimestamp": "2026-08-01T10:00:03Z",
        "finalizers": ["projectcalico.org/ippool-controller"], "annotations": {"projectcalico.org/metadata": "{}"}},
        "spec": {"cidr": "10.20.0.0/24"}});
    for group in [Group::V1, Group::V3] {
        let read = decode(group, Collection::Resources(Kind::IPPool), &object.to_string()).unwrap();
        let Value::Resource(pool) = &read.value else { panic!("{read:?}") };
        assert!(pool.metadata().is_deleting());
        let again = encode(group, &read.key, &read.value, Some(&read.revision)).unwrap();
        assert_eq!(again["metadata"]["finalizers"], object["metadata"]["finalizers"]);
    }
}

#[test]
fn bad_objects_are_named() {
    let bad = |collection, spec: Json| {
        let object = json!({"metadata": {"name": "x", "resourceVersion": "1"}, "spec": spec});
        decode(Group::V1, collection, &object.to_string()).unwrap_err().to_string()
    };
    for (collection, spec, word) in [
        (Collection::Blocks, json!({"cidr": "nonsense"}), "IPAMBlock(x)"),
        (Collection::Blocks, json!({"cidr": "10.0.0.0/26", "allocations": [-1]}), "IPAMBlock(x)"),
        (Collection::Affinities, json!({"cidr": "10.0.0.0/26", "node": "n", "type": "odd"}), "odd"),
        (
            Collection::Affinities,
            json!({"cidr": "10.0.0.0/26", "node": "n", "state": "odd"}),
            "BlockAffinity(x)",
        ),
        (Collection::Handles, json!({"handleID": "a/b"}), "a/b"),
        (Collection::Handles, json!({"handleID": "a", "block": {"z": 1}}), "\"z\""),
        (Collection::IpamConfig, json!({"strictAffinity": "no"}), "IPAMConfig(x)"),
    ] {
        let text = bad(collection, spec);
        assert!(text.contains(word), "{text}");
    }
}

fn kube_node() -> Json {
    // Recorded in 038-node-annotations.
    json!({"metadata": {"name": "n1", "uid": "0b0e4a52-6b52-4a4e-9a53-000000000003", "resourceVersion": "4",
        "creationTimestamp": "2026-08-01T10:00:02Z", "labels": {"rack": "0"}, "annotations": {
        "projectcalico.org/ASNumber": "64513",
        "projectcalico.org/IPv4Address": "10.1.1.5/24",
        "projectcalico.org/IPv4IPIPTunnelAddr": "10.10.0.0",
        "projectcalico.org/IPv4VXLANTunnelAddr": "10.10.0.1",
        "projectcalico.org/IPv4WireguardInterfaceAddr": "10.10.0.2",
        "projectcalico.org/IPv6Address": "fd00::5/64",
        "projectcalico.org/IPv6VXLANTunnelAddr": "fd00:10:244::1",
        "projectcalico.org/RouteReflectorClusterID": "244.0.0.1",
        "projectcalico.org/VXLANTunnelMACAddr": "66:00:00:00:00:01",
        "projectcalico.org/WireguardPublicKey": "jlkVyQYooZYzI2wFfNhSZez5eWh44yfq1wKVjLvSXgY=",
        "projectcalico.org/labels": "{\"rack\":\"7\",\"site\":\"east\"}"}},
        "spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["10.244.0.0/24"], "taints": []},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.1.1.5"}, {"type": "Hostname", "address": "n1"}]}})
}

#[test]
fn a_node_shows_what_its_annotations_hold() {
    let read = node::decode(&kube_node().to_string()).unwrap();
    let Value::Resource(seen) = &read.value else { panic!("{read:?}") };
    let expected = json!({"kind": "Node", "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": "n1", "uid": "0b0e4a52-6b52-4a4e-9a53-000000000003",
            "creationTimestamp": "2026-08-01T10:00:02Z", "labels": {"rack": "0", "site": "east"},
            "annotations": {"projectcalico.org/kube-labels": "{\"rack\":\"0\"}"}},
        "spec": {"bgp": {"asNumber": 64513, "ipv4Address": "10.1.1.5/24", "ipv6Address": "fd00::5/64",
                "ipv4IPIPTunnelAddr": "10.10.0.0", "routeReflectorClusterID": "244.0.0.1"},
            "ipv4VXLANTunnelAddr": "10.10.0.1", "vxlanTunnelMACAddr": "66:00:00:00:00:01",
            "ipv6VXLANTunnelAddr": "fd00:10:244::1", "orchRefs": [{"nodeName": "n1", "orchestrator": "k8s"}],
            "wireguard": {"interfaceIPv4Address": "10.10.0.2"},
            "addresses": [{"address": "10.1.1.5/24", "type": "CalicoNodeIP"},
                {"address": "fd00::5/64", "type": "CalicoNodeIP"}, {"address": "10.1.1.5", "type": "InternalIP"}]},
        "status": {"wireguardPublicKey": "jlkVyQYooZYzI2wFfNhSZez5eWh44yfq1wKVjLvSXgY=", "podCIDRs": ["10.244.0.0/24"]}});
    assert_eq!(seen.to_json(), expected);
    assert_eq!(read.revision.as_str(), "4");

    let bare = json!({"metadata": {"name": "n2", "annotations": {
        "projectcalico.org/ASNumber": "x", "projectcalico.org/IPv4Address": "not-an-ip"}}});
    let read = node::decode(&bare.to_string()).unwrap();
    let Value::Resource(seen) = &read.value else { panic!("{read:?}") };
    assert_eq!(seen.metadata().annotations["projectcalico.org/kube-labels"], "null");
    assert_eq!(seen.to_json()["spec"], json!({"orchRefs": [{"nodeName": "n2", "orchestrator": "k8s"}]}));
    assert_eq!(seen.to_json()["status"], json!({}));
}

#[test]
fn a_node_is_written_back_into_its_annotations() {
    let kube = kube_node();
    let read = node::decode(&kube.to_string()).unwrap();
    let Value::Resource(seen) = &read.value else { panic!("{read:?}") };
    // The stored values stay, except for a label that readers never saw.
    let merged = node::merge(&kube, seen);
    let mut expected = kube.clone();
    expected["metadata"]["annotations"]["projectcalico.org/labels"] = r#"{"site":"east"}"#.into();
    assert_eq!(merged, expected);
    // Recorded in 037-calicoctl-crud: a label is added.
    let bare = json!({"metadata": {"name": "n1", "labels": {"rack": "0"}, "resourceVersion": "1"}, "spec": {}, "status": {}});
    let read = node::decode(&bare.to_string()).unwrap();
    let Value::Resource(seen) = &read.value else { panic!("{read:?}") };
    let changed = seen.with(|metadata, _| {
        metadata.labels.insert("zone".into(), "z1".into());
    });
    let merged = node::merge(&bare, &changed);
    assert_eq!(merged["metadata"]["annotations"], json!({"projectcalico.org/labels": "{\"zone\":\"z1\"}"}));
    assert_eq!(merged["metadata"]["labels"], json!({"rack": "0"}));
    // A removed value is removed from the Node, too.
    let changed = seen.with(|_, body| body["spec"] = json!({"bgp": {"asNumber": 65546}}));
    let merged = node::merge(&kube, &changed);
    assert_eq!(merged["metadata"]["annotations"], json!({"projectcalico.org/ASNumber": "65546"}));
}

fn kube_pod() -> Json {
    // Recorded in 001-rack-guide.
    json!({"metadata": {"name": "nginx-5c7588df-2bcgv", "namespace": "default", "uid": "0b0e4a52-6b52-4a4e-9a53-000000000019",
        "resourceVersion": "26", "creationTimestamp": "2026-08-01T10:00:04Z", "labels": {"app": "nginx"}, "annotations": {
        "cni.projectcalico.org/containerID": "3e69", "cni.projectcalico.org/podIP": "192.168.89.192/32",
        "cni.projectcalico.org/podIPs": "192.168.89.192/32"}},
        "spec": {"nodeName": "kube-node-2", "serviceAccountName": "default",
            "containers": [{"ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 81}, {"containerPort": 53, "hostPort": 5353, "protocol": "UDP"}]}]},
        "status": {"phase": "Running", "podIP": "192.168.89.192", "podIPs": [{"ip": "192.168.89.192"}]}})
}

fn endpoint(pod: &Json) -> Resource {
    match pod::decode("cali", &pod.to_string()).unwrap().unwrap().value {
        Value::Resource(endpoint) => endpoint,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_scheduled_pod_is_an_endpoint() {
    let pod = kube_pod();
    let expected = json!({"kind": "WorkloadEndpoint", "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": "kube--node--2-k8s-nginx--5c7588df--2bcgv-eth0", "namespace": "default",
            "uid": "0b0e4a52-6b52-4a4e-9a53-000000000019", "creationTimestamp": "2026-08-01T10:00:04Z",
            "labels": {"app": "nginx", "projectcalico.org/namespace": "default", "projectcalico.org/orchestrator": "k8s",
                "projectcalico.org/serviceaccount": "default"}},
        "spec": {"orchestrator": "k8s", "node": "kube-node-2", "containerID": "3e69", "pod": "nginx-5c7588df-2bcgv",
            "endpoint": "eth0", "serviceAccountName": "default", "ipNetworks": ["192.168.89.192/32"],
            "profiles": ["kns.default", "ksa.default.default"], "interfaceName": "calicd34697b75c",
            "ports": [{"name": "http", "protocol": "TCP", "port": 80, "hostPort": 0, "hostIP": ""},
                {"name": "", "protocol": "UDP", "port": 53, "hostPort": 5353, "hostIP": ""}]}});
    assert_eq!(endpoint(&pod).to_json(), expected);
    let key = endpoint(&pod).key();
    assert_eq!(pod::pod_of(&key), Some(("default".to_string(), "nginx-5c7588df-2bcgv".to_string())));
    for change in [json!({"hostNetwork": true, "nodeName": "n"}), json!({})] {
        let mut other = pod.clone();
        other["spec"] = change;
        assert_eq!(pod::decode("cali", &other.to_string()).unwrap(), None);
    }
}

#[test]
fn addresses_come_from_the_first_place_that_names_any() {
    let nets = |pod: &Json| endpoint(pod).to_json()["spec"]["ipNetworks"].clone();
    let mut pod = kube_pod();
    pod["metadata"]["annotations"]["cni.projectcalico.org/podIPs"] = "10.0.0.9/32,fd00::9/128".into();
    assert_eq!(nets(&pod), json!(["192.168.89.192/32"]));
    pod["status"]["podIPs"] = json!([]);
    assert_eq!(nets(&pod), json!(["192.168.89.192/32"]));
    pod["status"]["podIP"] = json!("");
    assert_eq!(nets(&pod), json!(["10.0.0.9/32", "fd00::9/128"]));
    pod["metadata"]["annotations"]["cni.projectcalico.org/floatingIPs"] = json!("[\"203.0.113.9\"]");
    assert_eq!(
        endpoint(&pod).to_json()["spec"]["ipNATs"],
        json!([{"internalIP": "10.0.0.9", "externalIP": "203.0.113.9"}])
    );
    pod["metadata"]["annotations"].as_object_mut().unwrap().remove("cni.projectcalico.org/podIPs");
    assert_eq!(nets(&pod), json!(["192.168.89.192/32"]));
    pod["metadata"]["deletionTimestamp"] = json!("2026-08-01T10:00:04Z");
    assert_eq!(nets(&pod), json!(["192.168.89.192/32"]), "it ends, but its address was not given back yet");
    pod["metadata"]["annotations"]["cni.projectcalico.org/podIP"] = "".into();
    pod["status"]["podIP"] = "10.0.0.9".into();
    assert_eq!(nets(&pod), Json::Null);
    let mut pod = kube_pod();
    pod["status"]["phase"] = "Succeeded".into();
    assert_eq!(nets(&pod), Json::Null);
}

#[test]
fn an_endpoint_is_written_into_its_pods_annotations() {
    // Recorded in 043-main-plugin, but for the UID.
    let mut pod = kube_pod();
    pod["status"]["podIPs"] = json!([{"ip": "10.10.0.225"}, {"ip": "fd00::1"}]);
    let expected = json!({"metadata": {"uid": "u", "annotations": {"cni.projectcalico.org/containerID": "3e69",
        "cni.projectcalico.org/podIP": "10.10.0.225/32", "cni.projectcalico.org/podIPs": "10.10.0.225/32,fd00::1/128"}}});
    assert_eq!(pod::patch(&endpoint(&pod), "u"), expected);
    pod["status"]["phase"] = "Failed".into();
    assert_eq!(pod::patch(&endpoint(&pod), "u"), json!({"metadata": {"annotations": {}, "uid": "u"}}));
    let released = json!({"metadata": {"annotations": {"cni.projectcalico.org/podIP": "", "cni.projectcalico.org/podIPs": ""},
        "uid": "u", "resourceVersion": "7"}});
    assert_eq!(pod::patch_released("u", &api::Revision::new("7")), released);
}

fn cidr() -> impl Strategy<Value = BlockCidr> {
    prop_oneof![
        (any::<u32>(), 20u8..=32).prop_map(|(n, p)| BlockCidr::holding(
            std::net::Ipv4Addr::from(n).into(),
            p
        )
        .unwrap()),
        (any::<u128>(), 116u8..=128).prop_map(|(n, p)| BlockCidr::holding(
            std::net::Ipv6Addr::from(n).into(),
            p
        )
        .unwrap()),
    ]
}

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof!["[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?".prop_map(Owner::Host), Just(Owner::load_balancer())]
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let map = || proptest::collection::btree_map("[a-z-]{1,8}", ".{0,12}", 0..3);
    (proptest::option::of(".{0,20}"), map(), map(), proptest::option::of(0i64..4_000_000_000)).prop_map(
        |(handle_id, owner, alternate_owner, at)| Attribute {
            handle_id,
            owner,
            alternate_owner,
            released_at: at.map(|s| Timestamp::new(s, 0).unwrap()),
            odd: None,
        },
    )
}

fn block() -> impl Strategy<Value = Block> {
    let sequences = proptest::collection::btree_map(0u32..4096, any::<u64>(), 0..5);
    let indexes = proptest::collection::vec(proptest::option::of(0u32..5), 20);
    let parts = (
        cidr(),
        proptest::option::of(owner()),
        proptest::collection::vec(attribute(), 0..4),
        sequences,
        indexes,
    );
    (parts, proptest::collection::vec(0u32..4096, 0..20), any::<u64>(), any::<bool>()).prop_map(
        |((cidr, owner, attributes, sequences, indexes), unallocated, sequence_number, deleted)| Block {
            cidr,
            affinity: owner.map(|owner| owner.affinity_text().into()),
            affinity_claim_time: None,
            // The block has an entry for each address, and no entry points beyond the list of attributes.
            allocations: (0..cidr.size() as usize)
                .map(|o| indexes[o % indexes.len()].filter(|index| (*index as usize) < attributes.len()))
                .collect(),
            unallocated,
            attributes: attributes.into_iter().map(Into::into).collect(),
            sequence_number,
            sequence_numbers: sequences.into_iter().collect(),
            deleted,
            legacy_host_affinity: None,
            residue: None,
        },
    )
}

fn record() -> impl Strategy<Value = (Key, Value)> {
    let state = prop_oneof![
        Just(AffinityState::Pending),
        Just(AffinityState::Confirmed),
        Just(AffinityState::PendingDeletion)
    ];
    let counts = proptest::collection::btree_map(cidr(), 0u32..9, 0..4);
    prop_oneof![
        block().prop_map(|block| (Key::Block(block.cidr), Value::Block(block))),
        (owner(), cidr(), state, any::<bool>()).prop_map(|(owner, block, state, deleted)| {
            (Key::Affinity { owner, block }, Value::Affinity(Affinity { state, deleted }))
        }),
        ("[A-Za-z0-9.-]{1,30}", counts, any::<bool>()).prop_map(|(id, blocks, deleted)| {
            (Key::Handle(HandleId::new(&id).unwrap()), Value::Handle(Handle { blocks, deleted }))
        }),
        (any::<bool>(), any::<bool>(), 0i64..100, 0i64..100).prop_map(|(strict, auto, max, cooldown)| {
            let config = IpamConfig {
                strict_affinity: strict,
                auto_allocate_blocks: auto,
                max_blocks_per_host: max,
                persistence: None,
                cooldown_seconds: cooldown,
            };
            (Key::IpamConfig, Value::IpamConfig(config))
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read((key, value) in record(), v3: bool) {
        let group = if v3 { Group::V3 } else { Group::V1 };
        let mut object = encode(group, &key, &value, None).unwrap();
        prop_assert!(!object["spec"].as_object().unwrap().values().any(Json::is_null));
        object["metadata"]["resourceVersion"] = "7".into();
        let read = decode(group, Collection::of(&key).unwrap(), &object.to_string()).unwrap();
        prop_assert_eq!(&read.key, &key);
        prop_assert_eq!(&read.value, &value);
        prop_assert!(object_name(&key).len() <= 253);
        if let Key::Block(block) = key {
            prop_assert_eq!(block_of_name(&object_name(&key)), Some(block));
        }
    }
}
