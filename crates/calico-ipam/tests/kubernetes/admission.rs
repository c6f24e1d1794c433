//! Objects that the cluster's admission rules refuse.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::fixture::{GROUP, Host, PLUGIN, cluster, node, pool};

#[test]
fn a_policy_that_refuses_a_handle() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1"), pool("p", "10.0.0.0/16", json!({}))]);
    let host = Host::new(&cluster, "n1", PLUGIN);
    assert_eq!(host.run("ADD", "c1").addresses().len(), 1);
    let api_version = "admissionregistration.k8s.io/v1";
    let rule = json!({"apiGroups": [GROUP], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["ipamhandles"]});
    let policy = json!({"apiVersion": api_version, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "no-unwanted"},
        "spec": {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "!object.spec.handleID.contains('unwanted')", "message": "nobody wants this container"}]}});
    let binding = json!({"apiVersion": api_version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "no-unwanted"},
        "spec": {"policyName": "no-unwanted", "validationActions": ["Deny"]}});
    cluster.apply(&[policy, binding]);
    let mut refused = None;
    // The API server applies a new policy only some time later.
    for at in 0..200 {
        let container = format!("unwanted{at}");
        let answer = host.run("ADD", &container);
        if answer.code != Some(0) {
            refused = Some(answer);
            break;
        }
        assert_eq!(host.run("DEL", &container).code, Some(0));
        thread::sleep(Duration::from_millis(50));
    }
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        cluster.kubectl(&["delete", kind, "no-unwanted"]);
    }
    refused.unwrap().says(&["no-unwanted", "nobody wants this container", "must let", "ipamhandles"]);
    // No address stays assigned to the refused container.
    assert_eq!((cluster.taken(), cluster.objects("ipamhandles").len()), (1, 1));
}
