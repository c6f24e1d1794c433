//! The roles in `deploy/rbac`: enough for their users, and no more.

use servers::kube_server::Differences;

use crate::fixture::{
    ADMINISTRATOR, BEGINNER, Cluster, OTHER_BEGINNER, OTHER_PURGER, READER, STRANGER, cluster,
};
use crate::purge::{OURS, collected, filled, workload};

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

/// Fails where a user has a right that none of its requests needed, or was refused one.
fn has_what_it_uses(cluster: &Cluster, user: &str) {
    let (rights, accesses) = (cluster.server.rights_of(user).unwrap(), cluster.server.accesses_of(user));
    assert!(!rights.is_empty());
    let Differences { unused, refused } = Differences::of(&rights, &accesses, "crd.projectcalico.org");
    let unused: Vec<String> = unused.iter().map(ToString::to_string).collect();
    assert_eq!(unused, [] as [&str; 0], "granted, and never used");
    let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
    assert_eq!(refused, [] as [&str; 0], "used, and not granted");
}

#[test]
fn the_role_for_init_holds_no_more_than_init_uses() {
    let Some(cluster) = cluster() else { return };
    let user = cluster.user(OTHER_BEGINNER);
    user.good("datastore init");
    // One that does not say whether the datastore may be used is told so.
    let silent = r#"[{"op": "remove", "path": "/spec/datastoreReady"}]"#;
    let information = "clusterinformations.crd.projectcalico.org";
    cluster.kubectl(&["patch", information, "default", "--type=json", "--patch", silent]);
    user.good("datastore init --ipv6-cidr fd00::/48");
    has_what_it_uses(&cluster, OTHER_BEGINNER);
}

#[test]
fn the_role_for_a_purge_holds_no_more_than_a_purge_uses() {
    let Some(cluster) = cluster() else { return };
    let root = cluster.root();
    filled(&cluster, &root);
    let more = "apiVersion: projectcalico.org/v3\nkind: IPReservation\nmetadata: {name: r}\nspec: {reservedCIDRs: [10.0.0.9/32]}\n---
apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata: {name: default}\nspec: {asNumber: 64512}\n---
apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: p}\nspec: {peerIP: 10.9.9.9, asNumber: 64512}\n---
apiVersion: projectcalico.org/v3\nkind: KubeControllersConfiguration\nmetadata: {name: default}\nspec: {controllers: {node: {}}}\n---
apiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: h}\nspec: {node: n1, interfaceName: eth0}\n";
    assert_eq!(root.create(more).code, Some(0));
    root.good("ipam configure --strictaffinity=true");
    let finalizers = r#"{"metadata": {"finalizers": ["projectcalico.org/ippool-finalizer"]}}"#;
    cluster.kubectl(&["patch", "ippools.crd.projectcalico.org", "a", "--type=merge", "--patch", finalizers]);
    for (kind, name) in OURS {
        let text = workload(kind, name).to_string();
        cluster.kubectl(&["create", "-f", &root.file("workload.json", &text)]);
    }
    let line = "datastore purge --confirm --in-use --stop --definitions";
    let ran = collected(&cluster, || cluster.user(OTHER_PURGER).run(line)).0;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    has_what_it_uses(&cluster, OTHER_PURGER);
}
