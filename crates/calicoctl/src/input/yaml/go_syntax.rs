//! Go's `%#v` of a value that goyaml has decoded, as error messages quote it.

use super::decode::Decoded;
use crate::output::number;

/// The value in Go syntax. A null is `<nil>` by itself, and `interface {}(nil)` inside of a list or map.
pub(super) fn go_syntax(value: &Decoded) -> String {
    let mut text = String::new();
    match value {
        Decoded::Null => text.push_str("<nil>"),
        value => write(&mut text, value),
    }
    text
}

fn write(text: &mut String, value: &Decoded) {
    match value {
        Decoded::Null => text.push_str("interface {}(nil)"),
        Decoded::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Decoded::Int(value) => text.push_str(&value.to_string()),
        Decoded::Uint(value) => text.push_str(&format!("{value:#x}")),
        Decoded::Float(value) => text.push_str(&number::general(*value)),
        Decoded::Text(value) => quote(text, value),
        Decoded::List(items) => {
            text.push_str("[]interface {}{");
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                write(text, item);
            }
            text.push('}');
        }
        Decoded::Map(entries) => {
            text.push_str("map[interface {}]interface {}{");
            for (index, (key, value)) in entries.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                write(text, &key.0);
                text.push(':');
                write(text, value);
            }
            text.push('}');
        }
    }
}

/// Go's `strconv.Quote`.
fn quote(text: &mut String, value: &str) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{7}' => text.push_str("\\a"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{b}' => text.push_str("\\v"),
            ' ' => text.push(' '),
            c if c < ' ' || c == '\u{7f}' => text.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_control()
                || c.is_whitespace()
                || matches!(c, '\u{ad}' | '\u{feff}' | '\u{200b}'..='\u{200f}') =>
            {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}
