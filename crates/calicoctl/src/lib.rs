//! The `calicoctl` command line: one file per verb in [`commands`]; [`input`] and `manifest` read what the
//! user hands in; [`output`] writes the formats of the output.
//!
//! [`run`] is the whole program. It gets its arguments, environment and streams as parameters, so tests run
//! the program as it is.

pub mod cli;
pub mod commands;
#[cfg(feature = "kubernetes")]
mod custom_resources;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod door;
mod failure;
pub mod input;
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(not(feature = "kubernetes"))]
#[path = "kubernetes/none.rs"]
mod kubernetes;
mod manifest;
pub mod output;
mod pflag;
mod session;
mod terminal;

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::sync::Arc;

use clap::FromArgMatches;
use clap::error::ErrorKind;
use setup::{Clock, Environment};
use store::Noted;

use crate::cli::Cli;
use crate::failure::Failure;
use crate::session::{Chosen, Surroundings};
use crate::terminal::Terminal;

/// What a command works with.
pub struct Context<'a> {
    /// The environment.
    pub environment: &'a Environment,
    /// Flags that every command has.
    pub globals: &'a cli::Globals,
    /// Standard input.
    pub stdin: &'a mut dyn Read,
    /// Standard output.
    pub stdout: &'a mut dyn Write,
    /// Standard error.
    pub stderr: &'a mut dyn Write,
    effects: Surroundings,
    /// The warnings that were printed.
    warned: BTreeSet<String>,
}

impl Context<'_> {
    /// Warns of something on standard error, unless the command has done so already.
    fn warn_once(&mut self, warning: &str) {
        if self.warned.insert(warning.to_string()) {
            // If this cannot be written, nobody reads it, and the command does its work all the same.
            let _ = writeln!(self.stderr, "warning: {warning}");
        }
    }
}

/// Runs a command line; `args` do not include the program's name. Returns the exit code: 0 for success, 1 for
/// everything else. It is no failure if the reader of the output has gone away.
pub fn run(
    args: &[String],
    environment: &Environment,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> u8 {
    let (stdout, stderr) = (&mut Terminal::new(stdout), &mut Terminal::new(stderr));
    let noted = Arc::new(Noted::default());
    let outcome =
        execute(args, environment, stdin, stdout, stderr, &noted).and_then(|()| Ok(stdout.flush()?));
    // If this cannot be written, nobody reads the streams.
    let _ = stdout.flush().and_then(|()| warn(&noted, stderr));
    let written = match outcome {
        Ok(()) => return 0,
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => return 0,
        Err(Failure::Io(error)) => writeln!(stderr, "{error}"),
        Err(Failure::Message(text)) => stdout.flush().and_then(|()| writeln!(stderr, "{text}")),
        Err(Failure::Said) => Ok(()),
        Err(Failure::OnStdout(text)) => writeln!(stdout, "{text}").and_then(|()| stdout.flush()),
    };
    // If not even the error can be written, there is nobody left to read it.
    let _ = written;
    1
}

/// Prints what is wrong with records that the command has read.
fn warn(noted: &Noted, stderr: &mut dyn Write) -> io::Result<()> {
    for fault in noted.tell() {
        writeln!(stderr, "warning: {fault}")?;
        // The first line of the picture is part of the fault's own text.
        for line in fault.picture.iter().flat_map(|picture| picture.lines().skip(1)) {
            writeln!(stderr, "{line}")?;
        }
    }
    Ok(())
}

fn execute(
    args: &[String],
    environment: &Environment,
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
    noted: &Arc<Noted>,
) -> Result<(), Failure> {
    let mut command = cli::command();
    command.build();
    let normalised = pflag::normalise(&command, args).map_err(|error| {
        let help = error.help(&command).unwrap_or_default();
        Failure::Message(error.to_string()).and(&help)
    })?;
    if let Some(unknown) = &normalised.unknown {
        writeln!(stderr, "{unknown}")?;
    }
    for flag in &normalised.overridden {
        writeln!(stderr, "warning: {flag} has no effect: the flag is given again, and the last one counts")?;
    }
    let args = normalised.args;
    let is_root_help = args == ["--help"];
    let name = command.get_name().to_string();
    let parsed = command.try_get_matches_from_mut(std::iter::once(name).chain(args));
    let matches = match parsed {
        Ok(matches) => matches,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            write!(stdout, "{}", error.render())?;
            return if is_root_help { tell_where(environment, stdout) } else { Ok(()) };
        }
        Err(error) => return Err(Failure::Message(cli::fault_text(&command, &error))),
    };
    let parsed = Cli::from_arg_matches(&matches).map_err(|error| Failure::Message(error.to_string()))?;
    parsed.globals.check().map_err(Failure::Message)?;
    let effects = Surroundings { clock: Clock::start(), noted: noted.clone() };
    let warned = BTreeSet::new();
    let context = Context { environment, globals: &parsed.globals, stdin, stdout, stderr, effects, warned };
    commands::run(parsed.command, context)
}

/// Prints where the store is, unless the user has chosen one.
fn tell_where(environment: &Environment, stdout: &mut dyn Write) -> Result<(), Failure> {
    let chosen = Chosen::load(None, &cli::Globals::default(), environment)?;
    if let (false, Ok(choice)) = (chosen.is_explicit(), chosen.choice(environment)) {
        commands::version::tell_where(&choice.datastore, stdout)?;
    }
    Ok(())
}
