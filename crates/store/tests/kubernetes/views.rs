//! Nodes and WorkloadEndpoints, which are views of Kubernetes' own objects.

use api::{Key, Kind, Value};
use serde_json::{Value as Json, json};
use store::{Depth, Event, Expect, Op, Outcome, ReadSet, Refusal, Scope, Store, Watch};

use super::fixture::*;

fn node(name: &str) -> Key {
    Key::global(Kind::Node, name)
}

fn endpoint(name: &str) -> Key {
    Key::Resource { kind: Kind::WorkloadEndpoint, namespace: Some("default".into()), name: name.into() }
}

async fn make(cluster: &Cluster, path: &str, object: Json) {
    let (code, answer) = cluster.ask("POST", path, Some(&object)).await;
    assert_eq!(code, 201, "{answer}");
}

async fn make_node(cluster: &Cluster, name: &str) {
    make(cluster, "/api/v1/nodes", json!({"metadata": {"name": name, "labels": {"rack": "0"}}})).await;
}

async fn make_pod(cluster: &Cluster, name: &str, more: Json) {
    let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    pod["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    make(cluster, "/api/v1/namespaces/default/pods", pod).await;
}

#[tokio::test]
async fn nodes_are_read_and_changed() {
    let Some(cluster) = cluster().await else { return };
    cluster.clear_nodes().await;
    make_node(&cluster, "n1").await;
    make_node(&cluster, "n2").await;
    let store = cluster.open(GROUPS[0]);
    let scope = Scope::kind(Kind::Node);
    for depth in [Depth::Key, Depth::Full] {
        let view = store.read(&ReadSet::new().scope(scope.clone(), depth), WITHIN).await.unwrap();
        assert_eq!(
            view.slots(&scope).map(|(key, _)| key.clone()).collect::<Vec<_>>(),
            [node("n1"), node("n2")]
        );
    }
    let record = find(&store, &node("n1")).await.unwrap();
    assert_eq!(record.resource().unwrap().as_node().labels["rack"], "0");
    let changed = record.resource().unwrap().with(|metadata, body| {
        metadata.labels.insert("zone".into(), "z1".into());
        body["spec"]["bgp"] = json!({"ipv4Address": "10.1.1.5/24"});
    });
    let revision = applied(
        &put(&store, &node("n1"), Expect::Revision(record.revision.clone()), Value::Resource(changed)).await,
    );
    let now = find(&store, &node("n1")).await.unwrap();
    assert_eq!(now.revision, revision);
    assert_eq!(now.resource().unwrap().as_node().labels["zone"], "z1");
    assert_eq!(now.resource().unwrap().text(&["spec", "bgp", "ipv4Address"]), Some("10.1.1.5/24"));
    // Recorded in 037-calicoctl-crud.
    let (_, stored) = cluster.ask("GET", "/api/v1/nodes/n1", None).await;
    assert_eq!(stored["metadata"]["labels"], json!({"rack": "0"}));
    assert_eq!(
        stored["metadata"]["annotations"],
        json!({"projectcalico.org/IPv4Address": "10.1.1.5/24", "projectcalico.org/labels": "{\"zone\":\"z1\"}"})
    );
    // A write at an old revision is refused, and so are changes that only Kubernetes makes.
    let value = Value::Resource(record.resource().unwrap().clone());
    let outcome = put(&store, &node("n1"), Expect::Revision(record.revision.clone()), value.clone()).await;
    assert!(matches!(outcome, Outcome::Refused(Refusal::Conflict(_))), "{outcome:?}");
    let outcome = put(&store, &node("n3"), Expect::Absent, value).await;
    assert_eq!(
        outcome,
        Outcome::Refused(Refusal::Invalid("operation Create is not supported on Node(n3)".into()))
    );
    let outcome = write(&store, &node("n1"), Expect::Revision(revision), Op::Delete).await;
    assert_eq!(
        outcome,
        Outcome::Refused(Refusal::Invalid("operation Delete is not supported on Node(n1)".into()))
    );
    cluster.clear_nodes().await;
}

#[tokio::test]
async fn endpoints_are_pods() {
    let Some(cluster) = cluster().await else { return };
    cluster.clear_nodes().await;
    make_node(&cluster, "n1").await;
    make_pod(&cluster, "web-0", json!({"nodeName": "n1"})).await;
    make_pod(&cluster, "host", json!({"nodeName": "n1", "hostNetwork": true})).await;
    make_pod(&cluster, "waits", json!({})).await;
    let store = cluster.open(GROUPS[1]);
    let scope = Scope::kind(Kind::WorkloadEndpoint);
    let key = endpoint("n1-k8s-web--0-eth0");
    let view = store.read(&ReadSet::new().scope(scope.clone(), Depth::Full), WITHIN).await.unwrap();
    assert_eq!(
        view.slots(&scope).map(|(key, _)| key.clone()).collect::<Vec<_>>(),
        std::slice::from_ref(&key)
    );
    for absent in
        ["n1-k8s-host-eth0", "n1-k8s-waits-eth0", "n2-k8s-web--0-eth0", "n1-cni-c-eth0", "n1-k8s-none-eth0"]
    {
        assert_eq!(find(&store, &endpoint(absent)).await, None, "{absent}");
    }

    let record = find(&store, &key).await.unwrap();
    let seen = record.resource().unwrap();
    let outcome = put(&store, &key, Expect::Absent, Value::Resource(seen.clone())).await;
    assert!(matches!(outcome, Outcome::Refused(Refusal::Conflict(_))), "it exists: {outcome:?}");
    let given = seen.with(|_, body| {
        body["spec"]["containerID"] = "c1".into();
        body["spec"]["ipNetworks"] = json!(["10.0.0.9/32", "fd00::9/128"]);
    });
    let outcome =
        put(&store, &key, Expect::Revision(record.revision.clone()), Value::Resource(given.clone())).await;
    let now = find(&store, &key).await.unwrap();
    assert_eq!(now.revision, applied(&outcome));
    assert_eq!(
        now.resource().unwrap().field(&["spec", "ipNetworks"]),
        Some(&json!(["10.0.0.9/32", "fd00::9/128"]))
    );
    assert_eq!(now.resource().unwrap().text(&["spec", "containerID"]), Some("c1"));
    // Deleting the endpoint leaves the Pod without addresses.
    applied(&write(&store, &key, Expect::Revision(now.revision.clone()), Op::Delete).await);
    let (_, pod) = cluster.ask("GET", "/api/v1/namespaces/default/pods/web-0", None).await;
    let annotations = json!({"cni.projectcalico.org/containerID": "c1", "cni.projectcalico.org/podIP": "",
        "cni.projectcalico.org/podIPs": ""});
    assert_eq!(pod["metadata"]["annotations"], annotations);
    assert_eq!(find(&store, &key).await.unwrap().resource().unwrap().field(&["spec", "ipNetworks"]), None);

    // Another Pod of the same name is not changed.
    cluster.ask("DELETE", "/api/v1/namespaces/default/pods/web-0?gracePeriodSeconds=0", None).await;
    make_pod(&cluster, "web-0", json!({"nodeName": "n1"})).await;
    let outcome = put(&store, &key, Expect::Revision(record.revision.clone()), Value::Resource(given)).await;
    assert!(matches!(outcome, Outcome::Refused(Refusal::Conflict(_))), "{outcome:?}");
    cluster.clear_nodes().await;
}

#[tokio::test]
async fn an_endpoint_comes_with_its_pods_node() {
    let Some(cluster) = cluster().await else { return };
    cluster.clear_nodes().await;
    make_node(&cluster, "n1").await;
    make_pod(&cluster, "a", json!({})).await;
    let store = cluster.open(GROUPS[0]);
    let mut watch = store.watch(Scope::kind(Kind::WorkloadEndpoint)).await.unwrap();
    assert_eq!(watch.next().await.unwrap(), Event::Init);
    assert!(matches!(watch.next().await.unwrap(), Event::InitDone(_)));
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}});
    make(&cluster, "/api/v1/namespaces/default/pods/a/binding", binding).await;
    let Event::Apply(record) = watch.next().await.unwrap() else { panic!("not told") };
    assert_eq!(record.key, endpoint("n1-k8s-a-eth0"));
    cluster.ask("DELETE", "/api/v1/namespaces/default/pods/a?gracePeriodSeconds=0", None).await;
    loop {
        match watch.next().await.unwrap() {
            Event::Apply(_) => {}
            Event::Delete(key, _) => break assert_eq!(key, endpoint("n1-k8s-a-eth0")),
            other => panic!("{other:?}"),
        }
    }
    cluster.clear_nodes().await;
}
