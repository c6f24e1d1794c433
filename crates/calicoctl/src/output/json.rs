//! JSON text as Go's `json.MarshalIndent` writes it.

use std::fmt::Write;

use serde_json::Value;

use super::number;

/// The text of `value` with `indent` blanks per level and no newline at the end. Objects keep their order;
/// `<`, `>`, `&`, U+2028 and U+2029 are escaped, as Go does for HTML's sake.
pub fn to_text(value: &Value, indent: usize) -> String {
    let mut writer = Writer { text: String::new(), indent };
    writer.value(value, 0);
    writer.text
}

struct Writer {
    text: String,
    indent: usize,
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
                    writer.text.push_str(": ");
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
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n(' ', level * self.indent));
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
