//! The server's behaviour on which watches rely.

use std::time::Duration;

use api::{AffinityState, Kind, Resource, Value};
use serde_json::{Value as Json, json};
use store::{Event, Scope, Store, Watch};

use super::fixture::*;

/// The server answers 410 for a revision that it no longer has, and for a list's token after a compaction.
/// The store handles both.
#[tokio::test]
async fn what_is_gone_is_told_as_such() {
    let Some(cluster) = cluster().await else { return };
    let group = GROUPS[0];
    let at = collection(group, &handle("a"));
    for index in 0..3 {
        cluster.create(group, &handle(&format!("h{index}")), &counted(1)).await;
    }
    let (_, list) = cluster.ask("GET", &format!("{at}?limit=1"), None).await;
    let token = list["metadata"]["continue"].as_str().unwrap();
    let revision = revision_of(&list).to_string();
    for count in 0..3 {
        cluster.create(group, &handle(&format!("later{count}")), &counted(1)).await;
    }
    let (_, list) = cluster.ask("GET", &at, None).await;
    let out = std::process::Command::new("etcdctl")
        .args(["--endpoints", &cluster.server.etcd().endpoint(), "compaction", revision_of(&list)])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let (code, answer) = cluster.ask("GET", &format!("{at}?limit=1&continue={token}"), None).await;
    // A server that keeps some history in memory may still answer.
    if code != 200 {
        assert_eq!((code, answer["reason"].as_str()), (410, Some("Expired")), "{answer}");
        assert!(answer["metadata"]["continue"].as_str().is_some_and(|token| !token.is_empty()), "{answer}");
    }
    let old = format!("{at}?watch=true&timeoutSeconds=1&resourceVersion=1");
    let (code, answer) = cluster.ask("GET", &old, None).await;
    let is_gone = code == 410 || (answer["type"] == "ERROR" && answer["object"]["code"] == 410);
    assert!(is_gone, "{code} {answer} (the list was at {revision})");
}

/// The next state of a Node that a watch tells.
async fn told(watch: &mut impl Watch) -> Resource {
    loop {
        let event = tokio::time::timeout(WITHIN, watch.next()).await.unwrap().unwrap();
        if let Event::InitApply(record) | Event::Apply(record) = event
            && let Value::Resource(node) = &record.value
        {
            return node.clone();
        }
    }
}

/// A short watch of Nodes tells labels and annotations, at the start and later, and nothing that a kubelet
/// reports; the server's answer lacks it.
#[tokio::test]
async fn a_short_watch_of_nodes_tells_what_agents_say() {
    let Some(cluster) = cluster().await else { return };
    cluster.clear_nodes().await;
    let images: Vec<_> =
        (0..50).map(|n| json!({"names": [format!("registry.example/image-{n}")], "sizeBytes": n})).collect();
    let node = json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n1", "labels": {"rack": "0"}, "annotations": {"projectcalico.org/IPv4Address": "10.9.0.1/24"}},
        "spec": {"podCIDR": "10.8.0.0/24"},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.9.0.2"}], "images": images}});
    assert_eq!(cluster.ask("POST", "/api/v1/nodes", Some(&node)).await.0, 201);
    let store = cluster.open(GROUPS[0]);
    let mut short = store.watch_short(Scope::kind(Kind::Node)).await.unwrap();
    let mut whole = store.watch(Scope::kind(Kind::Node)).await.unwrap();
    let check = |short: &Resource, whole: &Resource, address: &str| {
        for node in [short, whole] {
            assert_eq!(node.text(&["spec", "bgp", "ipv4Address"]), Some(address));
            assert_eq!(node.metadata().labels.get("rack").map(String::as_str), Some("0"));
        }
        let addresses =
            |node: &Resource| node.field(&["spec", "addresses"]).unwrap().as_array().unwrap().len();
        assert_eq!((addresses(short), addresses(whole)), (1, 2));
        assert_eq!(short.field(&["status", "podCIDRs"]), None);
        assert!(whole.field(&["status", "podCIDRs"]).is_some());
    };
    check(&told(&mut short).await, &told(&mut whole).await, "10.9.0.1/24");
    let patch = json!({"metadata": {"annotations": {"projectcalico.org/IPv4Address": "10.9.0.3/24"}}});
    assert_eq!(cluster.ask("PATCH", "/api/v1/nodes/n1/status", Some(&patch)).await.0, 200);
    check(&told(&mut short).await, &told(&mut whole).await, "10.9.0.3/24");
    let heartbeat = json!({"status": {"phase": "Running"}});
    assert_eq!(cluster.ask("PATCH", "/api/v1/nodes/n1/status", Some(&heartbeat)).await.0, 200);
    check(&told(&mut short).await, &told(&mut whole).await, "10.9.0.3/24");
    assert_eq!(cluster.ask("DELETE", "/api/v1/nodes/n1", None).await.0, 200);
    let gone = tokio::time::timeout(WITHIN, short.next()).await.unwrap().unwrap();
    assert!(matches!(gone, Event::Delete(..)), "{gone:?}");
    cluster.clear_nodes().await;
}

/// Calico's own definitions let nobody select affinities by their state. Then a short watch tells all of
/// them.
#[tokio::test]
async fn a_short_watch_of_affinities_needs_no_definition_of_ours() {
    let Some(cluster) = cluster().await else { return };
    let claim = affinity("n1", "10.0.0.0/26");
    let definition =
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/blockaffinities.crd.projectcalico.org";
    let selected = format!("{}?fieldSelector=spec.state!%3Dpending", collection(GROUPS[0], &claim));
    // The server takes a moment to go by a new definition.
    let define = async |fields: Json, code: u16| {
        let (_, mut crd) = cluster.ask("GET", definition, None).await;
        crd["spec"]["versions"][0]["selectableFields"] = fields;
        assert_eq!(cluster.ask("PUT", definition, Some(&crd)).await.0, 200);
        for _ in 0..200 {
            if cluster.ask("GET", &selected, None).await.0 == code {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the server does not answer {code}");
    };
    define(json!([]), 400).await;
    let store = cluster.open(GROUPS[0]);
    let mut watch = store.watch_short(Scope::Affinities { owner: None, family: None }).await.unwrap();
    assert!(matches!(watch.next().await.unwrap(), Event::Init));
    assert!(matches!(watch.next().await.unwrap(), Event::InitDone(_)));
    let pending = in_state(AffinityState::Pending);
    cluster.create(GROUPS[0], &claim, &pending).await;
    let told = tokio::time::timeout(WITHIN, watch.next()).await.unwrap().unwrap();
    define(json!([{"jsonPath": ".spec.state"}]), 200).await;
    assert!(matches!(&told, Event::Apply(record) if record.value == pending), "{told:?}");
}
