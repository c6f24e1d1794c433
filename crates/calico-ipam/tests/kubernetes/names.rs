//! Names that are valid in other stores, but not as names of Kubernetes' objects.

use serde_json::json;

use crate::fixture::{Host, PLUGIN, cluster, node, pool, writes};

/// Calico tries for 90 seconds before it refuses such names. (Recorded as "container ID 'c_1.x-y'" and
/// "network name 'a.b-c_d'".)
#[test]
fn names_that_no_object_can_bear_are_refused_at_once() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1"), pool("p", "10.0.0.0/16", json!({}))]);
    let host = Host::new(&cluster, "n1", PLUGIN);
    let (answer, requests) = cluster.counted(|| host.run("ADD", "c_1.x-y"));
    answer.says(&["the container ID \"c_1.x-y\" cannot be used with Kubernetes", "CNI_CONTAINERID"]);
    assert_eq!(requests, []);
    // The same holds for a named address.
    host.run_with("ADD", "c_1", "IP=10.0.0.1").says(&["the container ID \"c_1\" cannot"]);
    // No address can have been assigned to this container, so DEL has nothing to release.
    let (answer, requests) = cluster.counted(|| host.run("DEL", "c_1.x-y"));
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), ""), "{answer:?}");
    assert!(writes(&requests).is_empty(), "{requests:?}");

    let host = host.with("name", json!("a.b-c_d"));
    host.run("ADD", "c1").says(&["the network \"a.b-c_d\" cannot be used with Kubernetes"]);
}

/// Names of objects are in lower case. The handle itself keeps its capitals.
#[test]
fn capitals_are_kept() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1"), pool("p", "10.0.0.0/16", json!({}))]);
    let host = Host::new(&cluster, "n1", PLUGIN).with("name", json!("NET"));
    assert_eq!(host.run("ADD", "C1").addresses().len(), 1);
    let handle = &cluster.objects("ipamhandles")[0];
    assert_eq!(
        (&handle["metadata"]["name"], &handle["spec"]["handleID"]),
        (&json!("net.c1"), &json!("NET.C1"))
    );
    // The handle of this container is another one, but would have the same object name.
    host.run("ADD", "c1").says(&["NET.C1"]);
    assert_eq!(cluster.taken(), 1);
    assert_eq!(host.run("DEL", "C1").code, Some(0));
    assert_eq!((cluster.taken(), cluster.objects("ipamhandles").len()), (0, 0));
}

#[test]
fn a_node_that_is_not_there() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1"), pool("p", "10.0.0.0/16", json!({}))]);
    for name in ["nope", "N1"] {
        let answer = Host::new(&cluster, name, PLUGIN).run("ADD", "c1");
        let wanted = format!("resource does not exist: Node({name}) with error: nodes \"{name}\" not found");
        assert_eq!(answer.error(), (999, wanted));
    }
    assert!(cluster.objects("blockaffinities").is_empty());
}
