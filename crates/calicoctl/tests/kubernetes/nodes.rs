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

/// Where nodes are, and which rack they are in, stands in Kubernetes' own objects.
#[test]
fn routes_come_from_annotations_and_labels() {
    let Some(cluster) = cluster() else { return };
    let user = cluster.root();
    user.good("datastore init --ipv4-cidr none");
    for (name, last) in [("n1", 1), ("n2", 2)] {
        let node = format!(
            r#"{{"apiVersion": "v1", "kind": "Node", "metadata": {{"name": "{name}", "labels": {{"rack": "0"}}, "annotations": {{
                "projectcalico.org/IPv4Address": "10.77.0.{last}/24", "projectcalico.org/IPv4VXLANTunnelAddr": "10.2.0.{last}"}}}}}}"#
        );
        cluster.kubectl(&["create", "-f", &user.file("node.yaml", &node)]);
    }
    for (name, network, mode) in [("plain", "10.1.0.0/24", "Never"), ("tunnel", "10.2.0.0/24", "Always")] {
        let pool = format!(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: {name}}}\n\
             spec: {{cidr: {network}, vxlanMode: {mode}, nodeSelector: \"rack == '0'\"}}\n"
        );
        assert_eq!(user.create(&pool).code, Some(0));
    }
    let way = "ip route replace 10.1.0.0/24 proto static nexthop via 10.77.0.1 nexthop via 10.77.0.2\n";
    assert_eq!(user.good("routes tor all"), format!("# rack 0\n{way}"));
    let shown = user.good("routes show --node n1 -o json");
    for line in [r#""tunnelAddress": "10.2.0.2""#, r#""nodeAddress": "10.77.0.2""#, r#""action": "keep""#] {
        assert!(shown.contains(line), "{line:?} is not in {shown}");
    }
    assert_eq!(user.good("routes check"), "Nothing was found\n");
}
