//! Custom resources that were made with kubectl and cannot be read: other requests go on, and the log names
//! each of the resources.

use serde_json::{Value as Json, json};

use crate::fixture::{GROUP, Host, PLUGIN, cluster, node, pool};

fn object(kind: &str, name: &str, spec: Json) -> Json {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// The schema of the group `crd.projectcalico.org` does not check selectors.
#[test]
fn one_bad_object_stops_nothing() {
    let Some(cluster) = cluster() else { return };
    let mut affinity = object(
        "BlockAffinity",
        "n1-10-0-0-96-28",
        json!({"cidr": "10.0.0.0/99", "node": "n1", "type": "host", "state": "confirmed", "deleted": "false"}),
    );
    affinity["metadata"]["labels"] = json!({
        "projectcalico.org/affinity-type": "host", "projectcalico.org/ip-version": "4",
        "projectcalico.org/hostname-hash": api::crd::host_hash("n1"),
    });
    cluster.apply(&[
        node("n1"),
        pool("p", "10.0.0.0/24", json!({})),
        object("IPPool", "rack-7", json!({"cidr": "10.73.0.0/24", "nodeSelector": "rack == 1"})),
        object("IPPool", "odd", json!({"cidr": "10.74.0.0/24", "namespaceSelector": "a =="})),
        affinity,
    ]);
    let host = Host::new(&cluster, "n1", PLUGIN);
    let added = host.run("ADD", "c1");
    assert!(added.addresses()[0].starts_with("10.0.0."), "{added:?}");
    for word in [
        "IPPool(rack-7): spec.nodeSelector: 'rack == 1'",
        "values are in quotes",
        "IPPool(odd): spec.namespaceSelector",
        "BlockAffinity(n1-10-0-0-96-28)",
    ] {
        assert!(added.stderr.contains(word), "{word}: {}", added.stderr);
    }
    assert_eq!(host.run("DEL", "c1").code, Some(0));
    assert_eq!(cluster.taken(), 0);
}

/// One object has another block's name, and one lacks an entry of its list. Neither is used.
#[test]
fn a_doubtful_block_is_left_alone() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1"), pool("p", "10.0.0.0/24", json!({}))]);
    let host = Host::new(&cluster, "n1", PLUGIN);
    let first = host.run("ADD", "c1").addresses().remove(0);
    let block = cluster.objects("ipamblocks").remove(0);
    let name = block["metadata"]["name"].as_str().unwrap().to_string();
    let mut doubtful = object("IPAMBlock", &name, block["spec"].clone());
    doubtful["metadata"]["resourceVersion"] = block["metadata"]["resourceVersion"].clone();
    doubtful["spec"]["allocations"].as_array_mut().unwrap().remove(3);
    cluster.replace(&doubtful);
    let second = host.run("ADD", "c2");
    assert_ne!(second.addresses()[0], first);
    for word in [&format!("IPAMBlock({name})")[..], "spec.allocations"] {
        assert!(second.stderr.contains(word), "{word}: {}", second.stderr);
    }
    host.run("DEL", "c1").says(&[&format!("IPAMBlock({name})"), "spec.allocations"]);
    assert_eq!(host.run("DEL", "c2").code, Some(0));
    doubtful["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    doubtful["spec"] = block["spec"].clone();
    doubtful["spec"]["cidr"] = json!("10.0.7.0/28");
    cluster.replace(&doubtful);
    let third = host.run("ADD", "c3");
    assert_eq!(third.addresses().len(), 1, "{third:?}");
    assert!(third.stderr.contains("spec.cidr"), "{}", third.stderr);
    assert_ne!(third.addresses()[0], first);
}

#[test]
fn what_is_refused_names_the_object() {
    let Some(cluster) = cluster() else { return };
    let labels = json!({"projectcalico.org/labels": "{"});
    let mut labelled = node("n2");
    labelled["metadata"]["annotations"] = labels;
    cluster.apply(&[node("n1"), labelled, pool("p", "10.0.0.0/24", json!({}))]);
    Host::new(&cluster, "n2", PLUGIN).run("ADD", "c1").says(&["Node(n2)", "projectcalico.org/labels"]);
    let host = Host::new(&cluster, "n1", PLUGIN);
    assert_eq!(host.run("ADD", "c1").addresses().len(), 1);
    assert_eq!(host.run("DEL", "c1").code, Some(0));
}
