//! The messages of a lab's processes to the process that started them: one JSON value on each line of
//! standard output.

use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A message of a lab's process.
#[derive(Debug, Serialize, Deserialize)]
pub enum Said {
    /// The folder with the lab's files.
    Folder(PathBuf),
    /// What the lab does next while it starts.
    Progress(String),
    /// All nodes are ready.
    Ready,
    /// The lab did not start, for this reason.
    Failed(String),
}

/// Sends a message. It is no error if nobody reads it any more.
pub fn say(said: &Said) {
    if let Ok(line) = serde_json::to_string(said) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// Sends a line about the progress.
pub fn progress(text: impl Into<String>) {
    say(&Said::Progress(text.into()));
}
