//! A process that ends with its value, and with the process that started it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running server.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// A shell that ends it when this process is no more.
    guard: Child,
}

impl Process {
    /// Starts it; what it writes goes to the file `log`, anew.
    pub(super) fn start(command: &mut Command, log: &Path) -> io::Result<Process> {
        let log = File::create(log)?;
        let mut child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        // Reads until this process closes the pipe, which it does in whatever way it ends.
        let guard = Command::new("sh")
            .args(["-c", "read _; kill -9 \"$1\"", "sh", &child.id().to_string()])
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
