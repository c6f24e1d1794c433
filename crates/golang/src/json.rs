//! Go's `encoding/json`: JSON texts as Go writes them, and Go's errors for texts that are not JSON
//! ([`scanner`]).

pub mod scanner;

use std::fmt::Write;

use serde_json::Value;

use crate::number;

/// The text of `value` in one line, as `json.Marshal` writes it. Objects keep their order; `<`, `>`, `&`,
/// U+2028 and U+2029 are escaped, as Go does for HTML's sake.
pub fn to_text(value: &Value) -> String {
    write(value, None)
}

/// The text of `value` on several lines, as `json.MarshalIndent` writes it, with `indent` blanks per level
/// and no newline at the end.
pub fn to_indented_text(value: &Value, indent: usize) -> String {
    write(value, Some(indent))
}

fn write(value: &Value, indent: Option<usize>) -> String {
    let mut writer = Writer { text: String::new(), indent };
    writer.value(value, 0);
    writer.text
}

/// Applies Go's HTML-safe escaping to JSON text. The characters occur only inside of strings, so the text can
/// be treated as a whole.
pub fn escape(json: &str) -> String {
    // Where one of the characters may begin: at its first byte.
    let may_begin = |byte: u8| matches!(byte, b'<' | b'>' | b'&' | 0xE2);
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.bytes().position(may_begin) {
        out.push_str(&rest[..at]);
        let mut from = rest[at..].chars();
        match from.next() {
            Some('<') => out.push_str("\\u003c"),
            Some('>') => out.push_str("\\u003e"),
            Some('&') => out.push_str("\\u0026"),
            Some('\u{2028}') => out.push_str("\\u2028"),
            Some('\u{2029}') => out.push_str("\\u2029"),
            other => out.extend(other),
        }
        rest = from.as_str();
    }
    out + rest
}

/// What Go calls a JSON value in its errors.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

struct Writer {
    text: String,
    /// Blanks per level; `None` for all in one line.
    indent: Option<usize>,
}

impl Writer {
    fn value(&mut self, value: &Value, level: usize) {
        match value {
            Value::Null => self.text.push_str("null"),
            Value::Bool(value) => self.text.push_str(if *value { "true" } else { "false" }),
            Value::Number(value) => self.text.push_str(&number::json_number(value)),
            Value::String(text) => self.string(text),
            Value::Array(items) => {
                self.write_enclosed('[', ']', items, level, |writer, item| writer.value(item, level + 1))
            }
            Value::Object(entries) => {
                self.write_enclosed('{', '}', entries, level, |writer, (key, value)| {
                    writer.string(key);
                    writer.text.push_str(if writer.indent.is_some() { ": " } else { ":" });
                    writer.value(value, level + 1);
                })
            }
        }
    }

    fn write_enclosed<T>(
        &mut self,
        open: char,
        close: char,
        items: impl IntoIterator<Item = T>,
        level: usize,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.text.push(open);
        let mut empty = true;
        for item in items {
            if !empty {
                self.text.push(',');
            }
            empty = false;
            self.line(level + 1);
            write(self, item);
        }
        if !empty {
            self.line(level);
        }
        self.text.push(close);
    }

    fn line(&mut self, level: usize) {
        let Some(indent) = self.indent else { return };
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n(' ', level * indent));
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                    write!(self.text, "\\u{:04x}", u32::from(c)).expect("a string takes any text");
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn escapes_as_go_does() {
        let value = json!({"b": "x && y > <z>\u{8}\u{7f}", "a": [1, 2.0, 1e21]});
        let text =
            r#"{"b":"x \u0026\u0026 y \u003e \u003cz\u003e\b"#.to_string() + "\u{7f}\",\"a\":[1,2,1e+21]}";
        assert_eq!(super::to_text(&value), text);
        assert_eq!(super::escape(&text), text);
    }
}
