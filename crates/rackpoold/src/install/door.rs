//! The readers of a network's template and of the notes, as plain functions, for tests of other crates.

use serde_json::Value as Json;

use super::template::{TemplateError, filled_in};

/// Fills in a template of a network's configuration.
pub fn template(text: &str, words: &[(&'static str, String)]) -> Result<Json, TemplateError> {
    filled_in(text, "CNI_NETWORK_CONFIG", words)
}

/// Reads the notes. Gives how many files they name; `None` where the text is something else.
pub fn notes(text: &str) -> Option<usize> {
    super::notes::files_in(text).map(|files| files.len())
}
