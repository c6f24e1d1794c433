//! A server's process. It ends when its value is dropped, and at the latest when the process that started it
//! ends.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::ServerError;
use crate::folder::Folder;

/// The process of a running server.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    /// A shell that kills the child and removes its folder when our process has ended.
    guard: Child,
}

/// The guard's script: `read` returns when our process has closed the pipe, which happens however our process
/// ends. The guard ignores Ctrl-C, which the terminal sends to it as well.
const GUARD: &str = "trap '' HUP INT TERM; read _; kill -9 \"$1\"; shift; rm -rf \"$@\"";

impl Process {
    /// Starts the command in its folder, which it may share with other servers. Its output goes to `NAME.log`
    /// in that folder, which is written anew.
    pub(crate) fn start(
        command: &mut Command,
        folder: &Folder,
        name: &'static str,
    ) -> Result<Process, ServerError> {
        let path = folder.path().join(format!("{name}.log"));
        let log = File::create(&path).and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) = log.map_err(ServerError::at(&path))?;
        let failed = |source| ServerError::Start { name: name.to_string(), source };
        let command = command.current_dir(folder.path()).stdin(Stdio::null()).stdout(out).stderr(err);
        let mut child = command.spawn().map_err(failed)?;
        let guard = Command::new("sh")
            .args(["-c", GUARD, "sh", &child.id().to_string()])
            .args(folder.own())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match guard {
            Ok(guard) => Ok(Process { name, child, guard }),
            Err(error) => {
                // The child may have ended by itself.
                let _ = child.kill();
                let _ = child.wait();
                Err(failed(error))
            }
        }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The process id, as the type for signals.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Checks that the process still runs; the error holds the log of a process that has ended by itself.
    pub(crate) fn check(&mut self, folder: &Folder) -> Result<(), ServerError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(ServerError::Ended { name: self.name.to_string(), log: self.log(folder) }),
        }
    }

    /// Waits until the server is ready, at most for a time.
    pub(crate) fn wait(
        &mut self,
        folder: &Folder,
        within: Duration,
        is_ready: impl Fn() -> bool,
    ) -> Result<Wait, ServerError> {
        let start = now();
        while !is_ready() {
            match self.check(folder) {
                Err(ServerError::Ended { log, .. }) if log.contains("address already in use") => {
                    return Ok(Wait::PortTaken);
                }
                checked => checked?,
            }
            if start.elapsed() > within {
                let name = self.name.to_string();
                return Err(ServerError::NotReady { name, within, log: self.log(folder) });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Wait::Ready)
    }

    /// What the process wrote to its log.
    fn log(&self, folder: &Folder) -> String {
        fs::read_to_string(folder.path().join(format!("{}.log", self.name))).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The guard ends first: after the child's end its number may belong to another process, which the
        // guard must not kill.
        for child in [&mut self.guard, &mut self.child] {
            // The process may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The result of waiting for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The server is ready.
    Ready,
    /// The server has ended because another process has its port.
    PortTaken,
}

#[allow(clippy::disallowed_methods, reason = "servers live in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
