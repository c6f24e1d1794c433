//! The roles in `deploy/rbac`: enough for their users, and no more.

use crate::fixture::{ADMINISTRATOR, READER, STRANGER, cluster};

const POOL: &str =
    "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: a}\nspec: {cidr: 10.0.0.0/24}\n";
const NODE: &str = r#"{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}"#;

#[test]
fn the_administrators_role_suffices() {
    let Some(cluster) = cluster() else { return };
    cluster.root().good("datastore init --ipv4-cidr none");
    let user = cluster.user(ADMINISTRATOR);
    cluster.kubectl(&["create", "-f", &user.file("node.yaml", NODE)]);
    assert_eq!(user.create(POOL).code, Some(0));
    for line in [
        "get ippool -o wide",
        "label ippool a rack=0",
        "label nodes n1 rack=0",
        "get nodes -o yaml",
        "get wep -A",
        "ipam configure --strictaffinity=true",
        "ipam show --show-blocks --show-borrowed --show-configuration",
        "datastore migrate lock",
        "ipam split 2 --name=a",
        "datastore migrate unlock",
        "delete ippool split-a-0",
    ] {
        user.good(line);
    }
    // Definitions are the cluster's administrator's.
    let refused = user.run("datastore init");
    refused.says(&["alice", "customresourcedefinitions", "apiextensions.k8s.io", "get"]);
}

#[test]
fn the_readers_role_reads() {
    let Some(cluster) = cluster() else { return };
    cluster.root().good("datastore init");
    let user = cluster.user(READER);
    for line in ["get ippool", "get nodes", "get wep -A", "ipam show --show-blocks", "version"] {
        user.good(line);
    }
    user.create(POOL).says(&["bob", "Give bob a role with the rule", "ippools", "verbs: [\"create\"]"]);
    user.run("ipam configure --strictaffinity=true").says(&["bob", "ipamconfigs", "verbs: [\"create\"]"]);
    cluster.user(STRANGER).run("get ippool").says(&["stranger", "clusterinformations", "verbs: [\"get\"]"]);
}
