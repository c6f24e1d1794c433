//! Every endpoint's interface, present and missing, over time.

use api::Kind;
use serde_json::json;

use super::*;

fn endpoint(name: &str, spec: serde_json::Value) -> Resource {
    let json = json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec});
    Resource::from_json(Kind::WorkloadEndpoint, json).unwrap()
}

fn of_container(container: &str, interface: &str) -> Resource {
    let spec = json!({"node": "n1", "orchestrator": "cni", "containerID": container, "interfaceName": interface, "endpoint": "eth0"});
    endpoint(&format!("n1-cni-{container}-eth0"), spec)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_interface_must_be_missing_twice_with_a_grace_between() {
    let (one, two) = (of_container("c1", "cali1"), of_container("c2", "cali2"));
    let mut missing = Missing::default();
    let rows: [(u32, &[&str], &[&str]); 9] = [
        (0, &["cali1", "cali2"], &[]),
        (10, &["cali2"], &[]),
        (69, &["cali2"], &[]),
        // Seen once, just now.
        (70, &[], &["c1"]),
        // What is not given back is found again.
        (100, &[], &["c1"]),
        // An interface that came back begins anew.
        (129, &["cali1", "cali2"], &[]),
        (130, &[], &[]),
        (189, &[], &[]),
        (190, &[], &["c1", "c2"]),
    ];
    for (now, interfaces, wanted) in rows {
        let interfaces = interfaces.iter().map(|name| name.to_string()).collect();
        let found = gone("n1", [&one, &two], &interfaces, &mut missing, SECOND * now, GRACE);
        let found: Vec<_> = found.iter().map(|endpoint| endpoint.container.as_str()).collect();
        assert_eq!(found, wanted, "at {now}");
    }
}

/// A look is not enough even where no grace is wanted.
#[test]
fn one_look_gives_nothing_back() {
    let (one, mut missing) = (of_container("c1", "cali1"), Missing::default());
    let mut look =
        |now: u32| gone("n1", [&one], &BTreeSet::new(), &mut missing, SECOND * now, Duration::ZERO);
    assert_eq!((look(5).len(), look(5).len(), look(6).len()), (0, 0, 1));
}

/// The endpoint of a pod's or container's next life has the same name.
#[test]
fn another_container_begins_anew() {
    let mut missing = Missing::default();
    let mut look = |container: &str, now: u32| {
        let spec =
            json!({"node": "n1", "orchestrator": "cni", "containerID": container, "interfaceName": "cali1"});
        gone("n1", [&endpoint("n1-cni-x-eth0", spec)], &BTreeSet::new(), &mut missing, SECOND * now, GRACE)
            .len()
    };
    assert_eq!([look("c1", 0), look("c2", 60), look("c2", 119), look("c2", 120)], [0, 0, 0, 1]);
}

#[test]
fn what_is_not_the_agents_to_judge() {
    let base = json!({"node": "n1", "orchestrator": "cni", "containerID": "c1", "interfaceName": "cali1"});
    let with = |field: &str, value: &str| {
        let mut spec = base.clone();
        spec[field] = value.into();
        endpoint("e", spec)
    };
    let judged = |endpoint: &Resource| {
        let mut missing = Missing::default();
        let mut look =
            |now: u32| gone("n1", [endpoint], &BTreeSet::new(), &mut missing, SECOND * now, GRACE).len();
        look(0) + look(60)
    };
    assert_eq!(judged(&endpoint("e", base.clone())), 1);
    for (field, value) in
        [("node", "n2"), ("orchestrator", "k8s"), ("containerID", ""), ("interfaceName", "")]
    {
        assert_eq!(judged(&with(field, value)), 0, "{field} {value:?}");
    }
}
