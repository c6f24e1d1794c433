//! What a failed ADD tells: the owner of the pod what is his, the log of the node the rest.

use serde_json::{Value as Json, json};

use crate::harness::{Answer, Machine, node, pool};

const POD: &str = "IgnoreUnknown=1;K8S_POD_NAMESPACE=web;K8S_POD_NAME=a";

/// Message and details of a failed ADD, as runtimes join them for events; and the log.
fn event(answer: &Answer) -> (String, String) {
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let json = answer.json();
    let text = |field: &str| json[field].as_str().unwrap_or_default().to_string();
    (format!("{}; {}", text("msg"), text("details")), answer.stderr.clone())
}

fn add(machine: &Machine, container: &str, changes: Json) -> (String, String) {
    event(&machine.run_with("ADD", container, POD, &machine.conf(changes)))
}

/// Checks the event of an ADD that fails several times.
fn check(machine: &Machine, changes: Json, begins: &str, holds: &[&str]) -> (String, String) {
    let (told, log) = add(machine, "c1", changes.clone());
    assert!(told.len() <= 512, "{} bytes: {told}", told.len());
    assert!(told.starts_with(begins), "{told}");
    for part in holds {
        assert!(told.contains(part), "{part:?} is not in {told:?}");
    }
    for container in ["c1", "c2"] {
        assert_eq!(add(machine, container, changes.clone()).0, told, "events fold only if they are the same");
    }
    (told, log)
}

#[test]
fn full_pools_are_named_with_their_sizes() {
    let machine = Machine::new(&[
        node("n1", json!({"rack": "0"})),
        pool("rack-0", "10.0.0.0/29", json!({"blockSize": 29, "nodeSelector": "rack == '0'"})),
        pool("rack-1", "10.0.1.0/24", json!({"nodeSelector": "rack == 'secret'"})),
    ]);
    for n in 0..8 {
        assert_eq!(machine.run("ADD", &format!("first-{n}"), "").addresses().len(), 1);
    }
    let begins = "failed to request IPv4 addresses: Assigned 0 out of 1 requested IPv4 addresses; No IPs available in pools: [10.0.0.0/29]; ";
    let holds = [
        "rack-0 10.0.0.0/29 (8 addresses)",
        "add a pool",
        "calicoctl ipam explain --node n1 --namespace web",
    ];
    let (told, log) = check(&machine, json!({}), begins, &holds);
    for hidden in ["rack-1", "secret"] {
        assert!(!told.contains(hidden), "{hidden} is in {told:?}");
        assert!(log.contains(hidden), "{hidden} is not in {log:?}");
    }
}

#[test]
fn selectors_and_labels_of_others_stand_in_the_log_alone() {
    let machine = Machine::new(&[
        node("n1", json!({"rack": "hidden-rack"})),
        pool("pool-of-others", "10.0.0.0/24", json!({"nodeSelector": "rack == 'hidden-place'"})),
    ]);
    let holds = [
        "none of 1 enabled IPv4 pools is for node n1 and namespace web",
        "label the node",
        "calicoctl ipam explain",
    ];
    let (told, log) = check(&machine, json!({}), "no configured Calico pools for node n1; ", &holds);
    for hidden in ["pool-of-others", "hidden-rack", "hidden-place"] {
        assert!(!told.contains(hidden), "{hidden} is in {told:?}");
        assert!(log.contains(hidden), "{hidden} is not in {log:?}");
    }
}

#[test]
fn other_reasons_have_other_remedies() {
    let machine = |documents: &[Json]| Machine::new(documents);
    let n1 = || node("n1", json!({}));
    let off = pool("off", "10.0.0.0/24", json!({"disabled": true}));
    let rows: [(Machine, Json, &str, &[&str]); 9] = [
        (machine(&[n1()]), json!({}), "cannot find a qualified ippool; ", &["there is no IPv4 pool"]),
        (
            machine(&[n1(), off.clone()]),
            json!({}),
            "cannot find a qualified ippool; ",
            &["none of 1 IPv4 pools is enabled"],
        ),
        (
            machine(&[n1(), off, pool("on", "10.1.0.0/24", json!({}))]),
            json!({"ipam": {"type": "calico-ipam", "ipv4_pools": ["10.0.0.0/24"]}}),
            "the given pool (10.0.0.0/24) does not exist, or is not enabled; ",
            &["the pool off 10.0.0.0/24, which is asked for, is disabled"],
        ),
        (
            machine(&[n1(), pool("on", "10.1.0.0/16", json!({}))]),
            json!({"ipam": {"type": "calico-ipam", "ipv4_pools": ["10.1.1.0/24"]}}),
            "the given pool (10.1.1.0/24) does not exist, or is not enabled; ",
            &[
                "10.1.1.0/24, which is asked for, is a part of the pool on 10.1.0.0/16: ask for the whole pool",
            ],
        ),
        (
            machine(&[n1(), pool("on", "10.1.0.0/16", json!({}))]),
            json!({"ipam": {"type": "calico-ipam", "ipv4_pools": ["onn"]}}),
            "error parsing pool \"onn\": invalid CIDR address: onn; ",
            &["there is no IPPool \"onn\"; there are on"],
        ),
        (
            machine(&[node("node-1", json!({}))]),
            json!({"nodename": "nide-1"}),
            "resource does not exist: Node(nide-1) with error: <nil>; ",
            &["did you mean node-1?"],
        ),
        (
            machine(&[n1(), pool("tunnels", "10.0.0.0/24", json!({"allowedUses": ["Tunnel"]}))]),
            json!({}),
            "cannot find a qualified ippool, no pools match the required use (Workload); ",
            &["do not allow the use Workload"],
        ),
        (
            machine(&[n1(), pool("four", "10.0.0.0/24", json!({}))]),
            json!({"ipam": {"type": "calico-ipam", "assign_ipv6": "true"}}),
            "cannot find a qualified ippool; ",
            &["there is no IPv6 pool", "--family 6"],
        ),
        (machine(&[]), json!({}), "resource does not exist: Node(n1) with error: <nil>; ", &["nodename"]),
    ];
    for (machine, changes, begins, holds) in rows {
        check(&machine, changes, begins, holds);
    }
}

#[test]
fn many_pools_with_long_names_stay_within_the_bounds() {
    let mut documents = vec![node("n1", json!({}))];
    let long = |n: usize| format!("pool-{n}-{}", "x".repeat(60));
    documents.extend((0..60).map(|n| pool(&long(n), &format!("10.0.{n}.0/32"), json!({"blockSize": 32}))));
    let spec = json!({"reservedCIDRs": ["10.0.0.0/8"]});
    documents.push(json!({"kind": "IPReservation", "metadata": {"name": "all"}, "spec": spec}));
    let machine = Machine::new(&documents);
    let (told, _) = check(
        &machine,
        json!({}),
        "failed to request IPv4 addresses: ",
        &["calicoctl ipam explain --node n1"],
    );
    assert!(told.contains("pool-0-x"), "{told}");
}

#[test]
fn the_holder_of_an_address_stands_in_the_log_alone() {
    let machine = Machine::new(&[node("n1", json!({})), pool("four", "10.0.0.0/24", json!({}))]);
    let of_another = "IgnoreUnknown=1;K8S_POD_NAMESPACE=hidden-team;K8S_POD_NAME=b;IP=10.0.0.7";
    assert_eq!(machine.run("ADD", "other", of_another).addresses(), ["10.0.0.7/32"]);
    let (told, log) = event(&machine.run("ADD", "c1", &format!("{POD};IP=10.0.0.7")));
    assert!(
        told.starts_with("resource already exists: 10.0.0.7 with error: Address already assigned in block; "),
        "{told}"
    );
    assert!(told.contains("calicoctl ipam explain --ip 10.0.0.7") && !told.contains("hidden-team"), "{told}");
    assert!(log.contains("hidden-team") && log.contains("net.other"), "{log}");
}

#[test]
fn an_address_without_a_pool_is_told_as_such() {
    let machine = Machine::new(&[
        node("n1", json!({})),
        pool("off", "10.0.0.0/24", json!({"disabled": true})),
        pool("on", "10.1.0.0/24", json!({})),
    ]);
    let words = "The provided IP address is not in a configured pool\n; ";
    for (addr, why) in [
        ("10.0.0.7", "10.0.0.7, which is asked for, is in the pool off 10.0.0.0/24, which is disabled; "),
        ("10.9.0.7", "no pool contains 10.9.0.7, which is asked for; "),
    ] {
        let (told, _) = event(&machine.run("ADD", "c1", &format!("{POD};IP={addr}")));
        assert!(told.starts_with(&format!("{words}{why}")), "{told}");
    }
}

/// They are given, as Calico gives them.
#[test]
fn what_is_asked_for_by_name_in_another_rack_is_warned_of() {
    let machine = Machine::new(&[
        node("n1", json!({"rack": "0"})),
        pool("rack-0", "10.0.0.0/24", json!({"nodeSelector": "rack == '0'"})),
        pool("rack-1", "10.1.0.0/24", json!({"nodeSelector": "rack == '1'"})),
    ]);
    let warning =
        "the pool rack-1 10.1.0.0/24 was asked for by name, and its nodeSelector leaves the node n1 out";
    let named = machine.conf(json!({"ipam": {"type": "calico-ipam", "ipv4_pools": ["rack-1"]}}));
    for (container, args, conf, is_warned) in [
        ("c1", String::new(), machine.conf(json!({})), false),
        ("c2", "IgnoreUnknown=1;IP=10.1.0.77".to_string(), machine.conf(json!({})), true),
        ("c3", String::new(), named, true),
    ] {
        let answer = machine.run_with("ADD", container, &args, &conf);
        assert_eq!(answer.addresses().len(), 1, "{answer:?}");
        assert_eq!(answer.stderr.contains(warning), is_warned, "{answer:?}");
    }
}

#[test]
fn settings_without_effect_are_told_in_the_log() {
    let machine = Machine::new(&[node("n1", json!({})), pool("four", "10.0.0.0/24", json!({}))]);
    let ipam = |more: Json| {
        let mut ipam = json!({"type": "calico-ipam"});
        ipam.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        machine.conf(json!({"ipam": ipam}))
    };
    for (n, (conf, told)) in [
        (ipam(json!({"ipv6_pools": ["fd00::/64"]})), "the pools of IPv6 that the network configuration"),
        (ipam(json!({"assign_ipv6": "TRUE"})), r#"ipam.assign_ipv6 is "TRUE", and counts as "false""#),
        (ipam(json!({"assign_ipv4": "False"})), r#"ipam.assign_ipv4 is "False", and counts as "true""#),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = machine.run_with("ADD", &format!("c{n}"), "", &conf);
        assert!(answer.code == Some(0) && answer.stderr.contains(told), "{answer:?}");
    }
}

/// Whatever a tenant writes, there is room for it in an event.
#[test]
fn long_words_of_a_tenant_stay_within_the_bounds() {
    let machine = Machine::new(&[node("n1", json!({})), pool(&"p".repeat(200), "10.0.0.0/24", json!({}))]);
    for pools in [json!(["z".repeat(9_000)]), json!(["é".repeat(4_000)]), json!([""])] {
        let conf = machine.conf(json!({"ipam": {"type": "calico-ipam", "ipv4_pools": pools}}));
        let (told, _) = event(&machine.run_with("ADD", "c1", POD, &conf));
        assert!(told.len() <= 512, "{} bytes: {told}", told.len());
    }
}
