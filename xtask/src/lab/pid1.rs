//! The first process of a namespace of processes, with which all others in it end. It starts one program,
//! takes in those whose parents have ended, and ends with the program.

use std::process::Command;

use anyhow::{Context, Result};
use rustix::process::{Pid, WaitOptions, wait};

/// Starts it; the end of this process is that of its namespace.
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
