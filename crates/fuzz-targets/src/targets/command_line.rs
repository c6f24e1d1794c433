//! Command lines, and what a terminal is shown.

use std::cell::RefCell;

use clap::{Command, CommandFactory};

use super::Target;
use crate::input::{bounded, text, words};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "calicoctl", what: "a command line of calicoctl, a word on each line", run: calicoctl },
    Target { name: "rackpoold", what: "a command line of rackpoold, a word on each line", run: rackpoold },
    Target { name: "terminal", what: "bytes that go to a terminal in two parts", run: terminal },
    Target { name: "resource-words", what: "a kind's name, and names, on a line each", run: resource_words },
];

fn calicoctl(bytes: &[u8]) {
    thread_local! {
        // To make the definition takes a thousand times as long as to read a line by it.
        static COMMAND: RefCell<Command> = RefCell::new({
            let mut command = calicoctl::cli::command();
            command.build();
            command
        });
    }
    let read = COMMAND.with_borrow_mut(|command| calicoctl::door::command_line(command, &words(bytes)));
    if let Err(said) = read {
        bounded("an error's text", said.len(), bytes.len() + 4096, 16);
    }
    drop(calicoctl::output::Format::parse(&text(bytes)));
}

fn rackpoold(bytes: &[u8]) {
    thread_local! {
        static COMMAND: RefCell<Command> = RefCell::new({
            let mut command = rackpoold::cli::Cli::command();
            command.build();
            command
        });
    }
    let words = std::iter::once("rackpoold".to_string()).chain(words(bytes));
    let read = COMMAND.with_borrow_mut(|command| command.try_get_matches_from_mut(words));
    match read {
        Ok(mut matches) => {
            let read = <rackpoold::cli::Cli as clap::FromArgMatches>::from_arg_matches_mut(&mut matches);
            assert!(read.is_ok(), "what clap has taken has its types");
        }
        Err(error) => bounded("an error's text", error.render().to_string().len(), bytes.len() + 4096, 16),
    }
}

fn terminal(bytes: &[u8]) {
    let whole = calicoctl::door::shown(bytes, bytes.len());
    bounded("what is shown", whole.len(), bytes.len(), 6);
    for middle in [bytes.len() / 2, bytes.len() / 3] {
        assert_eq!(calicoctl::door::shown(bytes, middle), whole);
    }
    let is_harmless = |c: char| !api::fault::is_obeyed(c) || matches!(c, '\n' | '\t');
    assert!(text(&whole).chars().all(is_harmless), "{:?}", text(&whole));
}

fn resource_words(bytes: &[u8]) {
    let words = words(bytes);
    let Some((kind, names)) = words.split_first() else { return };
    match calicoctl::door::resources_named(kind, names) {
        Ok(resources) => assert!(resources.len() <= names.len().max(1)),
        Err(said) => bounded("an error's text", said.len(), bytes.len(), 16),
    }
}
