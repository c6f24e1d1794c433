//! Replays recorded runs of Calico's calicoctl, if RACKPOOL_RECORDINGS names the directory of the recordings.

#[cfg(feature = "kubernetes")]
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use store::testing::program_beside;

/// The file of intended differences, each with its reason.
const DIFFERENCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/differences");

#[test]
fn recorded_runs_of_the_original_give_the_same_on_the_embedded_store() {
    let Some(mut replay) = replay(Command::new("python3"), "embedded.json", 70) else { return };
    pass(replay.env("REPLAY_STORE", "embedded"), 70);
}

/// The replay runs in namespaces of its own, where etcd's ports are free and no other process has the
/// plugin's lock.
#[cfg(feature = "etcd")]
#[test]
fn recorded_runs_of_the_original_give_the_same_on_etcd() {
    if servers::etcd_server::is_left_out() {
        return;
    }
    let Some(python) = isolated_python(&["etcd", "etcdctl"]) else { return };
    let Some(mut replay) = replay(python, "etcd.json", 80) else { return };
    pass(&mut replay, 80);
}

#[cfg(feature = "kubernetes")]
#[test]
fn recorded_runs_of_the_original_give_the_same_on_kubernetes() {
    on_kubernetes("v1", "kdd-v1", 30);
}

#[cfg(feature = "kubernetes")]
#[test]
#[ignore = "nightly: it takes minutes, and differs from the one before in the group's name alone"]
fn recorded_runs_of_the_original_give_the_same_on_kubernetes_with_the_other_group() {
    on_kubernetes("v3", "kdd-v3", 30);
}

#[cfg(feature = "kubernetes")]
#[test]
fn recorded_calls_of_the_plugin_are_answered_the_same() {
    on_kubernetes("v1", "cni", 250);
}

/// Replays these recordings on an API server that the replay starts, with this program's definitions for the
/// group. More than `count` scenarios must pass. A scenario that needs a missing program counts if it passes
/// up to that point.
#[cfg(feature = "kubernetes")]
fn on_kubernetes(group: &str, recordings: &str, count: usize) {
    use servers::kube_server;
    if kube_server::is_left_out() {
        return;
    }
    let Some(python) = isolated_python(&["etcd", "openssl", "ip"]) else { return };
    let tool = ("replay_kdd.py", recordings);
    let Some(mut replay) = replay_with(python, tool, &format!("{recordings}.json"), count) else { return };
    let programs =
        kube_server::programs::programs(&["kube-apiserver"]).unwrap_or_else(|error| panic!("{error}"));
    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds").join(group);
    let program = |name| program_beside(Path::new(env!("CARGO_BIN_EXE_calicoctl")), name);
    let folder = tempfile::tempdir().unwrap();
    let script = |name, command: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\nexec {command}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    // Without its leases the API server writes nothing by itself: a list has the revision of the last write
    // of a test, as recorded.
    let gates = "APIServerIdentity=false,UnknownVersionInteroperabilityProxy=false";
    let server = programs.join("kube-apiserver");
    script("kube-apiserver", format!("{} \"$@\" --feature-gates={gates}", server.display()));
    // The replay gives the controllers no arguments.
    let controllers = script("kube-controllers", format!("{} controllers", program("rackpoold").display()));
    replay.env("KUBE_BIN", folder.path()).env("KUBECTL_BIN", kube_server::kubectl().unwrap());
    replay.env("CALICO_BIN", program("calico")).env("KUBE_CONTROLLERS_BIN", controllers);
    pass(replay.env("CRDS", definitions), count);
}

/// Python in namespaces of its own. Where that or one of the programs is missing, prints so and gives `None`.
fn isolated_python(programs: &[&str]) -> Option<Command> {
    let isolated = || {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--pid", "--fork", "--mount-proc"]);
        command
    };
    let works = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    if !works(isolated().arg("true")) {
        println!("skipped: `unshare` makes no namespaces here, which takes root");
        return None;
    }
    if let Some(missing) = programs.iter().find(|program| !works(Command::new("which").arg(program))) {
        println!(
            "skipped: there is no program {missing} (Debian: etcd-server, etcd-client, openssl, iproute2)"
        );
        return None;
    }
    let mut command = isolated();
    command.arg("python3");
    Some(command)
}

/// The command that runs the replay; `None` where no variable names the recordings.
fn replay(command: Command, differences: &str, count: usize) -> Option<Command> {
    replay_with(command, ("replay_golden.py", "calicoctl-etcd"), differences, count)
}

#[allow(clippy::disallowed_methods, reason = "whoever runs the tests says here where the recordings are")]
fn replay_with(
    mut command: Command,
    (tool, runs): (&str, &str),
    differences: &str,
    count: usize,
) -> Option<Command> {
    let Some(recordings) = std::env::var_os("RACKPOOL_RECORDINGS").map(PathBuf::from) else {
        println!("skipped: {count} recordings: RACKPOOL_RECORDINGS names none");
        return None;
    };
    let (tool, runs) = (recordings.join("../tools").join(tool), recordings.join(runs));
    assert!(tool.is_file(), "RACKPOOL_RECORDINGS is set, but {} is missing", tool.display());
    assert!(runs.is_dir(), "RACKPOOL_RECORDINGS is set, but {} is missing", runs.display());
    let calicoctl = Path::new(env!("CARGO_BIN_EXE_calicoctl"));
    command
        .arg(&tool)
        .arg(&runs)
        .env("CALICOCTL_BIN", calicoctl)
        .env("CALICO_IPAM_BIN", program_beside(calicoctl, "calico-ipam"))
        .env("REPLAY_EXPECTED", Path::new(DIFFERENCES).join(differences))
        .env("VERBOSE", "1");
    Some(command)
}

/// Names that two recorded cases have, of which one alone differs.
const TWINS: [&str; 1] = ["cni-args: same explicit address, second container"];

/// Runs the replay. It must find no difference, in at least `scenarios` scenarios.
fn pass(replay: &mut Command, scenarios: usize) {
    let output = replay.output().expect("python3 runs the replay");
    let told = String::from_utf8_lossy(&output.stdout);
    let faults = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{faults}");
    let mut stale = told.lines().filter(|line| line.starts_with("STALE"));
    let is_twin = |line: &str| TWINS.iter().any(|name| line.contains(name));
    assert!(stale.all(is_twin), "differences that are none any more:\n{told}");
    assert!(told.lines().filter(|line| line.starts_with("PASS")).count() > scenarios, "{told}");
    println!("{}", told.lines().last().unwrap_or_default());
}
