//! A process that ends with its value, and with the process that started it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running server.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// A shell that ends it, and removes its folder, when this process is no more.
    guard: Child,
}

/// Reads until the process that started it closes the pipe, which that does in whatever way it ends. Ctrl-C is not meant for the guard.
const GUARD: &str = "trap '' HUP INT TERM; read _; kill -9 \"$1\"; rm -rf \"$2\"";

impl Process {
    /// Starts it in a folder of its own, or one that it shares with others of its kind; what it writes goes to `NAME.log` there, anew.
    pub(super) fn start(command: &mut Command, folder: &Path, name: &str) -> io::Result<Process> {
        let log = File::create(folder.join(format!("{name}.log")))?;
        let mut child =
            command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        let guard = Command::new("sh")
            .args(["-c", GUARD, "sh", &child.id().to_string()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match guard {
            Ok(guard) => Ok(Process { child, guard }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// Its number.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The guard first, so that it never kills another process of the same number.
        for child in [&mut self.guard, &mut self.child] {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
