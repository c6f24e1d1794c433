//! Shortens stored texts and values for messages, and makes them safe for a terminal.

use serde_json::Value as Json;

/// How many characters of a value a reason quotes.
const SHOWN: usize = 60;
/// How many bytes of a text a message quotes.
pub const TEXT: usize = 200;

/// The value in one line, short, and safe for a terminal.
pub fn excerpt(json: &Json) -> String {
    let text = printable(&json.to_string());
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// The text, if it has at most that many bytes; else its start and its end, with the number of bytes left out
/// between them. The result is a few bytes longer than `most` then.
pub fn short(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_string();
    }
    let boundary = |at: usize| (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    let (head, tail) = (boundary(most * 3 / 4), boundary(text.len() - most / 4));
    format!("{}[... {} bytes ...]{}", &text[..head], tail - head, &text[tail..])
}

/// Whether a terminal may obey a character instead of showing it. Such are control characters, and characters
/// that turn the direction of writing, with which a line can be made to read as another one.
pub fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with an escape such as `\u{1b}` in the place of each character that a terminal obeys (see
/// [`is_obeyed`]).
pub fn printable(text: &str) -> String {
    with_escapes(text, is_obeyed)
}

/// As [`printable`], but line breaks and tabs stay.
pub fn printable_lines(text: &str) -> String {
    with_escapes(text, |c| is_obeyed(c) && !matches!(c, '\n' | '\t'))
}

fn with_escapes(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    if !text.contains(&is_escaped) {
        return text.to_string();
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if !is_escaped(c) => out.push(c),
            c if c.is_control() => out.extend(c.escape_debug()),
            c => out.extend(c.escape_unicode()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(short("abcdefgh", 8), "abcdefgh");
        assert_eq!(short("abcdefghi", 8), "abcdef[... 1 bytes ...]hi");
        assert!(short(&"é".repeat(1_000_000), 200).len() < 240);
    }

    #[test]
    fn control_characters_are_with_escapes() {
        for (text, shown) in [
            ("plain é", "plain é"),
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("a\nb\tc\u{7f}\u{9b}", "a\\nb\\tc\\u{7f}\\u{9b}"),
            ("a\u{202e}b\u{2066}c\u{200f}", "a\\u{202e}b\\u{2066}c\\u{200f}"),
        ] {
            assert_eq!(printable(text), shown);
        }
        assert_eq!(printable_lines("a\nb\tc\r\u{202a}"), "a\nb\tc\\r\\u{202a}");
    }
}
