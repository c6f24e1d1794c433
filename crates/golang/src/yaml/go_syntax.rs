//! Go's `%#v` of a value that goyaml has decoded, as error messages quote it.

use super::decode::Decoded;
use crate::number;
use crate::strconv::quote;

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
        Decoded::Text(value) => text.push_str(&quote(value)),
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
