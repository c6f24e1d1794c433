//! Go's `strconv`: quoting, and reading booleans.

mod print_table;

use std::fmt::Write;

use print_table::PRINTED;

use crate::unicode;

/// A text in double quotes, as `strconv.Quote` and `%q` write it: what is not printed is written as an
/// escape.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    text.chars().for_each(|c| push_escaped(&mut out, c, '"'));
    out.push('"');
    out
}

/// A character in single quotes, as `strconv.QuoteRune` writes it.
pub fn quote_rune(c: char) -> String {
    let mut out = String::from('\'');
    push_escaped(&mut out, c, '\'');
    out.push('\'');
    out
}

fn push_escaped(out: &mut String, c: char, quote: char) {
    let letter = match c {
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{b}' => 'v',
        c if c == quote || c == '\\' => c,
        c if is_print(c) => return out.push(c),
        c => {
            let escaped = match u32::from(c) {
                c @ (0..=0x1f | 0x7f) => write!(out, "\\x{c:02x}"),
                c @ ..0x10000 => write!(out, "\\u{c:04x}"),
                c => write!(out, "\\U{c:08x}"),
            };
            return escaped.expect("a string takes any text");
        }
    };
    out.push('\\');
    out.push(letter);
}

/// As `strconv.IsPrint`: letters, marks, numbers, punctuation, symbols, and the ASCII space; no other space.
pub fn is_print(c: char) -> bool {
    match u32::from(c) {
        0x20..0x7f => true,
        0..0xa1 => false,
        _ => unicode::is_in(c, &PRINTED),
    }
}

/// As `strconv.ParseBool`; `None` where that gives an error.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        for (text, quoted) in [
            ("", r#""""#),
            ("a \"b\" \\ 'c'", r#""a \"b\" \\ 'c'""#),
            ("\u{7}\u{8}\u{c}\n\r\t\u{b}", r#""\a\b\f\n\r\t\v""#),
            ("\0\u{1f}\u{7f}\u{80}", r#""\x00\x1f\x7f\u0080""#),
            ("é\u{a0}\u{ad}\u{200b}\u{2028}\u{feff}", r#""é\u00a0\u00ad\u200b\u2028\ufeff""#),
            ("\u{1f600}\u{e0001}\u{10ffff}", "\"\u{1f600}\\U000e0001\\U0010ffff\""),
            ("\u{fffd}\u{3000}", "\"\u{fffd}\\u3000\""),
        ] {
            assert_eq!(quote(text), quoted);
        }
        assert_eq!((quote_rune('\''), quote_rune('"')), (r"'\''".to_string(), "'\"'".to_string()));
    }
}
