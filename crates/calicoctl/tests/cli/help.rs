//! The help is complete and true.

use clap::Command;

use crate::world::World;

/// Collects every command that has a help page, as a user calls it.
fn pages(command: &Command, path: &str, found: &mut Vec<String>) {
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        let path = format!("{path}{} ", below.get_name());
        found.push(path.clone());
        pages(below, &path, found);
    }
}

#[test]
fn every_command_explains_itself() {
    let world = World::new();
    let mut all = vec![String::new()];
    pages(&calicoctl::cli::command(), "", &mut all);
    assert!(all.len() > 20, "{all:?}");
    let mut book = String::new();
    for path in all {
        let line = format!("{path}--help");
        let text = world.good(&line);
        assert!(text.contains("Usage: calicoctl"), "{line}");
        book.push_str(&format!("$ calicoctl {line}\n{text}\n"));
    }
    insta::assert_snapshot!(book);
}

#[test]
fn help_is_found_in_every_way() {
    let world = World::new();
    let page = world.good("ipam show --help");
    for line in
        ["ipam show -h", "help ipam show", "-h ipam show", "ipam --help show", "ipam show x -h --ip=1"]
    {
        assert_eq!(world.good(line), page, "{line}");
    }
    let root = world.good("--help");
    for line in ["", "-h", "help"] {
        assert_eq!(world.good(line), root, "{line}");
    }
    assert_eq!(world.good("ipam"), world.good("ipam --help"));
    assert!(!root.contains("Embedded store:"), "somebody chose it");
}

#[test]
fn selectors_are_explained_at_length() {
    let text = World::new().good("explain selectors");
    assert_eq!(text.trim_end(), selector::REFERENCE.trim_end());
}

#[test]
fn shells_get_their_completions() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = world.good(&format!("completion {shell}"));
        assert!(script.contains("show-borrowed"), "{shell}");
    }
    assert_eq!(world.run("completion tcsh").code, 1);
}
