//! Work of this program's that runs beside something that mostly waits.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use xtask::cargo::{target_dir, this_program};

/// A process of this program's, at the lowest priority: it gets what others leave of the processors. It ends
/// with this value.
pub struct Beside {
    child: Child,
    /// The file with what it says.
    said: PathBuf,
}

impl Beside {
    /// Starts this program with these arguments.
    pub fn start(arguments: &[&str]) -> Result<Beside> {
        let said = target_dir()?.join(format!("beside-{}.txt", arguments.join("-").replace("--", "")));
        let file = File::create(&said).with_context(|| said.display().to_string())?;
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(this_program()?).args(arguments);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = command.spawn().context("cannot start nice")?;
        println!("begun beside what follows: {}; what it says is in {}", arguments.join(" "), said.display());
        Ok(Beside { child, said })
    }

    /// Waits for its end, and prints what it has said.
    ///
    /// # Errors
    /// When it fails.
    pub fn end(mut self) -> Result<()> {
        let status = self.child.wait()?;
        print!("{}", fs::read_to_string(&self.said)?);
        ensure!(status.success(), "what ran beside other work failed ({status})");
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
                // What it has started goes with it.
                let _ = kill_process_group(group, Signal::TERM);
            }
            let _ = self.child.wait();
        }
    }
}
