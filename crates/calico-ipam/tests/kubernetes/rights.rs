//! The errors for users without the necessary rights: they name the missing right and the remedy.

use serde_json::json;

use crate::fixture::{GROUP, Host, PLUGIN, STRANGER, TRAINEE, cluster, node, pod, pool};

#[test]
fn a_wrong_token() {
    let Some(cluster) = cluster() else { return };
    let host = Host::new(&cluster, "n1", PLUGIN);
    let path = host.dir.path().join("wrong");
    let text = std::fs::read_to_string(cluster.server.kubeconfig_of(PLUGIN)).unwrap();
    std::fs::write(&path, text.replace(cluster.server.token(PLUGIN), "wrong")).unwrap();
    let host = host.with("kubernetes", json!({"kubeconfig": path}));
    let words = [
        cluster.server.endpoint(),
        "does not accept the credentials",
        "wrong or has expired",
        "Check the kubeconfig",
    ];
    let message = host.run_with("ADD", "c1", &pod("default", "a")).says(&words);
    assert!(message.starts_with("failed to get namespace default: "), "{message}");
    host.run_with("DEL", "c1", &pod("default", "a")).says(&words);
}

#[test]
fn no_rights_at_all() {
    let Some(cluster) = cluster() else { return };
    let host = Host::new(&cluster, "n1", STRANGER);
    host.run_with("ADD", "c1", &pod("default", "a")).says(&[
        "failed to get namespace default: ",
        r#"Give stranger a role with the rule {apiGroups: [""], resources: ["namespaces"], verbs: ["get"]}"#,
    ]);
    host.run_with("DEL", "c1", &pod("default", "a")).says(&[
        "Give stranger a role with the rule",
        GROUP,
        "ippools",
        "verbs: [\"list\"]",
    ]);
}

/// The missing right is noticed when something is written. No address stays assigned.
#[test]
fn one_right_too_few() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1"), pool("p", "10.0.0.0/16", json!({}))]);
    cluster.give_trainee("ipamblocks", &["get", "list", "create", "delete"]);
    // With the installed roles, the same request succeeds.
    assert_eq!(Host::new(&cluster, "n1", PLUGIN).run("ADD", "c1").addresses().len(), 1);
    let answer = Host::new(&cluster, "n1", TRAINEE).run("ADD", "c2");
    answer.says(&[r#"Give trainee a role with the rule {apiGroups: ["crd.projectcalico.org"], resources: ["ipamblocks"], verbs: ["update"]}"#]);
    assert_eq!((cluster.taken(), cluster.objects("ipamhandles").len()), (1, 1));
}

/// Another node has the pool's only block, and has not used it for long: it is given up for this one.
#[test]
fn the_role_suffices_to_take_over_an_empty_block() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1"), node("n2"), pool("p", "10.0.0.0/28", json!({}))]);
    let first = Host::new(&cluster, "n1", PLUGIN);
    assert_eq!(first.run("ADD", "c1").addresses().len(), 1);
    first.run("DEL", "c1");
    let long_ago = r#"{"spec": {"affinityClaimTime": "2026-01-01T00:00:00Z"}}"#;
    cluster.kubectl(&["patch", "ipamblocks", "10-0-0-0-28", "--type=merge", "--patch", long_ago]);
    assert_eq!(Host::new(&cluster, "n2", PLUGIN).run("ADD", "c2").addresses().len(), 1);
    let affinities = cluster.objects("blockaffinities");
    let owners: Vec<_> = affinities.iter().map(|affinity| &affinity["spec"]["node"]).collect();
    assert_eq!(owners, ["n2"]);
}

#[test]
fn resources_that_are_not_installed() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1")]);
    let host = Host::new(&cluster, "n1", PLUGIN).with("calico_api_group", json!("projectcalico.org/v3"));
    for command in ["ADD", "DEL"] {
        host.run_with(command, "c1", &pod("default", "a")).says(&[
            "in projectcalico.org/v3: Calico's custom resources are not installed there",
            "the manifests of deploy/crds",
            "CALICO_API_GROUP",
        ]);
    }
}
