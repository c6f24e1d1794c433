//! Every error has a clear text and exit code 1, and changes nothing.

use std::fmt::Write;

use crate::world::{World, pool};

/// Runs each command line, which must fail with its text and leave the store as it is.
fn failures(world: &World, lines: &[(&str, &str)]) -> String {
    let mut told = String::new();
    for (line, stdin) in lines {
        let before = world.contents();
        let ran = world.run_with(line, stdin);
        assert_eq!(ran.code, 1, "{line}: {ran:?}");
        assert!(world.contents() == before, "{line} changed the store");
        writeln!(told, "$ calicoctl {line}").unwrap();
        for input in stdin.lines() {
            writeln!(told, "    < {input}").unwrap();
        }
        told.push_str(&ran.stdout);
        told.push_str(&ran.stderr);
    }
    told.replace(world.path("").to_str().unwrap(), "[DIR]/")
}

/// Calico's calicoctl crashes on these command lines, or ends without a message.
#[test]
fn nothing_to_do_is_an_error_that_says_what_is_missing() {
    let world = World::new();
    world.good("datastore init");
    let lines = [
        "create",
        "create -f=",
        "apply",
        "replace",
        "delete",
        "get",
        "validate",
        "patch ippool",
        "label node n",
        "explain",
        "explain nothing",
        "completion",
        "datastore backup",
        "datastore restore",
        "datastore init now",
        "ipam split",
    ];
    insta::assert_snapshot!(failures(&world, &lines.map(|line| (line, ""))));
}

#[test]
fn commands_of_calico_alone_say_so() {
    let world = World::new();
    world.good("datastore init");
    let lines = ["node", "node status", "cluster diags", "convert -f x"];
    // `node` alone is a command here, so it has no list of commands to show.
    let told = failures(&world, &lines.map(|line| (line, "")));
    insta::assert_snapshot!(told);
}

#[test]
fn bad_input_is_told_before_anything_is_written() {
    let world = World::new();
    world.good("datastore init --ipv4-cidr=none");
    let good = pool("good", "10.0.0.0/24");
    let with = |second: &str| format!("{good}---\n{second}");
    let unknown = with(
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: p\nspec:\n  cdir: 10.1.0.0/24\n",
    );
    let types = with(
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: p\nspec:\n  cidr: 10.1.0.0/24\n  blockSize: big\n",
    );
    let kind = with("apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n");
    let broken = with("kind: [\n");
    let twice = with("kind: IPPool\nkind: Node\n");
    let lines: Vec<(&str, &str)> = vec![
        ("create -f -", &unknown),
        ("apply -f -", &types),
        ("create -f -", &kind),
        ("replace -f -", &broken),
        ("delete -f -", &twice),
        ("get -f -", "- 1\n"),
        ("create -f -", "\u{1}\n"),
        ("create -f nowhere.yaml", ""),
    ];
    insta::assert_snapshot!(failures(&world, &lines));
    assert_eq!(world.good("get ippools"), "NAME   CIDR   SELECTOR   \n\n");
}

#[test]
fn init_looks_before_it_writes() {
    let world = World::new();
    let lines = [
        "datastore init --ipv4-cidr=10.0.0.0",
        "datastore init --ipv4-cidr=10.0.0.1/24",
        "datastore init --ipv4-cidr=fd00::/64",
        "datastore init --ipv4-block-size=19",
        "datastore init --ipv4-block-size=x",
        "datastore init --ipv4-ipip=Sometimes",
        "datastore init --ipv6-cidr=fd00::/125",
    ];
    let told = failures(&world, &lines.map(|line| (line, "")));
    assert!(!world.path("rackpool.db").exists());
    insta::assert_snapshot!(told);
}
