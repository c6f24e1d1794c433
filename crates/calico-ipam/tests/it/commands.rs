//! ADD and DEL that succeed, and the records that they leave.

use std::process::Command;

use serde_json::json;

use crate::harness::{BINARY, Machine, addr, finish, node, pool, spawn};

fn machine() -> Machine {
    Machine::new(&[
        node("n1", json!({"rack": "0"})),
        node("n2", json!({"rack": "1"})),
        pool("rack-0", "10.0.0.0/24", json!({"nodeSelector": "rack == \"0\""})),
        pool("rack-1", "10.0.1.0/24", json!({"nodeSelector": "rack == \"1\""})),
        pool("six", "fd00::/64", json!({})),
    ])
}

#[test]
fn an_address_is_assigned_and_released() {
    let machine = machine();
    let pod = "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=p";
    let added = machine.run("ADD", "c1", pod);
    let given = &added.addresses()[0];
    assert!(given.starts_with("10.0.0.") && given.ends_with("/26"), "{given}");
    assert_eq!(added.json()["routes"], json!([{"dst": given}]));
    assert!(
        added.stdout.starts_with("{\n    \"cniVersion\": \"1.0.0\",\n    \"ips\": [\n"),
        "{}",
        added.stdout
    );
    assert!(added.stdout.ends_with('}') && added.stderr.is_empty(), "{added:?}");

    let block = &machine.blocks()[0];
    assert_eq!(block.affinity.as_deref(), Some("host:n1"));
    let attribute = block.attribute(block.cidr.ordinal(addr(given)).unwrap()).unwrap();
    assert_eq!(attribute.handle(), Some("net.c1"));
    let keys: Vec<_> = attribute.owner.keys().map(String::as_str).collect();
    assert_eq!(keys, ["namespace", "node", "pod", "timestamp"]);
    assert_eq!((attribute.owner["node"].as_str(), attribute.owner["pod"].as_str()), ("n1", "p"));
    assert!(attribute.owner["timestamp"].ends_with(" +0000 UTC"));

    let released = machine.run("DEL", "c1", pod);
    assert_eq!((released.code, released.stdout.as_str()), (Some(0), ""), "{released:?}");
    assert!(machine.taken().is_empty() && machine.counted().is_empty());
    let again = machine.run("DEL", "c1", pod);
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), ""), "{again:?}");
}

/// The handle is lost. The address is found where the runtime repeats what ADD answered, and where it does
/// not, or what it says makes no sense, the DEL succeeds as before.
#[test]
fn an_address_whose_handle_is_lost_is_released() {
    let machine = machine();
    let given = machine.run("ADD", "c1", "").addresses();
    machine.delete("/calico/ipam/v2/handle/net.c1");
    for (prev_result, left) in [
        (json!(null), 1),
        (json!({"ips": "10.0.0.1"}), 1),
        (json!({"ips": [{"address": 7}, {"address": "x/26"}, {}, {"address": "10.9.0.1/26"}]}), 1),
        (json!({"ips": [{"address": given[0]}]}), 0),
    ] {
        let conf = machine.conf(json!({"prevResult": prev_result}));
        let released = machine.run_with("DEL", "c1", "", &conf);
        assert_eq!(released.code, Some(0), "{released:?}");
        assert_eq!(machine.taken().len(), left, "{prev_result}");
        assert!(machine.handles().is_empty());
    }
}

#[test]
fn the_node_decides_the_pool() {
    let machine = machine();
    let given = machine.run_with("ADD", "c1", "", &machine.conf(json!({"nodename": "n2"}))).addresses();
    assert!(given[0].starts_with("10.0.1."), "{given:?}");
}

#[test]
fn a_second_add_is_a_second_address_and_one_del_releases_both() {
    let machine = machine();
    let (first, second) =
        (machine.run("ADD", "c1", "").addresses(), machine.run("ADD", "c1", "").addresses());
    assert_ne!(first, second);
    assert_eq!(machine.counted()["net.c1"], 2);
    assert_eq!(machine.run("DEL", "c1", "").code, Some(0));
    assert!(machine.taken().is_empty() && machine.counted().is_empty());
}

#[test]
fn an_explicit_address() {
    let machine = machine();
    assert_eq!(machine.run("ADD", "c1", "IP=10.0.1.77").addresses(), ["10.0.1.77/32"]);
    assert_eq!(machine.run("ADD", "c2", "IP=fd00::5").addresses(), ["fd00::5/128"]);
    let (code, msg) = machine.run("ADD", "c3", "IP=10.0.1.77").error();
    assert_eq!(
        (code, msg.as_str()),
        (999, "resource already exists: 10.0.1.77 with error: Address already assigned in block")
    );
    assert_eq!(machine.run("DEL", "c1", "IP=10.0.1.1").code, Some(0));
    assert_eq!(machine.taken().into_keys().collect::<Vec<_>>(), [addr("fd00::5")]);
}

#[test]
fn both_families() {
    let machine = machine();
    let both = machine.conf(json!({"ipam": {"assign_ipv6": "true"}}));
    let given = machine.run_with("ADD", "c1", "", &both).addresses();
    assert_eq!(given.len(), 2);
    assert!(given[0].ends_with("/26") && given[1].ends_with("/122"), "{given:?}");
    assert_eq!(machine.counted()["net.c1"], 2);

    let six =
        machine.conf(json!({"cniVersion": "0.2.0", "ipam": {"assign_ipv4": "false", "assign_ipv6": "true"}}));
    let answer = machine.run_with("ADD", "c2", "", &six).json();
    assert!(answer["ip6"]["ip"].as_str().unwrap().starts_with("fd00::"), "{answer}");
    assert_eq!((answer.get("ip4"), &answer["dns"]), (None, &json!({})));

    let neither = machine.conf(json!({"ipam": {"assign_ipv4": "false"}}));
    assert_eq!(machine.run_with("ADD", "c3", "", &neither).json(), json!({"cniVersion": "1.0.0"}));
}

/// One family has no pool, or its pool is full: the other family's address must be released. Both families
/// are tried.
#[test]
fn half_a_success_does_not_stay() {
    let machine = Machine::new(&[
        node("n1", json!({})),
        pool("four", "10.0.0.0/30", json!({"blockSize": 30})),
        pool("six", "fd00::/126", json!({"blockSize": 126})),
    ]);
    let before = || (machine.taken(), machine.counted());
    let both = machine.conf(json!({"ipam": {"assign_ipv6": "true"}}));
    let six = machine.conf(json!({"ipam": {"assign_ipv4": "false", "assign_ipv6": "true"}}));
    for n in 0..4 {
        machine.run_with("ADD", &format!("six-{n}"), "", &six).addresses();
    }
    let state = before();
    let (code, msg) = machine.run_with("ADD", "c1", "", &both).error();
    assert_eq!(code, 999);
    assert!(
        msg.starts_with("failed to request IPv6 addresses: Assigned 0 out of 1 requested IPv6 addresses"),
        "{msg}"
    );
    assert_eq!(before(), state);
    let pools = machine.conf(json!({"ipam": {"assign_ipv6": "true", "ipv6_pools": ["fd99::/64"]}}));
    let (_, msg) = machine.run_with("ADD", "c1", "", &pools).error();
    assert_eq!(msg, "the given pool (fd99::/64) does not exist, or is not enabled");
    assert_eq!(before(), state);
}

#[test]
fn pools_by_name_and_by_cidr() {
    let machine = machine();
    for (n, pools) in
        [json!(["rack-1"]), json!(["10.0.1.0/24"]), json!(["10.0.1.9/24"])].into_iter().enumerate()
    {
        let conf = machine.conf(json!({"ipam": {"ipv4_pools": pools}}));
        let given = machine.run_with("ADD", &format!("c{n}"), "", &conf).addresses();
        assert!(given[0].starts_with("10.0.1."), "{given:?}");
    }
}

#[test]
fn the_log_says_what_is_asked_for_and_no_more() {
    let machine = machine();
    let conf = machine.conf(json!({"log_level": "Info", "policy": {"k8s_auth_token": "hidden"}}));
    let answer = machine.run_with("ADD", "c1", "", &conf);
    let given = &answer.addresses()[0];
    assert_eq!(answer.stderr.lines().count(), 1);
    assert!(
        answer.stderr.ends_with(&format!("[INFO] calico-ipam: assigned {given} to c1\n")),
        "{}",
        answer.stderr
    );
}

#[test]
fn without_the_hosts_lock_the_work_goes_on() {
    let machine = machine();
    let answer =
        machine.run_with("ADD", "c1", "", &machine.conf(json!({"ipam_lock_file": "/proc/nope/x.lock"})));
    assert_eq!(answer.addresses().len(), 1);
    assert!(
        answer.stderr.contains("going on without the host's lock /proc/nope/x.lock: "),
        "{}",
        answer.stderr
    );
}

#[test]
fn the_version_is_our_own() {
    let answer = finish(spawn(Command::new(BINARY).env_clear().arg("-v"), ""));
    let version = concat!("rackpool ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), version));
    let answer = finish(spawn(Command::new(BINARY).env_clear().env("CNI_COMMAND", "VERSION"), "{nope"));
    let versions = "{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\"]}\n";
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), versions));
}
