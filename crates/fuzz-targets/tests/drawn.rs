//! The program as its user runs it.

use std::process::Command;

fn fuzz_targets(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fuzz-targets"));
    command.args(["--failures", env!("CARGO_TARGET_TMPDIR")]).args(args);
    command
}

/// All corpora, and some inputs that are drawn from each.
#[test]
fn every_target_is_fed() {
    let out = fuzz_targets(&["--inputs", "100"]).output().unwrap();
    let (said, faults) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}{faults}");
}

#[test]
fn an_unknown_target_is_named() {
    let out = fuzz_targets(&["nothing"]).output().unwrap();
    let faults = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && faults.contains("nothing"), "{faults}");
}
