//! What the lab's processes say to the one that started them: a JSON value a line, on standard output.

use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What is said.
#[derive(Debug, Serialize, Deserialize)]
pub enum Said {
    /// Where the lab keeps its things.
    Folder(PathBuf),
    /// How far it is.
    Progress(String),
    /// All nodes are ready.
    Ready,
    /// Why it is not.
    Failed(String),
}

/// Says it. Nobody may listen any more.
pub fn say(said: &Said) {
    if let Ok(line) = serde_json::to_string(said) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// Tells how far it is.
pub fn progress(text: impl Into<String>) {
    say(&Said::Progress(text.into()));
}
