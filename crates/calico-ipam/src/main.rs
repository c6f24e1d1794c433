//! The plugin as a program; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(calico_ipam::run(calico_ipam::Io {
        args: std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect(),
        environment: setup::Environment::from_process(),
        stdin: &mut std::io::stdin().lock(),
        stdout: &mut std::io::stdout().lock(),
        stderr: &mut std::io::stderr().lock(),
    }))
}
