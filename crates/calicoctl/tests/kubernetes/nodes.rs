//! Nodes and WorkloadEndpoints, which are views of Kubernetes' own objects.

use crate::fixture::cluster;

const NODE: &str =
    r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": {"rack": "0"}}}"#;
const POD: &str = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"app": "web"},
    "annotations": {"cni.projectcalico.org/podIP": "10.0.0.7/32"}}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}}"#;

#[test]
fn a_node_keeps_what_calico_knows_of_it_in_annotations() {
    let Some(cluster) = cluster() else { return };
    let user = cluster.root();
    user.good("datastore init");
    cluster.kubectl(&["create", "-f", &user.file("node.yaml", NODE)]);
    user.good("label nodes n1 zone=a");
    assert!(user.run_with("patch node n1 -p {\"spec\":{\"bgp\":{\"asNumber\":64512}}}", "").code == Some(0));
    let shown = user.good("get node n1 -o yaml");
    for line in ["rack: \"0\"", "zone: a", "asNumber: 64512", "orchestrator: k8s"] {
        assert!(shown.contains(line), "{line:?} is not in {shown}");
    }
    let annotations = cluster.kubectl(&["get", "node", "n1", "-o", "jsonpath={.metadata.annotations}"]);
    assert!(annotations.contains(r#""projectcalico.org/ASNumber":"64512""#), "{annotations}");
    assert!(annotations.contains(r#""projectcalico.org/labels":"{\"zone\":\"a\"}""#), "{annotations}");
    let labels = cluster.kubectl(&["get", "node", "n1", "-o", "jsonpath={.metadata.labels}"]);
    assert_eq!(labels, r#"{"rack":"0"}"#);

    let another = "apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: n2}\n";
    user.create(another).says(&["operation Create is not supported on Node(n2)"]);
    user.run("delete node n1").says(&["operation Delete is not supported on Node(n1)"]);
}

#[test]
fn endpoints_are_pods() {
    let Some(cluster) = cluster() else { return };
    let user = cluster.root();
    user.good("datastore init");
    cluster.kubectl(&["create", "-f", &user.file("node.yaml", NODE)]);
    cluster.kubectl(&["create", "-f", &user.file("pod.yaml", POD)]);
    let wide = user.good("get wep -o wide");
    for word in ["n1-k8s-a-eth0", "10.0.0.7/32", "kns.default"] {
        assert!(wide.contains(word), "{word:?} is not in {wide}");
    }
    // The node agent's setting names the prefixes of the interfaces.
    let other = cluster.root().with("FELIX_INTERFACEPREFIX", "eni,cali").good("get wep");
    assert!(other.contains(" eni"), "{other}");
    let selector = user.good("get wep n1-k8s-a-eth0 -o json");
    assert!(selector.contains(r#""app": "web""#), "{selector}");
    user.run("delete wep n1-k8s-a-eth0")
        .says(&["operation Delete is not supported on WorkloadEndpoint(default/n1-k8s-a-eth0)"]);
}
