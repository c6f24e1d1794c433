//! The front of `cargo xtask`: it performs the demo on the embedded store, which takes little to build, and has the whole program do all else.
#![allow(clippy::print_stderr, reason = "a program for the terminal")]

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use xtask::cargo::{build_embedded_programs, root};
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

/// Goes on as the whole program, in the folder that we are in.
fn whole(arguments: &[OsString]) -> Result<()> {
    let mut command = Command::new(env!("CARGO"));
    command.arg("run").arg("--manifest-path").arg(root().join("Cargo.toml"));
    command.args(["--package", "xtask", "--bin", "xtask-whole", "--"]).args(arguments);
    Err(command.exec()).context("cannot start cargo")
}
