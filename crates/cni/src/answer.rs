//! What the runtime reads.

use serde_json::{Value as Json, json};

use crate::conf::VERSIONS;

/// The text of an answer: four spaces deep, without a newline at its end, escaped as Go escapes.
pub fn text(json: &Json) -> String {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut out, formatter);
    serde::Serialize::serialize(json, &mut writer).expect("a JSON value always serializes into memory");
    api::json::escape(&String::from_utf8_lossy(&out))
}

/// What VERSION answers.
pub fn versions() -> String {
    format!("{}\n", json!({"cniVersion": "1.1.0", "supportedVersions": VERSIONS}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text() {
        let text = text(&json!({"code": 999, "msg": "a <b>"}));
        assert_eq!(text, "{\n    \"code\": 999,\n    \"msg\": \"a \\u003cb\\u003e\"\n}");
    }
}
