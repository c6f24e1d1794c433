//! Objects as YAML, for a terminal.

use serde_json::Value;

/// The document for `value`, as Go writes it. Only within quotes can a character that a terminal obeys be
/// written in another way.
pub fn to_text(value: &Value) -> String {
    golang::yaml::to_text_quoting(value, |c| api::fault::is_obeyed(c) && !c.is_control())
}
