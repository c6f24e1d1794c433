//! Runs another program within bounds of time and output.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::size::Size;

/// How long a program may still run after it has closed its output; and how long to sleep between two checks
/// whether it has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(1);

/// The bounds of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long the program may take to close its output.
    pub time: Duration,
    /// How many bytes the program may write to standard output. A program that writes more is killed.
    pub stdout: usize,
    /// How many bytes of standard error are kept. Further bytes are read and dropped.
    pub stderr: usize,
}

/// Why a program gave no usable answer. In each case the program has ended.
#[derive(Debug)]
pub enum ProgramError {
    /// The program did not end within this time.
    Slow(Duration),
    /// The program wrote more than this many bytes to standard output.
    Wordy(usize),
    /// The program's output could not be read, or its end could not be awaited.
    Io(io::Error),
}

impl std::fmt::Display for ProgramError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ProgramError::Slow(time) => write!(f, "it did not end within {time:?}, and was killed"),
            ProgramError::Wordy(most) => {
                write!(f, "it wrote more than {} to its standard output, and was killed", Size(*most))
            }
            ProgramError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ProgramError {}

impl From<io::Error> for ProgramError {
    fn from(error: io::Error) -> Self {
        ProgramError::Io(error)
    }
}

/// The output of a program that has ended.
#[derive(Debug)]
pub struct Heard {
    /// The exit status.
    pub status: ExitStatus,
    /// What the program wrote to standard output, where that was a pipe.
    pub stdout: Vec<u8>,
    /// The first bytes that the program wrote to standard error, where that was a pipe.
    pub stderr: Vec<u8>,
    /// How many bytes of standard error were dropped.
    pub dropped: u64,
}

/// A running program. If it is dropped before the program has ended, it kills the program and all processes
/// that the program has started, unless the program shares our process group.
#[derive(Debug)]
pub struct Program {
    child: Child,
    has_group: bool,
    has_ended: bool,
}

impl Program {
    /// Starts a program in a process group of its own.
    ///
    /// # Errors
    /// The system's error.
    pub fn start(command: &mut Command) -> io::Result<Program> {
        let child = command.process_group(0).spawn()?;
        Ok(Program { child, has_group: true, has_ended: false })
    }

    /// Starts a program that may talk to the person at the terminal. It stays in the caller's process group:
    /// a terminal lets only the processes of its foreground group read.
    ///
    /// # Errors
    /// The system's error.
    pub fn start_at_terminal(command: &mut Command) -> io::Result<Program> {
        Ok(Program { child: command.spawn()?, has_group: false, has_ended: false })
    }

    /// Writes the program's input, and reads its output until it ends.
    ///
    /// # Errors
    /// See [`ProgramError`].
    pub fn hear(mut self, input: Vec<u8>, limits: Limits) -> Result<Heard, ProgramError> {
        let stdout = hear_whole(self.child.stdout.take(), limits.stdout)?;
        let stderr = hear_beginning(self.child.stderr.take(), limits.stderr)?;
        if let Some(mut stdin) = self.child.stdin.take() {
            // The write fails when the program does not read its input. That is no error here: the program's
            // own output says whether it failed.
            thread::Builder::new().spawn(move || drop(stdin.write_all(&input)))?;
        }
        let slow = |_| ProgramError::Slow(limits.time);
        let stdout =
            stdout.recv_timeout(limits.time).map_err(slow)?.ok_or(ProgramError::Wordy(limits.stdout))?;
        let (stderr, dropped) = stderr.recv_timeout(LAST_WORDS).map_err(slow)?;
        let status = self.end()?.ok_or(ProgramError::Slow(limits.time))?;
        self.has_ended = true;
        Ok(Heard { status, stdout, stderr, dropped })
    }

    /// Waits for the end of a program that has closed its output; `None` where it does not end in time.
    fn end(&mut self) -> io::Result<Option<ExitStatus>> {
        let mut waited = Duration::ZERO;
        loop {
            match self.child.try_wait()? {
                None if waited < LAST_WORDS => thread::sleep(LOOK),
                ended => return Ok(ended),
            }
            waited += LOOK;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        // Nobody has waited for the child yet, so its number cannot belong to another process, even if the
        // child has just ended by itself.
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).filter(|_| self.has_group);
        match group {
            Some(group) => drop(kill_process_group(group, Signal::KILL)),
            None => drop(self.child.kill()),
        }
        let _ = self.child.wait();
    }
}

/// Reads a stream to its end on another thread. The result is `None` where the stream holds more than `most`
/// bytes.
fn hear_whole(
    from: Option<impl Read + Send + 'static>,
    most: usize,
) -> io::Result<Receiver<Option<Vec<u8>>>> {
    let (to, heard) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        let mut bytes = Vec::new();
        if let Some(from) = from {
            // After an error, what was read before the error counts.
            let _ = from.take(most as u64 + 1).read_to_end(&mut bytes);
        }
        // The receiver is gone when the time has run out.
        let _ = to.send(Some(bytes).filter(|bytes| bytes.len() <= most));
    })?;
    Ok(heard)
}

/// Reads a stream to its end on another thread. The result is its first `most` bytes, and how many more bytes
/// it had.
fn hear_beginning(
    from: Option<impl Read + Send + 'static>,
    most: usize,
) -> io::Result<Receiver<(Vec<u8>, u64)>> {
    let (to, heard) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        let (mut bytes, mut dropped) = (Vec::new(), 0);
        if let Some(mut from) = from {
            let _ = from.by_ref().take(most as u64).read_to_end(&mut bytes);
            dropped = io::copy(&mut from, &mut io::sink()).unwrap_or_default();
        }
        let _ = to.send((bytes, dropped));
    })?;
    Ok(heard)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Stdio;

    use super::*;

    const LIMITS: Limits = Limits { time: Duration::from_secs(60), stdout: 1 << 16, stderr: 8 };

    fn hear(script: &str, limits: Limits) -> Result<Heard, ProgramError> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Program::start(&mut command).unwrap().hear(b"input".to_vec(), limits)
    }

    #[test]
    fn what_a_program_says() {
        let heard = hear("cat; echo 12345678901 >&2; exit 3", LIMITS).unwrap();
        assert_eq!((heard.stdout.as_slice(), heard.stderr.as_slice()), (&b"input"[..], &b"12345678"[..]));
        assert_eq!((heard.status.code(), heard.dropped), (Some(3), 4));
    }

    #[test]
    fn who_says_too_much_is_ended() {
        let error = hear("exec cat /dev/zero", LIMITS).unwrap_err();
        assert!(matches!(error, ProgramError::Wordy(_)) && error.to_string().contains("64 KiB"), "{error}");
        let limits = Limits { time: Duration::from_secs(1), ..LIMITS };
        assert!(matches!(hear("exec cat /dev/zero >&2", limits), Err(ProgramError::Slow(_))));
    }

    /// The processes that a program has started are killed together with the program.
    #[test]
    fn who_does_not_end_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let note = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", note.display());
        let error = hear(&script, Limits { time: Duration::from_secs(1), ..LIMITS }).unwrap_err();
        assert!(matches!(error, ProgramError::Slow(_)), "{error}");
        let grandchild = std::fs::read_to_string(note).unwrap();
        let state = || {
            let stat =
                std::fs::read_to_string(format!("/proc/{}/stat", grandchild.trim())).unwrap_or_default();
            stat.rsplit(')').next().unwrap_or_default().trim().chars().next()
        };
        assert!(Path::new("/proc/self/stat").exists());
        // A zombie has ended. Its new parent may take a while to collect it.
        let has_ended = |state| matches!(state, None | Some('Z' | 'X'));
        for _ in 0..1000 {
            if has_ended(state()) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("process {grandchild} still runs: {:?}", state());
    }
}
