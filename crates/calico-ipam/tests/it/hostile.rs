//! Input that may be a trap: pipes into which nobody writes, and faults next to secrets.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cni::log::{Kept, Sink};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value as Json, json};
use setup::Environment;

use crate::harness::{BINARY, Machine, finish, node, pool};

const SECRET: &str = "hunter2";
const PLANTED: &str = "hunter2-hunter2-hunter2";

fn machine() -> Machine {
    Machine::new(&[node("n1", json!({})), pool("four", "10.0.0.0/24", json!({}))])
}

fn fifo(path: &Path) -> String {
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    path.to_str().unwrap().to_string()
}

/// Each run ends with an error object that names the file for which it waited.
#[cfg(all(feature = "etcd", feature = "kubernetes"))]
#[test]
fn pipes_that_nobody_writes_are_given_up() {
    let machine = machine();
    let pipe = fifo(&machine.dir.path().join("pipe"));
    let etcd = |field: &str| {
        let mut conf = json!({"datastore_type": "etcdv3", "etcd_endpoints": "https://127.0.0.1:1"});
        conf[field] = json!(pipe);
        conf
    };
    let kubernetes = |policy: Json| json!({"datastore_type": "kubernetes", "kubernetes": {"k8s_api_root": "https://127.0.0.1:1"}, "policy": policy});
    let clock = setup::Clock::start();
    let started: Vec<_> = [
        json!({"nodename": "", "nodename_file": pipe}),
        json!({"datastore_type": "kubernetes", "kubernetes": {"kubeconfig": pipe}}),
        json!({"policy": {"type": "k8s"}, "kubernetes": {"kubeconfig": pipe}}),
        etcd("etcd_ca_cert_file"),
        kubernetes(json!({"k8s_certificate_authority": pipe})),
        json!({"rackpool_db": pipe}),
    ]
    .into_iter()
    .map(|changes| (machine.start("ADD", "c1", "", &machine.conf(changes.clone())), changes))
    .collect();
    for (child, changes) in started {
        let (code, msg) = finish(child).error();
        assert!(code == 999 && msg.contains(&pipe), "{changes}: {msg}");
    }
    assert!(clock.elapsed() < Duration::from_secs(200));
    // The log's file and the lock's file are pipes, too: the program must not wait for them.
    let changes = json!({"log_level": "debug", "log_file_path": pipe});
    let answer = machine.run_with("ADD", "c1", "", &machine.conf(changes));
    assert_eq!(answer.addresses().len(), 1);
    assert!(answer.stderr.contains("no log file is written"), "{answer:?}");
    let changes = json!({"ipam_lock_file": pipe});
    machine.run_with("ADD", "c2", "", &machine.conf(changes)).addresses();
    assert_eq!(machine.taken().len(), 2);
}

#[test]
fn a_configuration_without_end_is_not_read_to_it() {
    let machine = machine();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -v 300000; exec \"$@\" < /dev/zero", "sh", BINARY]).env_clear();
    command.envs([
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/x"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/x"),
    ]);
    let child = command.arg0("sh").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let (code, msg) = finish(child.unwrap()).error();
    assert_eq!((code, msg.as_str()), (5, "error reading from stdin: it holds more than 16 MiB"));
    assert!(machine.taken().is_empty());
}

/// A configuration with a secret in each place that can hold one.
fn conf(kind: &str, log: &Path) -> String {
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "calico", "nodename": "n1", "datastore_type": kind,
        "etcd_endpoints": format!("u:{PLANTED}@127.0.0.1:1,http://u:{PLANTED}@127.0.0.1:1"),
        "kubernetes": {"k8s_api_root": format!("https://u:{PLANTED}@127.0.0.1:1")},
        "policy": {"type": "k8s", "k8s_auth_token": PLANTED},
        "log_level": "debug", "log_file_path": log, "ipam": {"type": "calico-ipam"}
    })
    .to_string()
}

/// All texts that a run in this process writes: result, errors and log.
fn told(conf: &str, args: &str, log: &Path) -> String {
    let environment: Environment = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "c1"),
        ("CNI_NETNS", "/x"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/x"),
        ("CNI_ARGS", args),
        ("ETCD_PASSWORD", PLANTED),
        ("ETCD_USERNAME", "u"),
        ("CALICO_K8SAPITOKEN", PLANTED),
    ]
    .into_iter()
    .collect();
    let (mut stdout, stderr) = (Vec::new(), Kept::default());
    let io = calico_ipam::Io {
        args: Vec::new(),
        environment,
        stdin: &mut conf.as_bytes(),
        stdout: &mut stdout,
        stderr: Sink::new(stderr.clone()),
    };
    assert_eq!(calico_ipam::run(io), 1);
    let written = fs::read_to_string(log).unwrap_or_default();
    format!("{}{}{written}", String::from_utf8_lossy(&stdout), stderr.text())
}

/// Damages the configuration at each place in turn. The arguments are wrong in each run, so that nothing is
/// sent.
#[test]
fn no_fault_of_a_configuration_tells_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("cni.log");
    for kind in ["etcdv3", "kubernetes", "embedded", "hunter"] {
        let whole = conf(kind, &log);
        for (at, _) in whole.char_indices() {
            let (before, after) = whole.split_at(at);
            let mut faults = vec![before.to_string(), format!("{before}{}", &after[1..])];
            faults.extend(["\"", ":", "\n", "[", "{", ",", "7"].map(|c| format!("{before}{c}{after}")));
            for fault in faults {
                // With a damaged path, the program would write to another file.
                if fault.contains(log.to_str().unwrap()) || serde_json::from_str::<Json>(&fault).is_err() {
                    let told = told(&fault, "WRONG", &log);
                    assert!(!told.contains(SECRET), "{fault}\n{told}");
                }
            }
        }
    }
}

/// The messages about a store that cannot be reached contain no secret, either.
#[cfg(all(feature = "etcd", feature = "kubernetes"))]
#[test]
fn no_message_holds_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("cni.log");
    let told: Vec<_> = std::thread::scope(|scope| {
        let runs = ["etcdv3", "kubernetes"].map(|kind| {
            let (conf, log) = (conf(kind, &log), log.clone());
            scope.spawn(move || told(&conf, "", &log))
        });
        runs.map(|run| run.join().unwrap()).to_vec()
    });
    for told in told {
        assert!(told.contains("127.0.0.1:1 cannot be reached") && !told.contains(SECRET), "{told}");
    }
}
