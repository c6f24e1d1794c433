//! Runs the protocol buffer compiler that crate `protoc-bin-vendored` carries.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let program = match protoc_bin_vendored::protoc_bin_path() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("there is no protoc for this machine: {error}. Install one and set PROTOC to it.");
            return ExitCode::FAILURE;
        }
    };
    let error = Command::new(&program).args(std::env::args_os().skip(1)).exec();
    eprintln!("{}: {error}", program.display());
    ExitCode::FAILURE
}
