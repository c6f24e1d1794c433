//! What the plugin says besides its answer: one line an event, on standard error, where the runtime keeps it. Never more than `log_level`
//! asks for, and never anything of the configuration.

use std::io::Write;

use setup::Clock;

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
}

impl<'a> Log<'a> {
    /// A program's log, of that level.
    pub fn new(out: &'a mut dyn Write, program: &'static str, clock: Clock, level: Level) -> Log<'a> {
        Log { out, program, clock, level }
    }

    /// Logs a line, if it is of interest. A log that cannot be written stops nothing.
    pub fn say(&mut self, level: Level, line: impl std::fmt::Display) {
        if level <= self.level {
            let (time, name) = (api::time::rfc3339(self.clock.now()), level.name());
            let line = line.to_string().replace('\n', " ");
            let _ = writeln!(self.out, "{time} [{name}] {}: {line}", self.program);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for() {
        for (name, lines) in [("", 1), ("loud", 1), ("error", 1), ("Info", 2), ("DEBUG", 3)] {
            let mut out = Vec::new();
            let mut log = Log::new(&mut out, "p", Clock::start(), Level::named(name));
            for level in [Level::Error, Level::Info, Level::Debug] {
                log.say(level, "a\nb");
            }
            assert_eq!(String::from_utf8(out).unwrap().lines().count(), lines, "{name}");
        }
    }
}
