//! Calls that are refused: their error codes, and that they change nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value as Json, json};

use store::AnyStore;

use crate::harness::{BINARY, Machine, finish, node, pool, spawn, wait_for};

fn machine() -> Machine {
    Machine::new(&[node("n1", json!({})), pool("four", "10.0.0.0/24", json!({}))])
}

fn add(machine: &Machine, changes: Json) -> (i64, String) {
    machine.run_with("ADD", "c1", "", &machine.conf(changes)).error()
}

const ENV: [(&str, &str); 5] = [
    ("CNI_COMMAND", "ADD"),
    ("CNI_CONTAINERID", "c1"),
    ("CNI_NETNS", "/var/run/netns/x"),
    ("CNI_IFNAME", "eth0"),
    ("CNI_PATH", "/opt/cni/bin"),
];

#[test]
fn the_plugins_own_namespace_is_refused_before_anything_is_assigned() {
    let machine = machine();
    let conf = machine.conf(json!({})).to_string();
    let run = |command, more: &[(&str, &str)]| {
        let mut program = Command::new(BINARY);
        program.env_clear().envs(ENV).env("CNI_COMMAND", command).env("CNI_NETNS", "/proc/self/ns/net");
        finish(spawn(program.envs(more.iter().copied()), &conf))
    };
    let (code, msg) = run("ADD", &[]).error();
    assert_eq!((code, msg.as_str()), (8, "plugin's netns and netns from CNI_NETNS should not be the same"));
    assert!(machine.taken().is_empty());
    assert_eq!(run("ADD", &[("CNI_NETNS_OVERRIDE", "TRUE")]).addresses().len(), 1);
    // The addresses are released although the answer is an error.
    assert_eq!(run("DEL", &[]).error().0, 8);
    assert!(machine.taken().is_empty());
}

#[test]
fn a_node_that_is_not_known() {
    let machine = machine();
    let (code, msg) = add(&machine, json!({"nodename": "nope"}));
    assert_eq!((code, msg.as_str()), (999, "resource does not exist: Node(nope) with error: <nil>"));
    assert!(machine.taken().is_empty() && machine.counted().is_empty());
}

#[cfg(feature = "kubernetes")]
#[test]
fn there_is_nothing_to_allocate_where_nodes_have_pod_cidrs() {
    let conf = json!({"cniVersion": "1.0.0", "name": "net", "nodename": "n1", "datastore_type": "kubernetes",
        "ipam": {"type": "calico-ipam"}});
    let mut program = Command::new(BINARY);
    program.env_clear().envs(ENV).env("USE_POD_CIDR", "true");
    let (code, msg) = finish(spawn(&mut program, &conf.to_string())).error();
    assert!(code == 999 && msg.contains("USE_POD_CIDR") && msg.contains("host-local"), "{msg}");
}

#[test]
fn stores_that_cannot_be_used() {
    let machine = machine();
    let dir = machine.dir.path();
    let text = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let no_database = text("no.db", &"this is no database\n".repeat(400));
    let truncated = dir.join("truncated.db");
    machine.with_store(|store| {
        let AnyStore::Sqlite(store) = store else { panic!("{store:?}") };
        wait_for(store.backup(&truncated, Duration::from_secs(20))).unwrap();
    });
    let whole = fs::read(&truncated).unwrap();
    fs::write(&truncated, &whole[..whole.len() * 2 / 3]).unwrap();
    for path in
        [dir.to_path_buf(), no_database, truncated, dir.join("missing.db"), dir.join("no/such/dir.db")]
    {
        let before = fs::read(&path).ok();
        for command in ["ADD", "DEL"] {
            let conf = machine.conf(json!({"rackpool_db": path.to_str().unwrap()}));
            let (code, msg) = machine.run_with(command, "c1", "", &conf).error();
            assert_eq!(code, 999);
            assert!(msg.contains(path.to_str().unwrap()), "{msg}");
        }
        assert_eq!(fs::read(&path).ok(), before, "{path:?}");
    }
}

#[test]
fn a_store_that_may_only_be_read() {
    let machine = machine();
    let binary = machine.dir.path().join("calico-ipam");
    fs::copy(BINARY, &binary).unwrap();
    let mode =
        |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for entry in fs::read_dir(machine.dir.path()).unwrap() {
        mode(&entry.unwrap().path(), 0o444);
    }
    mode(&binary, 0o755);
    mode(machine.dir.path(), 0o755);
    let root = rustix::process::geteuid().is_root();
    let mut program = Command::new(&binary);
    if root {
        // Root may write to every file, so the program runs as another user.
        program.uid(65534).gid(65534);
    } else {
        mode(machine.dir.path(), 0o555);
    }
    let answer = finish(spawn(program.env_clear().envs(ENV), &machine.conf(json!({})).to_string()));
    mode(machine.dir.path(), 0o755);
    for entry in fs::read_dir(machine.dir.path()).unwrap() {
        mode(&entry.unwrap().path(), 0o644);
    }
    let (code, msg) = answer.error();
    assert_eq!(code, 999);
    assert!(msg.contains(machine.db().to_str().unwrap()), "{msg}");
    assert!(machine.taken().is_empty());
}

#[test]
fn a_store_that_cannot_be_had_is_never_replaced() {
    let machine = machine();
    let (code, msg) =
        add(&machine, json!({"datastore_type": "etcdv3", "etcd_endpoints": "http://u:hidden@127.0.0.1:1"}));
    assert_eq!(code, 999);
    let place = if cfg!(feature = "etcd") { "http://127.0.0.1:1" } else { "datastore_type" };
    assert!(msg.contains(place) && !msg.contains("hidden"), "{msg}");
    let (_, msg) = add(&machine, json!({"datastore_type": "", "policy": {"type": "k8s"}}));
    let reason = match cfg!(feature = "kubernetes") {
        true => "no Kubernetes API server is named",
        false => "the kubernetes datastore was chosen by policy.type",
    };
    assert!(msg.starts_with(reason), "{msg}");
    assert!(machine.taken().is_empty());
}

#[test]
fn configurations_are_never_shown() {
    let machine = machine();
    let secret = "hidden-token";
    let whole = machine.conf(json!({"log_level": "debug", "policy": {"k8s_auth_token": secret}})).to_string();
    let wrong = machine.conf(json!({"qps": "x", "policy": {"k8s_auth_token": secret}})).to_string();
    let not_closed = &whole[..whole.len() - 1];
    let garbage = format!("{whole}x");
    for text in [whole.as_str(), not_closed, &garbage, &wrong] {
        let answer = finish(spawn(Command::new(BINARY).env_clear().envs(ENV), text));
        assert!(!answer.stdout.contains(secret) && !answer.stderr.contains(secret), "{answer:?}");
    }
}

#[test]
fn a_migration_is_not_claimed() {
    for (node, reason) in [("", "KUBERNETES_NODE_NAME is not set"), ("n1", "is not available yet")] {
        let mut program = Command::new(BINARY);
        let answer = finish(spawn(program.env_clear().env("KUBERNETES_NODE_NAME", node).arg("-upgrade"), ""));
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(1), ""));
        assert!(answer.stderr.contains(reason), "{answer:?}");
    }
}
