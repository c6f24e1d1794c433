//! A datastore on etcd beside Kubernetes: a node that Kubernetes no longer has is deleted there, too.

use std::collections::BTreeSet;
use std::time::Duration;

use api::Kind;
use serde_json::{Value as Json, json};
use servers::etcd_server::{self, EtcdServer};
use servers::kube_server::{KubeServer, KubeServerOptions};
use store::etcd::{EtcdOptions, EtcdStore};
use store::{AnyStore, Depth, ReadSet, Scope, Store};

use crate::frame::open;
use crate::process::Process;
use crate::town::{Town, WITHIN};

const PATIENCE: Duration = Duration::from_secs(60);

/// A town on etcd, and one of the Kubernetes cluster beside it.
async fn towns(etcd: &EtcdServer) -> (Town, Town) {
    let server = KubeServer::start(KubeServerOptions::new());
    let store = AnyStore::Kubernetes(open(&server.kubeconfig()));
    let kubernetes = Town::with_its_records(store, Some(server));
    let options = EtcdOptions { endpoints: vec![etcd.endpoint()], ..EtcdOptions::default() };
    (Town::of(AnyStore::Etcd(EtcdStore::open(options).unwrap()), None).await, kubernetes)
}

async fn put_node(town: &Town, name: &str, in_kubernetes: Option<&str>) {
    let references = match in_kubernetes {
        Some(name) => json!([{"orchestrator": "k8s", "nodeName": name}]),
        None => Json::Null,
    };
    let spec = json!({"bgp": {"ipv4Address": "192.0.2.1/24"}, "orchRefs": references});
    town.put(Kind::Node, None, name, spec).await;
}

async fn nodes(town: &Town) -> BTreeSet<String> {
    let set = ReadSet::new().scope(Scope::kind(Kind::Node), Depth::Full);
    let view = town.store.read(&set, WITHIN).await.unwrap();
    view.resources(Kind::Node).map(|(node, _)| node.name().to_string()).collect()
}

fn start(etcd: &EtcdServer, kubernetes: &Town) -> Process {
    let kubeconfig = kubernetes.server.as_ref().unwrap().kubeconfig();
    let endpoint = etcd.endpoint();
    Process::start(&[("ETCD_ENDPOINTS", &endpoint), ("KUBECONFIG", kubeconfig.to_str().unwrap())], &[])
}

async fn until(process: &Process, what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "not in time: {what}\n{}", process.log());
}

#[tokio::test]
async fn a_node_that_kubernetes_no_longer_has_is_deleted() {
    if etcd_server::is_left_out() || servers::kube_server::is_left_out() {
        return;
    }
    let etcd = EtcdServer::start();
    let (town, kubernetes) = towns(&etcd).await;
    for name in ["host-1", "host-2"] {
        kubernetes.create_node(name).await;
    }
    put_node(&town, "n1", Some("host-1")).await;
    put_node(&town, "n2", Some("host-2")).await;
    put_node(&town, "bare", None).await;
    put_node(&town, "long-gone", Some("host-0")).await;
    let addr = town.assign("k8s-pod-network.a", "n2", &[]).await;
    let endpoint = json!({"node": "n2", "orchestrator": "k8s", "pod": "p", "endpoint": "eth0",
        "interfaceName": "cali1", "ipNetworks": [format!("{addr}/32")]});
    town.put(Kind::WorkloadEndpoint, Some("default"), "n2-k8s-p-eth0", endpoint).await;

    let process = start(&etcd, &kubernetes);
    let all = ["bare", "n1", "n2"].map(str::to_string);
    until(&process, "what was gone before", async || nodes(&town).await == BTreeSet::from(all.clone())).await;
    assert_eq!(town.assigned().await, BTreeSet::from([addr]));
    kubernetes.kubectl_delete(&["node", "host-2"]);
    let left = ["bare", "n1"].map(str::to_string);
    until(&process, "host-2", async || nodes(&town).await == BTreeSet::from(left.clone())).await;
    assert_eq!(town.counts().await, [0, 0, 0], "its block, affinity and handle are gone with it");
}

#[tokio::test]
async fn of_another_cluster_nothing_is_deleted() {
    if etcd_server::is_left_out() || servers::kube_server::is_left_out() {
        return;
    }
    let etcd = EtcdServer::start();
    let (town, kubernetes) = towns(&etcd).await;
    kubernetes.create_node("other").await;
    put_node(&town, "n1", Some("n1")).await;
    put_node(&town, "n2", Some("n2")).await;
    let process = start(&etcd, &kubernetes);
    let told = "Kubernetes knows none of the 2 nodes";
    until(&process, "the warning", async || process.log().contains(told)).await;
    assert_eq!(nodes(&town).await.len(), 2);
}
