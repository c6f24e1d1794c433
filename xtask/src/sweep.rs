//! A sweeper: a process that removes a folder when the process that started it ends, in whatever way.

use std::fs;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// The command of this program that runs a sweeper; the folder follows.
pub const SWEEP: &str = "sweep";

/// A running sweeper. It removes its folder when this value is dropped, and when this process ends, in
/// whatever way.
pub struct Sweeper {
    process: Child,
}

impl Sweeper {
    /// Starts a sweeper for a folder.
    pub fn start(folder: &Path) -> Result<Sweeper> {
        let mut command = Command::new("/proc/self/exe");
        command.arg(SWEEP).arg(folder);
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        // In a process group of its own, so that Ctrl-C does not reach the sweeper.
        command.process_group(0);
        Ok(Sweeper { process: command.spawn().context("the sweeper")? })
    }

    /// Makes the sweeper remove the folder now, and waits for that.
    pub fn sweep(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        let out = self.process.wait_with_output()?;
        if !out.status.success() {
            let why = String::from_utf8_lossy(&out.stderr).trim().to_string();
            bail!("not everything could be removed: {why}");
        }
        Ok(())
    }
}

/// Runs the sweeper: waits until the process that started it ends, calls `first`, and removes the folder.
pub fn at_the_end(folder: &Path, first: impl FnOnce() -> Result<()>) -> Result<()> {
    std::io::stdin().lock().read_to_end(&mut Vec::new())?;
    first()?;
    remove(folder)
}

/// Removes a folder. A process that is just ending may still write into it, so this is tried several times.
pub fn remove(folder: &Path) -> Result<()> {
    const TRIES: u32 = 100;
    for _ in 0..TRIES {
        match fs::remove_dir_all(folder) {
            Err(_) if folder.exists() => std::thread::sleep(Duration::from_millis(50)),
            _ => return Ok(()),
        }
    }
    fs::remove_dir_all(folder).with_context(|| folder.display().to_string())
}
