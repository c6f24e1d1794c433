//! The daemon's own log, on standard error.

use std::fmt;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// The log that has begun.
pub struct Log(Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>);

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Log")
    }
}

impl Log {
    /// From now on the log tells this: a level, or a filter as `tracing` has it.
    ///
    /// # Errors
    /// When the level cannot be understood.
    pub fn set_level(&self, level: &str) -> Result<(), String> {
        self.0(filter(level)?)
    }
}

/// Begins the log. `level` is one of error, warn, info, debug and trace, or a filter as `tracing` has it.
///
/// # Errors
/// When the level cannot be understood.
pub fn begin(format: Format, level: &str) -> Result<Log, String> {
    let filter = filter(level)?;
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    Ok(match format {
        Format::Text => {
            let log = log.with_ansi(false).with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Log(Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())))
        }
        Format::Json => {
            let log = log.json().with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Log(Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string())))
        }
    })
}

fn filter(level: &str) -> Result<EnvFilter, String> {
    EnvFilter::try_new(level).map_err(|error| {
        format!("--log-level {level}: {error}; the levels are error, warn, info, debug, trace")
    })
}
