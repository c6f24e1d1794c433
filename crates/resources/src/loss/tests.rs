//! What counts as a use, and how it is told.

use serde_json::{Value as Json, json};
use store::strangers::StrangerKind;

use super::judge::{KINDS, has_mesh, needs_bgp, use_by};
use super::*;

fn kind(feature: Feature) -> StrangerKind {
    KINDS.into_iter().find(|(theirs, _)| *theirs == feature).unwrap().1
}

#[test]
fn objects_that_use_a_feature() {
    let object = |spec: Json| json!({"metadata": {"name": "default"}, "spec": spec});
    let told = |feature, spec| use_by(feature, kind(feature), &object(spec));
    let felix = |field: &str| Some(format!("felixconfigurations.projectcalico.org default ({field})"));
    assert_eq!(told(Feature::WireGuard, json!({"wireguardEnabled": true})), felix("wireguardEnabled"));
    assert_eq!(told(Feature::WireGuard, json!({"wireguardEnabledV6": true})), felix("wireguardEnabledV6"));
    assert_eq!(told(Feature::Ebpf, json!({"bpfEnabled": true})), felix("bpfEnabled"));
    for feature in [Feature::WireGuard, Feature::Ebpf] {
        assert_eq!(told(feature, json!({"bpfEnabled": false, "wireguardEnabled": "true"})), None);
        assert_eq!(told(feature, Json::Null), None);
    }
    let policy = json!({"metadata": {"name": "deny", "namespace": "prod"}});
    let wanted = "networkpolicies.projectcalico.org prod/deny";
    assert_eq!(use_by(Feature::Policy, kind(Feature::Policy), &policy).as_deref(), Some(wanted));
    // An object that cannot be read is there all the same.
    assert!(use_by(Feature::Bgp, kind(Feature::Bgp), &json!({})).is_some());
}

#[test]
fn when_the_mesh_counts() {
    let settings = |name: &str, spec: Json| json!({"metadata": {"name": name}, "spec": spec});
    let off = json!({"nodeToNodeMeshEnabled": false});
    for (list, wanted) in [
        (vec![], true),
        (vec![settings("default", json!({}))], true),
        (vec![settings("default", json!({"nodeToNodeMeshEnabled": true}))], true),
        (vec![settings("default", off.clone())], false),
        (vec![settings("node.n1", off)], true),
    ] {
        assert_eq!(has_mesh(&list), wanted, "{list:?}");
    }
    for (spec, wanted) in [
        (json!({"cidr": "10.0.0.0/8"}), true),
        (json!({"ipipMode": "Never", "vxlanMode": "Never"}), true),
        (json!({"ipipMode": "Always"}), true),
        (json!({"vxlanMode": "CrossSubnet"}), false),
        (json!({"vxlanMode": "Always"}), false),
        (json!({"disableBGPExport": true}), false),
        (json!({"allowedUses": ["LoadBalancer"]}), false),
        (json!({"allowedUses": ["Workload", "Tunnel"]}), true),
    ] {
        assert_eq!(needs_bgp(&json!({"spec": spec})), wanted, "{spec}");
    }
}

#[test]
fn five_are_named_and_the_others_counted() {
    let loss = |count: usize| {
        let objects = (0..count).map(|at| format!("p{at}")).collect();
        Loss { feature: Feature::Policy, objects }.to_string()
    };
    assert!(loss(1).starts_with("policy: p0. rackpool enforces no network policy"), "{}", loss(1));
    assert!(loss(5).starts_with("policy: p0, p1, p2, p3, p4. "), "{}", loss(5));
    assert!(loss(8).starts_with("policy: p0, p1, p2, p3, p4 and 3 more. "), "{}", loss(8));
}

#[test]
fn what_was_accepted_is_no_loss() {
    let loss = |feature| Loss { feature, objects: vec!["x".to_string()] };
    let unknown = |feature| Unknown { feature, what: "x".to_string(), reason: "forbidden".to_string() };
    let losses = Losses {
        found: vec![loss(Feature::Policy), loss(Feature::Bgp)],
        unknown: vec![unknown(Feature::Policy), unknown(Feature::HostEndpoint)],
    };
    assert_eq!(losses.words(), "policy,hostendpoint,bgp");
    let accepted: BTreeSet<Feature> = ["policy", "bgp"].iter().map(|word| word.parse().unwrap()).collect();
    let left = losses.clone().beyond(&accepted);
    assert_eq!((left.words().as_str(), left.is_empty()), ("hostendpoint", false));
    let all = losses.words().split(',').map(|word| word.parse().unwrap()).collect();
    assert!(losses.beyond(&all).is_empty());
    assert!(
        "Policy".parse::<Feature>().unwrap_err().to_string().contains("the words are policy, hostendpoint")
    );
    assert!(Feature::ALL.iter().all(|feature| feature.word().parse() == Ok(*feature)));
}
