//! A process that removes a folder when the one that started it ends, whichever way that is.

use std::fs;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// The argument, with a folder after it, by which this program is a sweeper.
pub const SWEEP: &str = "sweep";

/// The one that removes what is left in a folder when this value or this process ends, whichever way that is.
pub struct Sweeper {
    process: Child,
}

impl Sweeper {
    /// Starts it.
    pub fn start(folder: &Path) -> Result<Sweeper> {
        let mut command = Command::new("/proc/self/exe");
        command.arg(SWEEP).arg(folder);
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Ctrl-C here is not meant for it.
        command.process_group(0);
        Ok(Sweeper { process: command.spawn().context("the sweeper")? })
    }

    /// Has it remove all, now.
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

/// Is the sweeper: waits for the end of the one that started it, does what comes first, and removes the
/// folder.
pub fn at_the_end(folder: &Path, first: impl FnOnce() -> Result<()>) -> Result<()> {
    std::io::stdin().lock().read_to_end(&mut Vec::new())?;
    first()?;
    remove(folder)
}

/// Removes a folder into which a process may have written a moment ago.
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
