//! The page of commands: what the definitions of the command lines say.

use clap::{Arg, ArgAction, Command, CommandFactory, Id};

use crate::{cell, fields, settings};

const BEGINNING: &str = "# Commands and settings\n\n\
The programs: [`calicoctl`](#calicoctl), [`rackpoold`](#rackpoold), the plugins [`calico` and `calico-ipam`](#the-plugins-configuration), and the\n\
[settings](#where-the-store-is) with which all of them find the store. `--help` of each command says the same.\n";

pub fn page() -> String {
    let mut text = BEGINNING.to_string();
    for (mut command, name) in
        [(calicoctl::cli::command(), "calicoctl"), (rackpoold::cli::Cli::command(), "rackpoold")]
    {
        command.build();
        text.push_str(&format!("\n## {name}\n"));
        describe(&mut text, &command);
        text.push_str(&options(
            "Options of every command",
            command.get_arguments().filter(|arg| arg.is_global_set()),
        ));
        let everywhere: Vec<&Id> = command.get_arguments().map(Arg::get_id).collect();
        below(&mut text, &command, name, &everywhere);
    }
    text.push_str(&settings::section());
    text.push_str(&fields::section());
    text
}

/// The commands below a command, each with its heading. `told` are the options that stand above already.
fn below(text: &mut String, command: &Command, path: &str, told: &[&Id]) {
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help")
    {
        let path = format!("{path} {}", inner.get_name());
        text.push_str(&format!("\n### {path}\n"));
        describe(text, inner);
        let own = inner.get_arguments().filter(|arg| !told.contains(&arg.get_id()));
        let own: Vec<&Arg> = own.filter(|arg| !arg.is_hide_set() && arg.get_id() != "help").collect();
        let told: Vec<&Id> = told
            .iter()
            .copied()
            .chain(own.iter().filter(|arg| arg.is_global_set()).map(|arg| arg.get_id()))
            .collect();
        let (options_of, words): (Vec<&Arg>, Vec<&Arg>) =
            own.into_iter().partition(|arg| !arg.is_positional());
        for word in words {
            text.push_str(&format!("\n`{}`: {}\n", shown(word), cell(&meaning(word))));
        }
        text.push_str(&options("", options_of.into_iter()));
        if let Some(after) = inner.get_after_help() {
            text.push_str(&format!("\n```text\n{}\n```\n", after.to_string().trim_end()));
        }
        below(text, inner, &path, &told);
    }
}

fn describe(text: &mut String, command: &Command) {
    let about = command.get_long_about().or_else(|| command.get_about());
    if let Some(about) = about {
        // An angle bracket would be taken for HTML.
        text.push_str(&format!("{}\n", about.to_string().trim_end().replace('<', "\\<")));
    }
}

fn options<'a>(title: &str, arguments: impl Iterator<Item = &'a Arg>) -> String {
    let arguments = arguments.filter(|arg| !arg.is_hide_set());
    let rows: String =
        arguments.map(|arg| format!("| `{}` | {} |\n", shown(arg), cell(&meaning(arg)))).collect();
    match (rows.as_str(), title) {
        ("", _) => String::new(),
        (rows, "") => format!("\n| option | meaning |\n|---|---|\n{rows}"),
        (rows, title) => format!("\n{title}:\n\n| option | meaning |\n|---|---|\n{rows}"),
    }
}

/// An argument as one types it.
fn shown(arg: &Arg) -> String {
    let value = match arg.get_value_names() {
        Some([name, ..]) if arg.get_action().takes_values() => format!("<{name}>"),
        _ => String::new(),
    };
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let name = [short, long].into_iter().flatten().collect::<Vec<_>>().join(", ");
    let many = if arg.is_positional() && matches!(arg.get_action(), ArgAction::Append) { "..." } else { "" };
    match (name.as_str(), value.as_str()) {
        ("", value) => format!("{value}{many}"),
        (name, "") => name.to_string(),
        (name, value) => format!("{name} {value}"),
    }
}

/// What an argument means, with the values that it takes and its default.
fn meaning(arg: &Arg) -> String {
    let mut text = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> =
        arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if arg.get_action().takes_values() && !values.is_empty() {
        text.push_str(&format!("; one of {}", values.join(", ")));
    }
    let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    let has_default = defaults.iter().any(|default| !default.is_empty());
    if arg.get_action().takes_values() && has_default {
        text.push_str(&format!("; by default `{}`", defaults.join(",")));
    }
    text
}
