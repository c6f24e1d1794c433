//! A process that ends with its value, and with the process that started it.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use crate::ServerError;
use crate::folder::Folder;

/// A running server.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    /// A shell that ends it, and removes its folder, when this process is no more.
    guard: Child,
}

/// Reads until the process that started it closes the pipe, which that does in whatever way it ends. Ctrl-C is not meant for the guard.
const GUARD: &str = "trap '' HUP INT TERM; read _; kill -9 \"$1\"; shift; rm -rf \"$@\"";

impl Process {
    /// Starts it in its folder, which others may share with it; what it writes goes to `NAME.log` there, anew.
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
                // It may have ended already.
                let _ = child.kill();
                let _ = child.wait();
                Err(failed(error))
            }
        }
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its number, for signals.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether it still runs; what it wrote, when it has ended by itself.
    pub(crate) fn check(&mut self, folder: &Folder) -> Result<(), ServerError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(ServerError::Ended { name: self.name.to_string(), log: self.log(folder) }),
        }
    }

    /// Waits until it is ready, for at most so long.
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

    /// What it wrote to its log.
    fn log(&self, folder: &Folder) -> String {
        fs::read_to_string(folder.path().join(format!("{}.log", self.name))).unwrap_or_default()
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

/// How a wait for a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It is ready.
    Ready,
    /// It has ended, as somebody else has its port.
    PortTaken,
}

#[allow(clippy::disallowed_methods, reason = "servers live in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
