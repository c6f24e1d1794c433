//! Another program, run within bounds.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::size::Size;

/// How long a program may still run when it has closed its output, and how often it is looked at meanwhile.
const LAST_WORDS: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(1);

/// What a program may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until it has closed its output.
    pub time: Duration,
    /// Bytes on standard output; who says more is ended.
    pub stdout: usize,
    /// Bytes on standard error; what is more is dropped.
    pub stderr: usize,
}

/// Why a program gave no answer. It has ended in each case.
#[derive(Debug)]
pub enum ProgramError {
    /// It did not come to its end in that time.
    Slow(Duration),
    /// It said more than that.
    Wordy(usize),
    /// It cannot be heard, or waited for.
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

/// What a program that ended has said.
#[derive(Debug)]
pub struct Heard {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, where that was a pipe.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error, where that was a pipe.
    pub stderr: Vec<u8>,
    /// How many bytes of its standard error were dropped.
    pub dropped: u64,
}

/// A program that runs. Dropped before it has ended, it is killed; and whatever it has started with it, unless it shares our process group.
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
    /// The system's.
    pub fn start(command: &mut Command) -> io::Result<Program> {
        let child = command.process_group(0).spawn()?;
        Ok(Program { child, has_group: true, has_ended: false })
    }

    /// Starts a program that may talk to the person at the terminal, which only our own process group may.
    ///
    /// # Errors
    /// The system's.
    pub fn start_at_terminal(command: &mut Command) -> io::Result<Program> {
        Ok(Program { child: command.spawn()?, has_group: false, has_ended: false })
    }

    /// Tells it its input and hears what it says until it ends.
    ///
    /// # Errors
    /// See [`ProgramError`].
    pub fn hear(mut self, input: Vec<u8>, limits: Limits) -> Result<Heard, ProgramError> {
        let stdout = hear_whole(self.child.stdout.take(), limits.stdout)?;
        let stderr = hear_beginning(self.child.stderr.take(), limits.stderr)?;
        if let Some(mut stdin) = self.child.stdin.take() {
            // A program that reads nothing has its own reasons, and says them.
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

    /// The end of a program that has said everything.
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
        // It is not waited for before, so the number is still its own. It may have ended by itself just now.
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).filter(|_| self.has_group);
        match group {
            Some(group) => drop(kill_process_group(group, Signal::KILL)),
            None => drop(self.child.kill()),
        }
        let _ = self.child.wait();
    }
}

/// All that comes from there, when it has ended; `None` as soon as it is more.
fn hear_whole(
    from: Option<impl Read + Send + 'static>,
    most: usize,
) -> io::Result<Receiver<Option<Vec<u8>>>> {
    let (to, heard) = mpsc::channel();
    thread::Builder::new().spawn(move || {
        let mut bytes = Vec::new();
        if let Some(from) = from {
            // What came until then counts.
            let _ = from.take(most as u64 + 1).read_to_end(&mut bytes);
        }
        // Nobody listens when the time was over.
        let _ = to.send(Some(bytes).filter(|bytes| bytes.len() <= most));
    })?;
    Ok(heard)
}

/// The beginning of what comes from there, and how many bytes more there were, when it has ended.
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

    /// Whom it has started goes with it.
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
        // A zombie has ended; whoever adopted it may be slow to notice.
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
