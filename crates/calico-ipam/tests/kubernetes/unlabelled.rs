//! Affinities that old releases of Calico wrote, without the labels by which a host's affinities are found.

use serde_json::{Value as Json, json};

use crate::fixture::{Cluster, GROUP, Host, PLUGIN, TRAINEE, cluster, node, pool};

const LABELS: [&str; 3] = ["affinity-type", "hostname-hash", "ip-version"];

fn affinities() -> String {
    format!("blockaffinities.{GROUP}")
}

/// Removes the labels from all affinities.
fn strip(cluster: &Cluster) {
    let labels = LABELS.map(|label| format!("projectcalico.org/{label}-"));
    let affinities = affinities();
    let mut arguments = vec!["label", &affinities, "--all"];
    arguments.extend(labels.iter().map(String::as_str));
    cluster.kubectl(&arguments);
}

/// How many labels each affinity has, by its object's name.
fn labels(cluster: &Cluster) -> Vec<(String, usize)> {
    let affinities = cluster.objects("blockaffinities");
    let count = |affinity: &Json| {
        let labels = &affinity["metadata"]["labels"];
        LABELS.iter().filter(|label| labels[format!("projectcalico.org/{label}")].is_string()).count()
    };
    affinities.iter().map(|a| (a["metadata"]["name"].as_str().unwrap().to_string(), count(a))).collect()
}

/// Recorded in 034-unlabelled-affinities.
#[test]
fn an_address_by_name_labels_them_once() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1"), node("n2"), pool("p", "10.10.0.0/24", json!({}))]);
    let (host, other) = (Host::new(&cluster, "n1", PLUGIN), Host::new(&cluster, "n2", PLUGIN));
    assert_eq!(host.run("ADD", "c1").addresses(), ["10.10.0.224/28"]);
    assert_eq!(other.run("ADD", "c2").addresses().len(), 1);
    strip(&cluster);
    // The block still belongs to the host.
    assert_eq!(host.run("ADD", "c3").addresses(), ["10.10.0.225/28"]);
    let before = labels(&cluster);
    assert!(before.len() == 2 && before.iter().all(|(_, labels)| *labels == 0), "{before:?}");

    assert_eq!(host.run_with("ADD", "c4", "IP=10.10.0.250").addresses(), ["10.10.0.250/32"]);
    let after = labels(&cluster);
    assert_eq!(after.len(), 3, "{after:?}");
    for (name, labels) in &after {
        assert_eq!(*labels, if name.starts_with("n1-") { 3 } else { 0 }, "{after:?}");
    }
    let mark = host.dir.path().join("run/cni/ipam_upgraded");
    assert!(mark.exists());

    // The labels were added once, and are not added again before the next boot.
    strip(&cluster);
    let (answer, requests) = cluster.counted(|| host.run_with("ADD", "c5", "IP=10.10.0.251"));
    assert_eq!(answer.addresses().len(), 1);
    assert!(!requests.iter().any(|request| request.uri.contains("labelSelector=%21")), "{requests:?}");
    assert!(labels(&cluster).iter().all(|(_, labels)| *labels == 0));
    // After the next boot, which the missing file stands for, they are.
    std::fs::remove_file(&mark).unwrap();
    assert_eq!(host.run_with("ADD", "c6", "IP=10.10.0.252").addresses().len(), 1);
    assert_eq!(labels(&cluster).iter().map(|(_, labels)| labels).sum::<usize>(), 6);
}

#[test]
fn what_keeps_them_unlabelled_is_said() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1"), pool("p", "10.10.0.0/24", json!({}))]);
    let host = Host::new(&cluster, "n1", PLUGIN);
    assert_eq!(host.run("ADD", "c1").addresses().len(), 1);
    strip(&cluster);
    cluster.give_trainee("blockaffinities", &["get", "list"]);
    let host = Host::new(&cluster, "n1", TRAINEE);
    let message = host.run_with("ADD", "c2", "IP=10.10.0.250").says(&[
        r#"Give trainee a role with the rule {apiGroups: ["crd.projectcalico.org"], resources: ["blockaffinities"], verbs: ["update"]}"#,
    ]);
    assert!(message.starts_with("failed to upgrade IPAM database: "), "{message}");
    assert!(!host.dir.path().join("run/cni/ipam_upgraded").exists());
    assert_eq!(cluster.taken(), 1);
}
