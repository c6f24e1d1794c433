//! `ipam explain` on a real API server: pods, their namespaces and annotations.

use std::time::Duration;

use api::{HandleId, Use};
use ipam::AutoAssign;
use serde_json::Value as Json;
use setup::{ConnectOptions, Datastore, Settings};

use crate::fixture::{READER, User, cluster};

const OBJECTS: &str = r#"{"apiVersion": "v1", "kind": "List", "items": [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "explained", "labels": {"team": "b"}}},
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"rack": "0"}}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "plain", "namespace": "explained"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "annotated", "namespace": "explained",
        "annotations": {"cni.projectcalico.org/ipv4pools": "[\"rack-1\"]"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}}]}"#;

fn explain(user: &User, words: &str) -> Json {
    serde_json::from_str(&user.good(&format!("ipam explain {words} -o json"))).unwrap()
}

#[test]
fn a_pod_is_explained_by_its_node_namespace_and_annotations() {
    let Some(cluster) = cluster() else { return };
    let root = cluster.root();
    root.good("datastore init --ipv4-cidr=none");
    cluster.kubectl(&["apply", "-f", &root.file("objects.json", OBJECTS)]);
    for (name, number, rest) in [
        ("rack-0", 0, "nodeSelector: rack == \"0\""),
        ("rack-1", 1, "nodeSelector: rack == \"1\""),
        ("team-a", 2, "namespaceSelector: team == \"a\", allowedUses: [Workload]"),
    ] {
        let pool = format!(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: {name}}}\nspec: {{cidr: 10.{number}.0.0/24, {rest}}}\n"
        );
        assert_eq!(root.create(&pool).code, Some(0), "{pool}");
    }
    // A reader's rights suffice, since nothing is written.
    let reader = cluster.user(READER);
    let json = explain(&reader, "--namespace explained --pod plain");
    let verdicts: Vec<&str> =
        json["pools"].as_array().unwrap().iter().map(|pool| pool["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["taken", "node-selector", "namespace-selector"], "{json:#}");
    assert_eq!(json["decidedBy"], serde_json::json!(["node-selector", "namespace-selector"]));
    assert!(json["next"]["revision"].is_string(), "{json:#}");

    let json = explain(&reader, "--namespace explained --pod annotated");
    assert_eq!(
        (&json["decidedBy"][0], &json["pools"][1]["verdict"]),
        (&"annotation".into(), &"taken".into())
    );
    assert_eq!(json["pools"][0]["verdict"], "annotation-names-others");
    assert!(
        json["warnings"][0].as_str().unwrap().contains("although its nodeSelector leaves n1 out"),
        "{json:#}"
    );

    let json = explain(&reader, "--node n1");
    let datastore =
        Datastore::choose(&Settings::from_environment(&root.environment()).unwrap(), &root.environment());
    let store = setup::connect(&datastore.unwrap(), ConnectOptions::default()).unwrap();
    let attributes = [("namespace", "explained"), ("pod", "gone"), ("node", "n1")];
    let request = AutoAssign {
        v4: 1,
        handle: HandleId::new("net.next"),
        attributes: attributes.map(|(name, value)| (name.to_string(), value.to_string())).into(),
        ..AutoAssign::new("n1", Use::Workload)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let clock = setup::Clock::start();
    let run = ipam::run(&store, &clock, request.planner(), Duration::from_secs(10));
    let address = runtime.block_on(run).unwrap().v4.addresses[0].addr.to_string();
    assert_eq!(json["next"]["address"], address);

    let text = reader.good(&format!("ipam explain --ip {address}"));
    assert!(text.contains("still exists: no: Kubernetes has no such pod"), "{text}");
    assert!(text.contains(&format!("to free it: calicoctl ipam release --ip={address}")), "{text}");

    cluster.kubectl(&["label", "node", "n1", "rack=9", "--overwrite"]);
    let json = explain(&reader, "--node n1 --namespace explained");
    // A label that is there tells a fact: a new pool comes before a change of it.
    let remedy = json["remedy"].as_str().unwrap();
    assert!(remedy.ends_with("| calicoctl create -f -") && !remedy.contains("--overwrite"), "{remedy}");
    cluster.kubectl(&["label", "node", "n1", "rack-"]);
    let json = explain(&reader, "--node n1 --namespace explained");
    assert_eq!(json["remedy"], "kubectl label node n1 rack=0");
    cluster
        .user(READER)
        .run("ipam explain --node n2")
        .says(&["there is no node \"n2\"; did you mean \"n1\"?; a node is there once its kubelet"]);
    reader.run("ipam explain --namespace explained --pod none").says(&["there is no pod \"none\""]);
    cluster.kubectl(&["delete", "namespace", "explained", "--wait=false"]);
}
