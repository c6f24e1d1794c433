//! What the plugin says besides its answer: one line an event, on standard error, where the runtime keeps it, and in the file that `log_file_path`
//! names. Never more than `log_level` asks for, and never anything of the configuration.

use std::io::Write;

use setup::Clock;

use crate::conf::Conf;
use crate::log_file::LogFile;

/// How much to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What went wrong although the request was served.
    Error,
    /// And what was done.
    Info,
    /// And how.
    Debug,
}

impl Level {
    /// The level of that name, in any case. For a name that is none, and for no name, [`Level::Error`].
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

/// Where to log.
pub struct Log<'a> {
    out: &'a mut dyn Write,
    program: &'static str,
    clock: Clock,
    level: Level,
    file: Option<LogFile>,
}

impl<'a> Log<'a> {
    /// A program's log, as the configuration wants it; `out` is standard error.
    pub fn new(out: &'a mut dyn Write, program: &'static str, clock: Clock, conf: &Conf) -> Log<'a> {
        Log { out, program, clock, level: conf.log_level(), file: LogFile::of(conf) }
    }

    /// Logs a line, if it is of interest. A log that cannot be written stops nothing.
    pub fn say(&mut self, level: Level, line: impl std::fmt::Display) {
        if level <= self.level {
            let now = self.clock.now();
            let (time, name) = (api::time::rfc3339(now), level.name());
            let line = api::fault::printable(&line.to_string().replace('\n', " "));
            let line = format!("{time} [{name}] {}: {line}\n", self.program);
            let _ = self.out.write_all(line.as_bytes());
            if let Some(Err(error)) = self.file.as_mut().map(|file| file.append(&line, now)) {
                self.file = None;
                let _ =
                    writeln!(self.out, "{time} [ERROR] {}: no log file is written: {error}", self.program);
            }
        }
    }

    /// Passes on what another program wrote to its standard error, control characters spelled out; it has written to its file itself.
    pub fn pass_on(&mut self, text: &str) {
        let _ = self.out.write_all(api::fault::printable_lines(text).as_bytes());
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

    #[test]
    fn only_what_is_asked_for() {
        for (name, lines) in [("", 1), ("loud", 1), ("error", 1), ("Info", 2), ("DEBUG", 3)] {
            let mut out = Vec::new();
            let conf = conf(json!({"name": "n", "log_level": name}));
            let mut log = Log::new(&mut out, "p", Clock::start(), &conf);
            for level in [Level::Error, Level::Info, Level::Debug] {
                log.say(level, "a\nb");
            }
            assert_eq!(String::from_utf8(out).unwrap().lines().count(), lines, "{name}");
        }
    }

    #[test]
    fn the_same_lines_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/cni.log");
        let conf = conf(json!({"name": "n", "log_level": "info", "log_file_path": path}));
        let mut all = Vec::new();
        for line in ["one", "two"] {
            let mut log = Log::new(&mut all, "p", Clock::start(), &conf);
            log.say(Level::Info, line);
            log.say(Level::Debug, "not asked for");
        }
        assert_eq!(std::fs::read(&path).unwrap(), all);
        assert_eq!(String::from_utf8(all).unwrap().lines().count(), 2);
    }

    /// Whoever reads the runtime's log is told, once.
    #[test]
    fn a_file_that_cannot_be_written_stops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let path = dir.path().join("file/cni.log");
        let mut out = Vec::new();
        let conf = conf(json!({"name": "n", "log_file_path": path}));
        let mut log = Log::new(&mut out, "p", Clock::start(), &conf);
        log.say(Level::Error, "one");
        log.say(Level::Error, "two");
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert_eq!(text.matches("no log file is written: ").count(), 1, "{text}");
    }
}
