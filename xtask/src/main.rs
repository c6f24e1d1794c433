//! The entry of `cargo xtask`. It performs the demo on the embedded store itself, which needs little
//! compilation. For every other command it builds and runs the whole program.
#![allow(clippy::print_stderr, reason = "a program for the terminal")]

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use xtask::cargo::{build_embedded_programs, cargo, run, target_dir};
use xtask::{guide, sweep};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(|word| word.to_str().unwrap_or_default()).collect();
    let done = match words.as_slice() {
        ["demo"] => build_embedded_programs().and_then(|programs| guide::perform(&programs)),
        [sweep::SWEEP, folder] => sweep::at_the_end(Path::new(folder), || Ok(())),
        _ => whole(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Becomes the whole program, in the current folder.
fn whole(arguments: &[OsString]) -> Result<()> {
    const WHOLE: &str = "xtask-whole";
    // Uses the features with which the workspace's tests are built, so that the dependencies are compiled
    // only once.
    run(&mut cargo(&["build", "--workspace", "--bin", WHOLE]))?;
    let program = target_dir()?.join("debug").join(WHOLE);
    Err(Command::new(&program).args(arguments).exec()).with_context(|| program.display().to_string())
}
