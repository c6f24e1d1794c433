//! What objects say, how it is told, and which steps follow.

use serde_json::{Value as Json, json};

use super::judge;
use super::*;
use crate::loss::{Loss, Unknown};

fn object(name: &str, spec: Json) -> Json {
    json!({"metadata": {"name": name, "namespace": "kube-system"}, "spec": spec})
}

fn told(survey: &Survey) -> Vec<(&'static str, String)> {
    survey.findings.iter().map(|finding| (finding.code.word(), finding.objects.join("; "))).collect()
}

#[test]
fn words_are_told_apart_and_found_again() {
    let mut words: Vec<&str> = Code::ALL.into_iter().map(Code::word).collect();
    assert!(Code::ALL.into_iter().all(|code| Code::from_word(code.word()) == Some(code)));
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), Code::ALL.len());
    assert_eq!(Code::from_word("Policy"), None);
}

#[test]
fn what_objects_say() {
    let mut survey = Survey::default();
    let information = object("default", json!({"calicoVersion": "v3.30.1", "datastoreReady": false}));
    judge::cluster(&mut survey, &[object("other", json!({})), information], "v3.33.0");
    judge::pools(
        &mut survey,
        &[
            object("b", json!({"cidr": "10.1.0.0/16", "ipipMode": "Always", "vxlanMode": "Never"})),
            object(
                "a",
                json!({"cidr": "10.0.0.0/16", "vxlanMode": "CrossSubnet", "nodeSelector": "has(rack)"}),
            ),
            object("c", json!({"cidr": "10.2.0.0/24", "allowedUses": ["LoadBalancer"]})),
        ],
    );
    let felix =
        json!({"vxlanPort": 4790, "bpfEnabled": false, "logSeverityScreen": "Info", "mtuIfacePattern": "^e"});
    judge::felix(&mut survey, &[object("default", felix), object("node.n1", json!({}))]);
    judge::controllers(&mut survey, &[object("default", json!({"controllers": {"node": {}}}))]);
    let image = json!({"template": {"spec": {"containers": [{"image": "calico/kube-controllers:v3.30.1"}]}}, "replicas": 1});
    judge::programs(
        &mut survey,
        Code::Controllers,
        "deployments",
        &[object("calico-kube-controllers", image)],
    );
    judge::programs(
        &mut survey,
        Code::Typha,
        "deployments",
        &[object("calico-typha", json!({"replicas": 0}))],
    );
    assert_eq!(
        told(&survey),
        [
            ("loadbalancer", "IPPool c".to_string()),
            ("version", "v3.30.1 in the ClusterInformation, v3.33.0 here".to_string()),
            ("locked", "ClusterInformation default (datastoreReady)".to_string()),
            ("controllers", "Deployment kube-system/calico-kube-controllers".to_string()),
            ("ipip", "IPPool b".to_string()),
            (
                "felix-settings",
                "FelixConfiguration default (logSeverityScreen); FelixConfiguration default (mtuIfacePattern)".to_string()
            ),
            ("pools", "a 10.0.0.0/16; b 10.1.0.0/16; c 10.2.0.0/24".to_string()),
            ("leak-collection", "KubeControllersConfiguration default (leakGracePeriod 15m)".to_string()),
        ]
    );
    let pools: Vec<_> =
        survey.pools.iter().map(|pool| (&*pool.encapsulation, &*pool.node_selector)).collect();
    assert_eq!(pools, [("VXLAN CrossSubnet", "has(rack)"), ("IPIP Always", "all()"), ("none", "all()")]);
    let images: Vec<_> = survey.programs.iter().map(|program| &*program.image).collect();
    assert_eq!(images, ["calico/kube-controllers:v3.30.1", "without an image"]);
}

#[test]
fn settings_of_bgp_and_the_group() {
    let mut survey =
        Survey { api_version: Some("crd.projectcalico.org/v1".to_string()), ..Survey::default() };
    judge::group(&mut survey);
    let mesh = object("default", json!({"nodeToNodeMeshEnabled": true}));
    let plain =
        object("n0", json!({"bgp": {"ipv4Address": "10.0.0.1/24", "ipv4IPIPTunnelAddr": "10.1.0.1"}}));
    judge::bgp(&mut survey, std::slice::from_ref(&mesh), &[plain, object("n3", json!({}))]);
    assert_eq!(told(&survey), []);
    let settings = [
        mesh,
        object("node.n1", json!({"prefixAdvertisements": [], "listenPort": 1790})),
        json!({"metadata": {"name": "unreadable"}}),
    ];
    let nodes = [
        object("n2", json!({"bgp": {"asNumber": 64512, "ipv4Address": "10.0.0.2/24"}})),
        object("n1", json!({"bgp": {"routeReflectorClusterID": "244.0.0.1"}})),
    ];
    judge::bgp(&mut survey, &settings, &nodes);
    survey.api_version = Some("projectcalico.org/v3".to_string());
    judge::group(&mut survey);
    assert_eq!(
        told(&survey),
        [
            ("api-group", "projectcalico.org/v3".to_string()),
            (
                "bgp-settings",
                "BGPConfiguration node.n1 (listenPort); BGPConfiguration node.n1 (prefixAdvertisements); \
                 Node n1 (routeReflectorClusterID); Node n2 (asNumber)"
                    .to_string()
            ),
        ]
    );
    assert!(survey.lost_beyond(&[]).is_empty());
}

#[test]
fn what_is_unknown_counts_as_lost_until_it_is_accepted() {
    let mut survey = Survey::default();
    survey.take_losses(Losses {
        found: vec![Loss { feature: Feature::Bgp, objects: vec!["peer".to_string()] }],
        unknown: vec![Unknown {
            feature: Feature::Policy,
            what: "policies".to_string(),
            reason: "forbidden".to_string(),
        }],
    });
    survey.note(Code::LoadBalancer, vec!["IPPool c".to_string()]);
    // What is kept, and what changes, is no loss.
    survey.note(Code::Pools, vec!["a".to_string()]);
    survey.note(Code::Typha, vec!["t".to_string()]);
    let all = [Code::Loss(Feature::Policy), Code::Loss(Feature::Bgp), Code::LoadBalancer];
    assert_eq!(survey.lost_beyond(&[]), all);
    assert_eq!(survey.lost_beyond(&all[..2]), [Code::LoadBalancer]);
    assert!(survey.lost_beyond(&all).is_empty());
    let unread = survey.unread[0].to_string();
    assert_eq!(unread, "policies cannot be read (forbidden), so nobody knows whether policy is lost");
}

#[test]
fn steps_are_for_this_cluster() {
    assert_eq!(steps(&Survey::default()).len(), 1, "only where to read");
    let mut survey = Survey::default();
    let running = |name: &str, kind: &str| Program {
        object: format!("{kind} calico-system/{name}"),
        namespace: "calico-system".to_string(),
        name: name.to_string(),
        image: "i".to_string(),
    };
    survey.programs =
        vec![running("calico-node", "DaemonSet"), running("calico-kube-controllers", "Deployment")];
    for (code, object) in [
        (Code::NodeAgents, "DaemonSet calico-system/calico-node"),
        (Code::Controllers, "Deployment calico-system/calico-kube-controllers"),
        (Code::Operator, "Installation default"),
        (Code::Ipip, "IPPool b"),
        (Code::IpamProblems, "1"),
    ] {
        survey.note(code, vec![object.to_string()]);
    }
    let steps = steps(&survey);
    let begin = [
        "Mend what the check finds: calicoctl ipam check",
        "Give this pool VXLAN in the place of IPIP: calicoctl patch ippool b -p '{\"spec\":",
        "Let the operator stand still: kubectl scale deployment tigera-operator",
        "Controllers off: kubectl scale deployment calico-kube-controllers --namespace calico-system",
        "Keep Calico's agent off nodes with rackpool's label: kubectl patch daemonset calico-node --namespace calico-system --patch '{\"spec\":",
        "Node by node: kubectl label node NODE rackpool.io/agent=rackpool;",
        "docs/migrating-from-calico.md",
    ];
    assert_eq!(steps.len(), begin.len(), "{steps:#?}");
    for (step, begin) in steps.iter().zip(begin) {
        assert!(step.starts_with(begin), "{step}");
    }
}
