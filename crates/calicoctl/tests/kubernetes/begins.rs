//! `datastore init` on a cluster without anything of Calico.

use api::crd::Collection;

use crate::fixture::{cluster, kubectl};

#[test]
fn all_that_is_missing_is_made_once() {
    let Some(cluster) = cluster() else { return };
    for (group, version) in [("crd.projectcalico.org", "v1"), ("projectcalico.org", "v3")] {
        let user = cluster.root().with("CALICO_API_GROUP", &format!("{group}/{version}"));
        let first = user.good("datastore init --ipv6-cidr fd00::/112");
        assert_eq!(first.matches("Created CustomResourceDefinition").count(), Collection::all().count());
        assert!(first.contains("Created IPPool default-ipv6-ippool fd00::/112"), "{first}");
        assert!(first.contains(&format!("Created CustomResourceDefinition ippools.{group}\n")), "{first}");
        let again = user.good("datastore init --ipv6-cidr fd00::/112");
        assert!(!again.contains("Created"), "{again}");

        let information = format!("clusterinformations.{version}.{group}/default");
        let kind = ["get", &information, "-o", "jsonpath={.spec.clusterType}"];
        assert_eq!(cluster.kubectl(&kind), "kdd");
        let tiers = ["get", &format!("tiers.{version}.{group}"), "-o", "name"];
        assert_eq!(cluster.kubectl(&tiers).lines().count(), 3);
        assert!(user.good("get ippool -o wide").contains("192.168.0.0/16"));
        // A definition that was installed before is left as it is.
        let definition = format!("customresourcedefinition/ippools.{group}");
        cluster.kubectl(&["label", &definition, "whose=ours"]);
        user.good("datastore init");
        let label = ["get", &definition, "-o", "jsonpath={.metadata.labels.whose}"];
        assert_eq!(cluster.kubectl(&label), "ours");
        kubectl(cluster.server, &["delete", "customresourcedefinitions", "--all", "--wait"]);
    }
}

#[test]
fn nothing_is_copied_into_kubernetes_but_out_of_it() {
    let Some(cluster) = cluster() else { return };
    let user = cluster.root();
    user.good("datastore init");
    cluster.kubectl(&[
        "create",
        "-f",
        &user.file("node.yaml", r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}"#),
    ]);
    let kubeconfig = cluster.server.kubeconfig().display().to_string();
    let to_kubernetes =
        user.config("kubernetes.cfg", &[("datastoreType", "kubernetes"), ("kubeconfig", &kubeconfig)]);
    let to_file =
        user.config("file.cfg", &[("datastoreType", "embedded"), ("rackpoolDB", &user.path("a.db"))]);
    let copied = user.good(&format!("datastore copy --to {to_file}"));
    assert!(copied.contains("1 IPPool, 1 Node, 3 Tier"), "{copied}");
    assert!(user.good(&format!("get nodes -c {to_file}")).contains("n1"));
    assert!(user.good("get clusterinformation").contains("true"), "it is unlocked again");
    let refused = user.run(&format!("datastore copy -c {to_file} --to {to_kubernetes}"));
    refused.says(&["nothing can be copied into Kubernetes", "migrate export"]);
}
