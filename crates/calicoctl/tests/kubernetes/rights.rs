//! The roles in `deploy/rbac`: enough for their users, and no more.

use crate::fixture::{ADMINISTRATOR, BEGINNER, READER, STRANGER, cluster};

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
        "ipam check -o report.json",
        "ipam release --from-report report.json",
        "ipam split 2 --name=a",
        "datastore migrate unlock",
        "delete ippool split-a-0",
    ] {
        user.good(line);
    }
    // Only the cluster's administrator may create definitions.
    let refused = user.run("datastore init");
    refused.says(&["alice", "customresourcedefinitions", "apiextensions.k8s.io", "get"]);
}

#[test]
fn the_readers_role_reads() {
    let Some(cluster) = cluster() else { return };
    cluster.root().good("datastore init");
    let user = cluster.user(READER);
    let lines = [
        "get ippool",
        "get nodes",
        "get wep -A",
        "ipam show --show-blocks",
        "ipam check",
        "routes check",
        "version",
    ];
    for line in lines {
        user.good(line);
    }
    // Everything that the preflight looks at may be read.
    assert!(user.good("datastore preflight -o json").contains("\"unknown\": []"));
    user.create(POOL).says(&["bob", "Give bob a role with the rule", "ippools", "verbs: [\"create\"]"]);
    user.run("ipam configure --strictaffinity=true").says(&["bob", "ipamconfigs", "verbs: [\"create\"]"]);
    cluster.user(STRANGER).run("get ippool").says(&["stranger", "clusterinformations", "verbs: [\"get\"]"]);
}

#[test]
fn the_role_for_init_suffices_for_init() {
    let Some(cluster) = cluster() else { return };
    let user = cluster.user(BEGINNER);
    for _ in 0..2 {
        user.good("datastore init");
        user.good("datastore init --ipv6-cidr fd00::/48");
    }
    assert!(cluster.root().good("get ippool").contains("default-ipv6-ippool"));
    user.run("delete ippool default-ipv6-ippool").says(&["carol", "ippools"]);
    user.run("ipam configure --strictaffinity=true").says(&["carol", "ipamconfigs"]);
    user.run("get nodes").says(&["carol", "nodes"]);
}

#[test]
fn the_plugins_roles_hold_no_more_than_they_use() {
    let Some(cluster) = cluster() else { return };
    cluster.root().good("datastore init");
    let may = |account: &str, verb: &str, resource: &str| {
        let user = format!("--as=system:serviceaccount:kube-system:{account}");
        let output = cluster.server.kubectl(&["auth", "can-i", verb, resource, &user]).output().unwrap();
        match String::from_utf8(output.stdout).unwrap().trim() {
            "yes" => true,
            "no" => false,
            other => panic!("{account} {verb} {resource}: {other}"),
        }
    };
    let clusterinformations = "clusterinformations.crd.projectcalico.org";
    assert!(may("calico", "get", clusterinformations), "it looks whether the datastore is locked");
    assert!(!may("calico-ipam", "get", clusterinformations));
    for account in ["calico", "calico-ipam"] {
        assert!(may(account, "get", "ippools.crd.projectcalico.org"), "{account}");
        assert!(!may(account, "create", "ippools.crd.projectcalico.org"), "{account}");
        assert!(!may(account, "list", "pods"), "{account}");
        assert!(!may(account, "get", "secrets"), "{account}");
    }
}
