//! Writes the plugin's answers, which the container runtime reads.

use std::io::{self, Write};

use serde_json::{Value as Json, json};

use crate::conf::VERSIONS;
use crate::error::CniError;

/// The text of an answer: indented by four spaces, without a newline at its end, with the characters escaped
/// that Go escapes.
pub fn text(json: &Json) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut out, formatter);
    serde::Serialize::serialize(json, &mut writer).expect("a JSON value always serializes into memory");
    let text = golang::json::escape(&String::from_utf8_lossy(&out));
    // Some terminals take these characters for commands, and somebody may show the answer on one.
    let obeyed = |c: char| matches!(c, '\u{7f}'..='\u{9f}');
    if !text.contains(obeyed) {
        return text;
    }
    let spelled = |c: char| if obeyed(c) { format!("\\u{:04x}", c as u32) } else { c.to_string() };
    text.chars().map(spelled).collect()
}

/// Writes an answer, or the JSON object of an error. Gives the exit code.
///
/// # Errors
/// When standard output cannot be written.
pub fn give(answer: Result<String, CniError>, stdout: &mut dyn Write) -> io::Result<u8> {
    let (answer, code) = match answer {
        Ok(answer) => (answer, 0),
        Err(error) => (text(&error.to_json()), 1),
    };
    stdout.write_all(answer.as_bytes())?;
    stdout.flush()?;
    Ok(code)
}

/// The answer to the command VERSION.
pub fn versions() -> String {
    format!("{}\n", json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text() {
        assert_eq!(text(&json!("\u{1b}\u{9b}\u{7f}")), r#""\u001b\u009b\u007f""#);
        let text = text(&json!({"code": 999, "msg": "a <b>"}));
        assert_eq!(text, "{\n    \"code\": 999,\n    \"msg\": \"a \\u003cb\\u003e\"\n}");
    }
}
