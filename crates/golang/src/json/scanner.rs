//! The errors of Go's JSON scanner for a text that is not JSON (`encoding/json/scanner.go`). The Kubernetes
//! runtime shows these words to users.

use crate::strconv::quote_rune;

/// The deepest nesting of arrays and objects that is accepted.
const DEEPEST: usize = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum In {
    ObjectKey,
    ObjectValue,
    Array,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Text,
    Escape,
    Hex(u8),
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    Literal(&'static str, usize),
    End,
}

/// Checks that `text` is one JSON value.
///
/// # Errors
/// Go's error text.
pub fn check(text: &[u8]) -> Result<(), String> {
    let mut stack = Vec::new();
    let mut state = State::Value;
    // Go gives its scanner a space at the end of the text.
    for byte in text.iter().copied().chain([b' ']) {
        state = step(state, byte, &mut stack)?;
    }
    if state == State::End && stack.is_empty() {
        Ok(())
    } else {
        Err("unexpected end of JSON input".to_string())
    }
}

fn step(state: State, c: u8, stack: &mut Vec<In>) -> Result<State, String> {
    let space = matches!(c, b' ' | b'\t' | b'\r' | b'\n');
    match state {
        State::Value | State::ValueOrEnd | State::Key | State::KeyOrEnd | State::End if space => Ok(state),
        State::ValueOrEnd if c == b']' => end(c, stack),
        State::Value | State::ValueOrEnd => begin_value(c, stack),
        State::KeyOrEnd if c == b'}' => {
            if let Some(top) = stack.last_mut() {
                *top = In::ObjectValue;
            }
            end(c, stack)
        }
        State::Key | State::KeyOrEnd if c == b'"' => Ok(State::Text),
        State::Key | State::KeyOrEnd => wrong(c, "looking for beginning of object key string"),
        State::Text => match c {
            b'"' => Ok(State::End),
            b'\\' => Ok(State::Escape),
            0..0x20 => wrong(c, "in string literal"),
            _ => Ok(State::Text),
        },
        State::Escape => match c {
            b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => Ok(State::Text),
            b'u' => Ok(State::Hex(4)),
            _ => wrong(c, "in string escape code"),
        },
        State::Hex(left) if c.is_ascii_hexdigit() => {
            Ok(if left == 1 { State::Text } else { State::Hex(left - 1) })
        }
        State::Hex(_) => wrong(c, "in \\u hexadecimal character escape"),
        State::Minus => match c {
            b'0' => Ok(State::Zero),
            b'1'..=b'9' => Ok(State::Digits),
            _ => wrong(c, "in numeric literal"),
        },
        State::Digits if c.is_ascii_digit() => Ok(State::Digits),
        State::Zero | State::Digits => match c {
            b'.' => Ok(State::Point),
            b'e' | b'E' => Ok(State::Exponent),
            _ => end(c, stack),
        },
        State::Point if c.is_ascii_digit() => Ok(State::Fraction),
        State::Point => wrong(c, "after decimal point in numeric literal"),
        State::Fraction => match c {
            b'0'..=b'9' => Ok(State::Fraction),
            b'e' | b'E' => Ok(State::Exponent),
            _ => end(c, stack),
        },
        State::Exponent if c == b'+' || c == b'-' => Ok(State::ExponentSign),
        State::Exponent | State::ExponentSign if c.is_ascii_digit() => Ok(State::ExponentDigits),
        State::Exponent | State::ExponentSign => wrong(c, "in exponent of numeric literal"),
        State::ExponentDigits if c.is_ascii_digit() => Ok(State::ExponentDigits),
        State::ExponentDigits => end(c, stack),
        State::Literal(word, at) => {
            let wanted = word.as_bytes()[at];
            if c != wanted {
                return wrong(c, &format!("in literal {word} (expecting {})", quoted(wanted)));
            }
            Ok(if at + 1 == word.len() { State::End } else { State::Literal(word, at + 1) })
        }
        State::End => end(c, stack),
    }
}

fn begin_value(c: u8, stack: &mut Vec<In>) -> Result<State, String> {
    let (inside, state) = match c {
        b'{' => (In::ObjectKey, State::KeyOrEnd),
        b'[' => (In::Array, State::ValueOrEnd),
        b'"' => return Ok(State::Text),
        b'-' => return Ok(State::Minus),
        b'0' => return Ok(State::Zero),
        b'1'..=b'9' => return Ok(State::Digits),
        b't' => return Ok(State::Literal("true", 1)),
        b'f' => return Ok(State::Literal("false", 1)),
        b'n' => return Ok(State::Literal("null", 1)),
        _ => return wrong(c, "looking for beginning of value"),
    };
    if stack.len() >= DEEPEST {
        return wrong(c, "exceeded max depth");
    }
    stack.push(inside);
    Ok(state)
}

/// The state after a value that `c` does not continue. `c` may also close an empty array or object.
fn end(c: u8, stack: &mut Vec<In>) -> Result<State, String> {
    if matches!(c, b' ' | b'\t' | b'\r' | b'\n') {
        return Ok(State::End);
    }
    let Some(top) = stack.last_mut() else { return wrong(c, "after top-level value") };
    match (*top, c) {
        (In::ObjectKey, b':') => {
            *top = In::ObjectValue;
            Ok(State::Value)
        }
        (In::ObjectKey, _) => wrong(c, "after object key"),
        (In::ObjectValue, b',') => {
            *top = In::ObjectKey;
            Ok(State::Key)
        }
        (In::Array, b',') => Ok(State::Value),
        (In::ObjectValue, b'}') | (In::Array, b']') => {
            stack.pop();
            Ok(State::End)
        }
        (In::ObjectValue, _) => wrong(c, "after object key:value pair"),
        (In::Array, _) => wrong(c, "after array element"),
    }
}

fn wrong(c: u8, place: &str) -> Result<State, String> {
    Err(format!("invalid character {} {place}", quoted(c)))
}

/// A byte as Go's scanner shows it: the character with that number, written as `strconv.Quote` writes it, but
/// without the quotes.
fn quoted(c: u8) -> String {
    match c {
        b'\'' => r"'\''".to_string(),
        b'"' => "'\"'".to_string(),
        _ => quote_rune(char::from(c)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_passes() {
        let deep = format!("{}{}", "[".repeat(DEEPEST), "]".repeat(DEEPEST));
        for text in
            ["{}", " [1, -0.5e+3, \"a\\u00e9\\n\", null, true, {\"a\": {\"b\": []}}]\n", "0", "\"x\"", &deep]
        {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_named_as_go_names_it() {
        let rows: &[(&str, &str)] = &[
            ("", "unexpected end of JSON input"),
            ("{\"a\":\"b\"", "unexpected end of JSON input"),
            ("[1", "unexpected end of JSON input"),
            ("\"a", "unexpected end of JSON input"),
            ("hello", "invalid character 'h' looking for beginning of value"),
            ("{}x", "invalid character 'x' after top-level value"),
            ("{}\n{}", "invalid character '{' after top-level value"),
            ("{nope", "invalid character 'n' looking for beginning of object key string"),
            ("{\"a\":1,}", "invalid character '}' looking for beginning of object key string"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            ("\"\\x\"", "invalid character 'x' in string escape code"),
            ("\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape"),
            ("-", "invalid character ' ' in numeric literal"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1e", "invalid character ' ' in exponent of numeric literal"),
            ("01", "invalid character '1' after top-level value"),
            ("tru", "invalid character ' ' in literal true (expecting 'e')"),
            ("nil", "invalid character 'i' in literal null (expecting 'u')"),
            ("'a'", "invalid character '\\'' looking for beginning of value"),
            ("é", "invalid character 'Ã' looking for beginning of value"),
        ];
        for (text, wanted) in rows {
            assert_eq!(check(text.as_bytes()), Err(wanted.to_string()), "{text}");
        }
        let deep = "[".repeat(DEEPEST) + "{";
        let wanted = "invalid character '{' exceeded max depth".to_string();
        assert_eq!(check(deep.as_bytes()), Err(wanted));
    }

    /// The documents are valid ones in which one byte is changed, inserted or removed.
    #[test]
    fn it_agrees_with_the_parser_on_what_is_json() {
        let document =
            br#"{"a": [1, -0.5e+3, {}, []], "b\n": {"c": true, "d": [null, false]}, "e": "\u0041"}"#;
        let bytes = b"{}[]:,\"\\0123.eE+-truefalsn \n\x01ax";
        let mut wrong = 0;
        for at in 0..document.len() {
            let (before, after) = document.split_at(at);
            let left_out = [before, &after[1..]].concat();
            let changed = bytes.iter().map(|b| [before, &[*b], &after[1..]].concat());
            let put_in = bytes.iter().map(|b| [before, &[*b], after].concat());
            for text in changed.chain(put_in).chain([left_out]) {
                let parsed = serde_json::from_slice::<serde_json::Value>(&text);
                let text = String::from_utf8_lossy(&text);
                assert_eq!(check(text.as_bytes()).is_ok(), parsed.is_ok(), "{text}: {parsed:?}");
                wrong += usize::from(parsed.is_err());
            }
        }
        assert!(wrong > 1000, "{wrong}");
    }
}
