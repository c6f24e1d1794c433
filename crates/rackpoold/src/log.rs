//! The daemon's own log, on standard error.

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

/// Begins the log. `level` is one of error, warn, info, debug and trace, or a filter as `tracing` has it.
///
/// # Errors
/// When the level cannot be understood.
pub fn begin(format: Format, level: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        format!("--log-level {level}: {error}; the levels are error, warn, info, debug, trace")
    })?;
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match format {
        Format::Text => log.with_ansi(false).init(),
        Format::Json => log.json().init(),
    }
    Ok(())
}
