//! Runs each target in a process of its own, and finds out which input a process did not survive.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use fuzz_targets::{Target, corpus};

use crate::child::Failed;

/// A process whose input does not change for so long is ended. (A busy machine makes this long; what an input
/// costs is measured by the processor's time.)
const PATIENCE: Duration = Duration::from_secs(60);
/// How often is looked.
const PAUSE: Duration = Duration::from_millis(20);
/// The code with which a process ends whose single input failed.
pub(crate) const FAILED: u8 = 3;

/// What is to be run.
pub(crate) struct Run<'a> {
    pub target: &'a Target,
    pub inputs: u64,
    pub seed: u64,
    /// The folder for files of this run.
    pub folder: &'a Path,
}

impl Run<'_> {
    /// Runs all inputs. Gives those that failed: number and failure.
    pub fn all(&self) -> io::Result<Vec<(u64, Failed)>> {
        // The corpus comes first, and is not counted.
        let end = self.inputs + corpus::of(self.target.name)?.len() as u64;
        let progress = self.folder.join(format!("{}.progress", self.target.name));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&progress)?;
        let mut command = this_program()?;
        command.arg(self.target.name).args(["--seed", &self.seed.to_string(), "--until", &end.to_string()]);
        command.arg("--progress").arg(&progress);
        let at = || {
            let mut number = [0; 8];
            file.read_at(&mut number, 0).map(|_| u64::from_le_bytes(number)).unwrap_or_default()
        };
        let (said, ended) = hear(&mut command, at)?;
        let failures = said.lines().filter_map(|line| {
            let mut parts = line.splitn(3, '\t');
            let number = parts.next()?.parse().ok()?;
            Some((number, Failed { kind: parts.next()?.to_string(), words: parts.next()?.to_string() }))
        });
        let mut failures: Vec<_> = failures.collect();
        failures.extend(ended.map(|failed| (at(), failed)));
        Ok(failures)
    }
}

/// Runs one input in a process of its own.
pub(crate) fn one(target: &Target, input: &[u8], folder: &Path) -> io::Result<Option<Failed>> {
    let file = folder.join(format!("{}.input", target.name));
    fs::write(&file, input)?;
    let mut command = this_program()?;
    command.arg(target.name).arg("--input").arg(&file);
    let (said, ended) = hear(&mut command, || 0)?;
    let told = said.split_once('\t').map(|(kind, words)| Failed { kind: kind.into(), words: words.into() });
    Ok(told.or(ended))
}

/// Hears a process to its end. `at` tells the number of its input. Gives what it wrote and, where it ended by
/// something else than itself, by what.
fn hear(command: &mut Command, at: impl Fn() -> u64) -> io::Result<(String, Option<Failed>)> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let read = |pipe: Option<&mut dyn Read>| {
        let mut text = Vec::new();
        // A process that is gone has closed its pipes.
        let _ = pipe.map(|pipe| pipe.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    };
    std::thread::scope(|scope| {
        let out = scope.spawn(|| read(out.as_mut().map(|pipe| pipe as &mut dyn Read)));
        let err = scope.spawn(|| read(err.as_mut().map(|pipe| pipe as &mut dyn Read)));
        let status = wait(&mut child, at)?;
        let joined = |text: std::thread::ScopedJoinHandle<'_, String>| text.join().unwrap_or_default();
        let (said, lamented) = (joined(out), joined(err));
        let words = || lamented.lines().next_back().unwrap_or_default().to_string();
        let ended = match status {
            None => Some(Failed { kind: "endless".to_string(), words: format!("longer than {PATIENCE:?}") }),
            Some(status) if status.success() || status.code() == Some(FAILED.into()) => None,
            Some(status) => match status.signal() {
                Some(signal) => Some(Failed { kind: format!("signal {signal}"), words: words() }),
                None => return Err(io::Error::other(format!("{status}: {lamented}"))),
            },
        };
        Ok((said, ended))
    })
}

/// Waits for a process; `None` where it did not come to an end and was ended.
fn wait(child: &mut Child, at: impl Fn() -> u64) -> io::Result<Option<ExitStatus>> {
    let (mut last, mut unchanged) = (at(), Duration::ZERO);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        sleep(PAUSE);
        let now = at();
        unchanged = if now == last { unchanged + PAUSE } else { Duration::ZERO };
        last = now;
        if unchanged > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
    }
}

fn this_program() -> io::Result<Command> {
    let path: PathBuf = std::env::current_exe()?;
    Ok(Command::new(path))
}
