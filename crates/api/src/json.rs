//! JSON text as Go's `encoding/json` writes it.

use serde_json::Value;

/// Compact text with `<`, `>`, `&` and the line separators U+2028, U+2029 escaped, as Go does; the order of
/// keys is that of `value`.
pub fn to_go_text(value: &Value) -> String {
    escape(&value.to_string())
}

/// Applies Go's HTML-safe escaping to JSON text. These characters occur only inside strings, so the text can
/// be treated as a whole.
pub fn escape(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn escapes_as_go() {
        let value = serde_json::json!({"b": "x && y > <z>", "a": 1});
        assert_eq!(super::to_go_text(&value), r#"{"b":"x \u0026\u0026 y \u003e \u003cz\u003e","a":1}"#);
    }
}
