//! The readers of manifests and of command lines, as plain functions of bytes, for tests of other crates.

use std::io::Write;

use api::Resource;
use clap::{Command, FromArgMatches};

use crate::cli::{self, Cli};
use crate::failure::Failure;
use crate::manifest;
use crate::pflag;
use crate::terminal::Terminal;

/// Reads a manifest. Gives its resources and the warnings about it, or what is said of it.
pub fn read_manifest(text: &[u8]) -> Result<(Vec<Resource>, Vec<String>), String> {
    let read = manifest::read("-", false, true, &mut &text[..]);
    let read = read.map_err(|error| said(error.into()))?;
    Ok((read.resources.into_iter().map(|written| written.resource).collect(), read.warnings))
}

fn said(failure: Failure) -> String {
    match failure {
        Failure::Message(text) | Failure::OnStdout(text) => text,
        Failure::Io(error) => error.to_string(),
        Failure::Said => String::new(),
    }
}

/// The resources that a kind and names on the command line stand for.
pub fn resources_named(kind: &str, names: &[String]) -> Result<Vec<Resource>, String> {
    manifest::resources_named(kind, names)
}

/// Reads a command line as the program does, without carrying it out. `command` is [`cli::command`], built.
pub fn command_line(command: &mut Command, args: &[String]) -> Result<(), String> {
    let normalised = pflag::normalise(command, args).map_err(|error| {
        let help = error.help(command).unwrap_or_default();
        format!("{error}{help}")
    })?;
    let name = std::iter::once(command.get_name().to_string());
    let parsed = command.try_get_matches_from_mut(name.chain(normalised.args));
    let matches = parsed.map_err(|error| cli::fault_text(command, &error))?;
    let parsed = Cli::from_arg_matches(&matches).map_err(|error| error.to_string())?;
    parsed.globals.check()
}

/// What a terminal gets of bytes that are written in two parts.
pub fn shown(bytes: &[u8], middle: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut terminal = Terminal::new(&mut out);
    let (first, second) = bytes.split_at(middle.min(bytes.len()));
    for part in [first, second] {
        terminal.write_all(part).expect("memory takes everything");
    }
    terminal.flush().expect("memory takes everything");
    out
}
