//! Replays the recorded cases of Calico's plugin (`cni/cases.json`), except those that need Kubernetes.
//!
//! `RACKPOOL_RECORDINGS` names the folder of the recordings. A case that was recorded on Kubernetes is
//! replayed on an embedded store with the same pools and the same node. For that, only the configuration's
//! fields about the datastore are changed.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value as Json, json};

use crate::harness::{Answer, BINARY, Machine, finish, node, pool, read_json, recordings, spawn};

/// Cases that are not compared, with the reasons.
const LEFT_OUT: &[(&str, &str)] = &[
    ("version flag", "the version is our own"),
    ("container ID 'c_1.x-y'", "the recorded error is of names on Kubernetes; here the name is good"),
    ("network name 'a.b-c_d'", "the recorded error is of names on Kubernetes; here the name is good"),
    ("CNI_NETNS is this process's own namespace", "ours refuses before it assigns; see refusals.rs"),
    (
        "CNI_ARGS 'IgnoreUnknown=1;K8S_POD_NAME=a;K8S_POD_NAMESPACE=nope'",
        "needs Kubernetes, which is asked for the namespace",
    ),
    ("no nodename anywhere: OS host name test-host", "needs that host name"),
    ("nodename_file that does not exist", "needs that host name"),
    ("nodename file /var/lib/calico/nodename holding 'n1'", "needs a file of the system; see crate setup"),
    ("nodename file holding 'n1' and a newline", "ours trims; see crate setup"),
    ("nodename file and hostname field", "ours trims; see crate setup"),
    ("kubeconfig missing", "needs Kubernetes"),
    ("no kubernetes section", "needs Kubernetes"),
    ("API server not answering", "needs Kubernetes"),
    ("calico_api_group of the other group", "needs Kubernetes"),
    (
        "etcd unreachable, ADD",
        "the recorded one was stopped after 30 s; ours gives up before, see etcd/reach.rs",
    ),
    ("API server forbids everything (anonymous user), ADD", "needs Kubernetes"),
    ("API server forbids everything (anonymous user), DEL", "needs Kubernetes"),
];

/// The least number of recorded cases that must be found.
const LEAST: usize = 250;

fn cases() -> Option<Vec<Json>> {
    let file = recordings(LEAST)?.join("cni/cases.json");
    let cases: Vec<Json> = serde_json::from_value(read_json(&file)).unwrap();
    assert!(cases.len() >= LEAST, "{}", cases.len());
    Some(cases)
}

/// A machine with the contents of the recorded datastore.
fn machine() -> Machine {
    let all = json!(["Workload", "Tunnel"]);
    Machine::new(&[
        node("n1", json!({"rack": "0"})),
        pool("pool-a", "10.10.0.0/24", json!({"blockSize": 28, "allowedUses": all})),
        pool("pool-t", "10.30.0.0/24", json!({"allowedUses": ["Tunnel"]})),
        pool("pool-off", "10.40.0.0/24", json!({"allowedUses": all, "disabled": true})),
    ])
}

/// The recorded standard input, changed to use this test's store in place of Kubernetes. A text that is no
/// JSON, or that names another store, is not changed.
fn stdin(case: &Json, machine: &Machine) -> String {
    let text = case["stdin"].as_str().unwrap();
    let Ok(Json::Object(mut conf)) = serde_json::from_str(text) else { return text.to_string() };
    let other_store = conf.get("datastore_type").is_some_and(|name| name != "kubernetes");
    if other_store || !conf.contains_key("kubernetes") {
        return text.to_string();
    }
    conf.remove("kubernetes");
    conf.remove("policy");
    conf.insert("datastore_type".into(), "embedded".into());
    conf.insert("rackpool_db".into(), machine.db().to_str().unwrap().into());
    let lock = conf.get("ipam_lock_file").and_then(Json::as_str).unwrap_or("ipam.lock");
    let lock = machine.dir.path().join(lock).to_str().unwrap().to_string();
    conf.insert("ipam_lock_file".into(), lock.into());
    Json::Object(conf).to_string()
}

fn run(case: &Json, machine: &Machine) -> Answer {
    let mut program = Command::new(BINARY);
    program.env_clear().current_dir(machine.dir.path());
    for (name, value) in case["env"].as_object().unwrap() {
        program.env(name, value.as_str().unwrap());
    }
    program.args(case["args"].as_array().into_iter().flatten().map(|arg| arg.as_str().unwrap()));
    finish(spawn(&mut program, &stdin(case, machine)))
}

/// The recorded output. On Kubernetes, the error about a missing node contains a reason, which other stores
/// do not have, so it is removed.
fn wanted(case: &Json) -> String {
    let text = case["stdout"].as_str().unwrap();
    match (text.find(" with error: nodes "), text.find("not found\"")) {
        (Some(start), Some(end)) => {
            let end = end + "not found".len();
            format!("{} with error: \\u003cnil\\u003e{}", &text[..start], &text[end..])
        }
        _ => text.to_string(),
    }
}

/// The output without the details that say more than Calico's own line; Calico's errors of an allocation and
/// of a pool have none.
pub(crate) fn without_details(stdout: &str) -> String {
    const OURS: [&str; 3] = ["calicoctl ipam explain", "there is no IPPool", "is one of IPv"];
    match stdout.find("\n    \"details\": \"").map(|at| (at, &stdout[at + 1..])) {
        Some((at, rest)) if OURS.iter().any(|ours| rest.contains(ours)) => {
            let after = rest.find('\n').map(|end| &rest[end..]).unwrap_or_default();
            format!("{}{after}", stdout[..at].trim_end_matches(','))
        }
        _ => stdout.to_string(),
    }
}

/// The ordinals in use, by block. Blocks without any are left out, since stores differ in whether an empty
/// block stays.
fn taken(machine: &Machine) -> BTreeMap<String, Vec<u32>> {
    let blocks = machine.blocks().into_iter().map(|block| {
        let ordinals = (0..block.cidr.size()).filter(|ordinal| block.attribute(*ordinal).is_some());
        (block.cidr.to_string(), ordinals.collect::<Vec<_>>())
    });
    blocks.filter(|(_, ordinals)| !ordinals.is_empty()).collect()
}

#[test]
fn the_recorded_cases() {
    let Some(cases) = cases() else { return };
    let mut machine = machine();
    let (mut compared, mut left_out, mut wrong) = (0, Vec::new(), Vec::new());
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        if LEFT_OUT.iter().any(|(left_out, _)| *left_out == name) && case["after_previous_case"] != true {
            left_out.push(name);
            continue;
        }
        if case["after_previous_case"] != true && !machine.view().is_empty() {
            machine = self::machine();
        }
        let answer = run(case, &machine);
        compared += 1;
        if without_details(&answer.stdout) != wanted(case)
            || answer.code.map(Json::from) != Some(case["exit_code"].clone())
        {
            wrong.push(format!("{name}: {answer:?}\n   wanted {} and {:?}", case["exit_code"], wanted(case)));
        }
        if let Some(after) = case["allocations_after"].as_object() {
            // When a dual-stack ADD fails in one family, Calico leaves the other family's address assigned.
            // This program leaves nothing.
            let nothing = case["exit_code"] != 0 && case["after_previous_case"] != true;
            let after = if nothing { Default::default() } else { after.clone() };
            let numbers =
                |json: &Json| json.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect();
            let after: BTreeMap<String, Vec<u32>> =
                after.iter().map(|(block, ordinals)| (block.clone(), numbers(ordinals))).collect();
            let after: BTreeMap<_, _> =
                after.into_iter().filter(|(_, ordinals)| !ordinals.is_empty()).collect();
            if taken(&machine) != after {
                wrong.push(format!("{name}: left {:?}\n   wanted {after:?}", taken(&machine)));
            }
        }
        let stderr = case["stderr"].as_str().unwrap();
        let usage = stderr.contains("Usage of calico-ipam") || stderr.contains("CNI protocol versions");
        // The program's name is followed by its version, which the recorded output does not have.
        let ours = answer.stderr.replace(concat!("IPAM rackpool ", env!("CARGO_PKG_VERSION")), "IPAM ");
        if usage && ours != stderr {
            wrong.push(format!("{name}: {:?}\n   wanted {stderr:?}", answer.stderr));
        }
    }
    println!("{compared} compared, {} left out", left_out.len());
    let known: Vec<_> =
        LEFT_OUT.iter().map(|(name, _)| *name).filter(|name| !left_out.contains(name)).collect();
    assert!(known.is_empty(), "no such cases: {known:?}");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 200, "{compared}");
}
