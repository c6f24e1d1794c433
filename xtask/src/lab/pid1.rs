//! The first process of a namespace of process ids; when it ends, the kernel kills all others in the
//! namespace. It starts one program, reaps processes whose parents have ended, and ends with the program.

use std::process::Command;

use anyhow::{Context, Result};
use rustix::process::{Pid, WaitOptions, wait};

/// Starts the program. When it ends, this process ends, and with it the namespace.
pub fn run(command: &[String]) -> Result<()> {
    let (program, arguments) = command.split_first().context("a program to start")?;
    let child = Command::new(program).args(arguments).spawn().with_context(|| program.clone())?;
    let child = Pid::from_child(&child);
    loop {
        let Some((ended, status)) = wait(WaitOptions::empty())? else { continue };
        if ended == child {
            std::process::exit(status.exit_status().unwrap_or(1));
        }
    }
}
