//! The plugin's log: one line for each event, on standard error, which the runtime keeps, and in the file
//! that `log_file_path` names. `log_level` limits what is logged. Nothing of the configuration is ever
//! logged.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use setup::Clock;

use crate::conf::Conf;
use crate::log_file::LogFile;

/// How much to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Faults that did not stop the request.
    Error,
    /// Also what was done.
    Info,
    /// Also the details of how it was done.
    Debug,
}

impl Level {
    /// The level of that name, in upper or lower case. [`Level::Error`] for an unknown or empty name.
    pub fn named(name: &str) -> Level {
        match name.to_ascii_lowercase().as_str() {
            "debug" => Level::Debug,
            "info" => Level::Info,
            _ => Level::Error,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Level::Error => "ERROR",
            Level::Info => "INFO",
            Level::Debug => "DEBUG",
        }
    }
}

/// The place for the log lines of all requests: usually standard error.
pub struct Sink(Mutex<Box<dyn Write + Send>>);

impl Sink {
    /// A sink that writes to `out`.
    pub fn new(out: impl Write + Send + 'static) -> Sink {
        Sink(Mutex::new(Box::new(out)))
    }
}

/// Each call's bytes stay together. A call waits while the reader of standard error is slow, as every writer
/// of that stream does.
impl Write for &Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        locked(&self.0).write(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        locked(&self.0).write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        locked(&self.0).flush()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Code that panics under this lock has not written a part of a line, so a poisoned lock can be used.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A buffer that keeps what was written for a later reader. Clones share the buffer.
#[derive(Clone, Debug, Default)]
pub struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    /// All that was written. Bytes that are not UTF-8 become U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&locked(&self.0)).into_owned()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        locked(&self.0).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log of one request.
pub struct Log<'a> {
    sink: &'a Sink,
    program: &'static str,
    clock: Clock,
    level: Level,
    file: Mutex<Option<LogFile>>,
}

impl<'a> Log<'a> {
    /// A log for the program `program`, with the level and the file that the configuration asks for.
    pub fn new(sink: &'a Sink, program: &'static str, clock: Clock, conf: &Conf) -> Log<'a> {
        let level = Level::named(conf.text(&["log_level"]).unwrap_or_default());
        Log { sink, program, clock, level, file: Mutex::new(LogFile::of(conf)) }
    }

    /// Logs a line, if the log's level includes `level`. An error in writing the log is not reported to the
    /// caller.
    pub fn say(&self, level: Level, line: impl std::fmt::Display) {
        if level <= self.level {
            let now = self.clock.now();
            let (time, name) = (api::time::rfc3339(now), level.name());
            let line = api::fault::printable(&line.to_string().replace('\n', " "));
            let line = format!("{time} [{name}] {}: {line}\n", self.program);
            let mut out = self.sink;
            let _ = out.write_all(line.as_bytes());
            let mut file = locked(&self.file);
            if let Some(Err(error)) = file.as_mut().map(|file| file.append(&line, now)) {
                *file = None;
                let line = format!("{time} [ERROR] {}: no log file is written: {error}\n", self.program);
                let _ = out.write_all(line.as_bytes());
            }
        }
    }

    /// Passes on what another program wrote to its standard error, with control characters spelled out. It is
    /// not written to the file, since that program writes to the file itself.
    pub fn pass_on(&self, text: &str) {
        let mut out = self.sink;
        let _ = out.write_all(api::fault::printable_lines(text).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::conf::Document;

    fn conf(fields: serde_json::Value) -> Conf {
        Document::parse(fields.to_string().as_bytes()).unwrap().conf().unwrap()
    }

    fn kept() -> (Kept, Sink) {
        let kept = Kept::default();
        (kept.clone(), Sink::new(kept))
    }

    #[test]
    fn only_what_is_asked_for() {
        for (name, lines) in [("", 1), ("loud", 1), ("error", 1), ("Info", 2), ("DEBUG", 3)] {
            let (out, sink) = kept();
            let conf = conf(json!({"name": "n", "log_level": name}));
            let log = Log::new(&sink, "p", Clock::start(), &conf);
            for level in [Level::Error, Level::Info, Level::Debug] {
                log.say(level, "a\nb");
            }
            assert_eq!(out.text().lines().count(), lines, "{name}");
        }
    }

    #[test]
    fn the_same_lines_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/cni.log");
        let conf = conf(json!({"name": "n", "log_level": "info", "log_file_path": path}));
        let (all, sink) = kept();
        for line in ["one", "two"] {
            let log = Log::new(&sink, "p", Clock::start(), &conf);
            log.say(Level::Info, line);
            log.say(Level::Debug, "not asked for");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), all.text());
        assert_eq!(all.text().lines().count(), 2);
    }

    /// An unwritable log file is reported once, in the runtime's log.
    #[test]
    fn a_file_that_cannot_be_written_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let path = dir.path().join("file/cni.log");
        let (out, sink) = kept();
        let conf = conf(json!({"name": "n", "log_file_path": path}));
        let log = Log::new(&sink, "p", Clock::start(), &conf);
        log.say(Level::Error, "one");
        log.say(Level::Error, "two");
        let text = out.text();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert_eq!(text.matches("no log file is written: ").count(), 1, "{text}");
    }
}
