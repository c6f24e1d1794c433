//! Recorded runs of the original, replayed: where RACKPOOL_RECORDINGS names the directory that holds them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Differences that are on purpose, each with its reason.
const EXPECTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/differences/embedded.json");

#[test]
#[allow(clippy::disallowed_methods, reason = "whoever runs the tests says here where the recordings are")]
fn recorded_runs_of_the_original_give_the_same() {
    let Ok(recordings) = std::env::var("RACKPOOL_RECORDINGS") else {
        println!("skipped: RACKPOOL_RECORDINGS names no recordings");
        return;
    };
    let recordings = PathBuf::from(recordings);
    let (tool, runs) = (recordings.join("../tools/replay_golden.py"), recordings.join("calicoctl-etcd"));
    assert!(tool.is_file(), "RACKPOOL_RECORDINGS is set, but {} is missing", tool.display());
    assert!(runs.is_dir(), "RACKPOOL_RECORDINGS is set, but {} is missing", runs.display());
    let calicoctl = Path::new(env!("CARGO_BIN_EXE_calicoctl"));
    let output = Command::new("python3")
        .arg(&tool)
        .arg(&runs)
        .env("REPLAY_STORE", "embedded")
        .env("CALICOCTL_BIN", calicoctl)
        .env("CALICO_IPAM_BIN", plugin(calicoctl))
        .env("REPLAY_EXPECTED", EXPECTED)
        .env("VERBOSE", "1")
        .output()
        .expect("python3 runs the replay");
    let told = String::from_utf8_lossy(&output.stdout);
    let faults = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{faults}");
    assert!(!told.contains("STALE"), "differences that are none any more:\n{told}");
    assert!(told.lines().filter(|line| line.starts_with("PASS")).count() > 50, "{told}");
    println!("{}", told.lines().last().unwrap_or_default());
}

/// The plugin, which makes the allocations that some runs look at; built beside the program where it is not there.
fn plugin(calicoctl: &Path) -> PathBuf {
    let plugin = calicoctl.with_file_name("calico-ipam");
    let target = calicoctl.parent().and_then(Path::parent).expect("the program is in a profile's directory");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "-p", "calico-ipam", "--target-dir"]).arg(target);
    if target.join("release") == calicoctl.parent().unwrap_or(target) {
        build.arg("--release");
    }
    let built = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo runs");
    assert!(built.success() && plugin.is_file(), "calico-ipam cannot be built");
    plugin
}
