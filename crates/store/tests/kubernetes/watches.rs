//! The server's behaviour on which watches rely.

use api::{Kind, Resource, Value};
use serde_json::json;
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
