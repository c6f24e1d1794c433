//! The program as a process: exit codes, closed pipes, files without write permission.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::world::{World, pool};

fn program(world: &World) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_calicoctl"));
    command.env_clear().envs(world.variables());
    command
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let world = World::new();
    world.good("datastore init --ipv4-cidr=none");
    let many: String = (0..2000)
        .map(|n| format!("---\nkind: Node\napiVersion: projectcalico.org/v3\nmetadata: {{name: node-{n}}}\n"))
        .collect();
    world.good_with("create -f -", &many);
    let mut child = program(&world)
        .args(["get", "nodes", "-o", "yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::with_capacity(16, child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // The pipe is closed by now, with most of the output unread.
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

#[test]
fn exit_codes_are_the_process_s() {
    let world = World::new();
    let code = |args: &[&str]| program(&world).args(args).output().unwrap().status.code();
    assert_eq!(code(&["datastore", "init"]), Some(0));
    assert_eq!(code(&["get", "ippool", "nope"]), Some(1));
    assert_eq!(code(&["--nope"]), Some(1));
    let mut child = program(&world)
        .args(["create", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(pool("p", "10.0.0.0/16").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "Successfully created 1 'IPPool' resource(s)\n");
}

/// Root may write every file, so when root runs this test it only shows that the command works.
#[test]
fn a_file_that_may_not_be_written_is_an_error_and_stays() {
    let world = World::new();
    world.good("datastore init");
    let file = world.path("rackpool.db");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o444)).unwrap();
    let is_root = std::fs::OpenOptions::new().append(true).open(&file).is_ok();
    let ran = world.run_with("create -f -", &pool("p", "10.0.0.0/16"));
    if is_root {
        assert_eq!(ran.code, 0, "{ran:?}");
        return;
    }
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(!ran.stderr.is_empty() || !ran.stdout.is_empty());
}
