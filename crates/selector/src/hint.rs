//! Hints: what to write instead of the text that was refused.

use alloc::{borrow::Cow, format};
use core::ops::Range;

use crate::{error::ErrorKind, lexer::is_label_char};

const OPERATORS: &str = "after a label comes one of: == != contains, starts with, ends with, in, not in";
const SET: &str = "a set of values stands in braces: {\"1\", \"2\"}";
const JOIN: &str = "join two conditions with && (both) or || (either)";

/// A hint for an error of this kind at `span` of `text`.
pub(crate) fn hint(kind: &ErrorKind, text: &str, span: &Range<usize>) -> Option<Cow<'static, str>> {
    let before = text[..span.start].trim_end();
    let found = &text[span.clone()];
    let rest = &text[span.start..];
    Some(match kind {
        ErrorKind::UnterminatedString => {
            "close the string with the quote it began with; there are no escapes, but the other kind of quote may \
             stand inside"
                .into()
        }
        ErrorKind::LoneEquals => "write == to compare a label with a value".into(),
        ErrorKind::LoneAmpersand => "write && for \"and\"".into(),
        ErrorKind::LonePipe => "write || for \"or\"".into(),
        ErrorKind::ExpectedOperator(label) => after_label(label, found, rest),
        ErrorKind::NotClosed("has") => "has() takes one label: has(rack)".into(),
        ErrorKind::NotClosed(function) => format!("nothing stands between the parentheses of {function}()").into(),
        ErrorKind::ExpectedIdentifier => instead_of_a_label(before, found)?,
        ErrorKind::LabelTooLong(_) => format!("a label has at most {} bytes", crate::MAX_LABEL_LENGTH).into(),
        ErrorKind::UnexpectedEnd => lone_label_hint(found),
        ErrorKind::ExpectedString => value_hint(found)?,
        ErrorKind::ExpectedSet => SET.into(),
        ErrorKind::ExpectedBrace => match found.chars().next() {
            None => "close the set with }".into(),
            Some('"' | '\'') => "separate the values with commas: {\"1\", \"2\"}".into(),
            Some(_) => value_hint(found)?,
        },
        ErrorKind::ExpectedParenthesis => match found {
            "" => "an opening ( has no closing )".into(),
            _ => JOIN.into(),
        },
        ErrorKind::ExpectedComparison(_) => match function_at_end(before) {
            Some(function) if found == "(" => {
                format!("write {function}( without a space before the parenthesis").into()
            }
            _ => lone_label_hint(before.rsplit(|c| !is_label_char(c)).next()?),
        },
        ErrorKind::UnexpectedToken(_) => match found {
            "" => "a condition is missing at the end".into(),
            ")" => "a condition is missing before this )".into(),
            _ if found.starts_with(['"', '\'']) => "the label comes first, then the operator, then the value".into(),
            _ => "a condition is missing here".into(),
        },
        ErrorKind::UnexpectedContent(_) => match found {
            ")" => "this ) has no opening (".into(),
            _ => JOIN.into(),
        },
        ErrorKind::TooLong | ErrorKind::TooDeep => return None,
    })
}

/// The hint for a word in the place of an operator.
fn after_label(label: &str, found: &str, rest: &str) -> Cow<'static, str> {
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty()).skip(1);
    let (second, third) = (words.next(), words.next().unwrap_or_default());
    let lower = found.to_ascii_lowercase();
    match (label, &*lower, second) {
        ("and" | "AND", ..) => "write && for \"and\"".into(),
        ("or" | "OR", ..) => "write || for \"or\"".into(),
        ("not" | "NOT", ..) => "write ! for \"not\"".into(),
        (_, "and" | "or", _) => lone_label_hint(label),
        (_, "contains" | "in" | "startswith" | "endswith" | "notin", _) if lower != found => {
            format!("operators are in lower case: {lower}").into()
        }
        (_, "notin", _) | (_, "not", Some("in")) => SET.into(),
        (_, "starts" | "ends", Some("with")) => {
            let end = third.find(|c| !is_label_char(c)).unwrap_or(third.len());
            value_hint(&third[..end]).unwrap_or(OPERATORS.into())
        }
        _ => OPERATORS.into(),
    }
}

/// The hint for a label without an operator.
fn lone_label_hint(label: &str) -> Cow<'static, str> {
    match label {
        "all" | "any" | "true" => "write all() for everything".into(),
        "none" | "false" => "write !all() for nothing".into(),
        "global" => "write global()".into(),
        "has" => "name the label: has(rack)".into(),
        _ => format!("to ask only whether the label is there, write has({label})").into(),
    }
}

/// The hint for a character that begins no label.
fn instead_of_a_label(before: &str, found: &str) -> Option<Cow<'static, str>> {
    Some(match found.chars().next() {
        None => "name the label: has(rack)".into(),
        Some('\n' | '\r') => "a selector is one line: write a space for the line break".into(),
        Some('"' | '\'') => "a label has no quotes: has(rack)".into(),
        Some(')') if function_at_end(before.trim_end_matches('(')).is_some() => {
            "name the label: has(rack)".into()
        }
        Some('*') => "write all() for everything".into(),
        Some('[') => SET.into(),
        Some('\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}') => "use straight quotes: \" or '".into(),
        Some('\u{a0}') => "this is a no-break space: write a plain one".into(),
        Some(_) => "a label has letters, digits and _ . / - only".into(),
    })
}

/// The hint for a word in the place of a value.
fn value_hint(found: &str) -> Option<Cow<'static, str>> {
    match found.starts_with(is_label_char) {
        true => Some(format!("values are in quotes: \"{found}\"").into()),
        false if found.is_empty() => Some("a value in quotes is missing at the end".into()),
        false => Some("a value in quotes belongs here".into()),
    }
}

fn function_at_end(before: &str) -> Option<&'static str> {
    ["has", "all", "global"].into_iter().find(|function| before.ends_with(function))
}
