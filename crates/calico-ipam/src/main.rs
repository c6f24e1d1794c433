//! The plugin's program; the library does the work.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::process::ExitCode;

fn main() -> ExitCode {
    calico_ipam::answer_panics();
    // The answer must go out in one write; the standard library's own handle would cut it at its last
    // newline.
    let unbuffered = std::io::stdout().as_fd().try_clone_to_owned().map(File::from);
    let stdout: &mut dyn Write = match unbuffered {
        Ok(file) => &mut { file },
        // There is none, or no descriptor left; the standard library's says so when it is written to.
        Err(_) => &mut std::io::stdout().lock(),
    };
    ExitCode::from(calico_ipam::run(calico_ipam::Io {
        args: std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect(),
        environment: setup::Environment::from_process(),
        stdin: &mut std::io::stdin().lock(),
        stdout,
        stderr: cni::log::Sink::new(std::io::stderr()),
    }))
}
