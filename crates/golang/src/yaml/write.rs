//! YAML text as Go's `sigs.k8s.io/yaml` marshals it: keys in goyaml's natural order, list items not indented,
//! strings quoted only if their text would mean something else, long plain strings folded after column 80.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::emit::{Emitter, Style, is_simple_key};
use super::resolve::{Meaning, is_base_60, resolve};
use crate::number;
use crate::unicode::{is_digit, is_letter};

/// The document for `value`, with a newline at its end. An empty list is `[]`, an empty object `{}`, null
/// `null`.
pub fn to_text(value: &Value) -> String {
    to_text_quoting(value, |_| false)
}

/// The same, but texts with a character that `is_quoted` names stand in double quotes: YAML escapes
/// characters only there.
pub fn to_text_quoting(value: &Value, is_quoted: fn(char) -> bool) -> String {
    let mut emitter = Emitter::new();
    Document { is_quoted }.value(&mut emitter, value, Place::Elsewhere);
    emitter.finish()
}

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    BehindKey,
    Elsewhere,
}

struct Document {
    is_quoted: fn(char) -> bool,
}

impl Document {
    fn value(&self, out: &mut Emitter, value: &Value, place: Place) {
        match value {
            Value::Null => out.text("null", Style::Plain, true),
            Value::Bool(value) => out.text(if *value { "true" } else { "false" }, Style::Plain, true),
            Value::Number(number) => out.text(&number_text(number), Style::Plain, true),
            Value::String(text) => out.text(text, self.style(text), true),
            Value::Array(items) if items.is_empty() => out.empty("[]"),
            Value::Object(entries) if entries.is_empty() => out.empty("{}"),
            Value::Array(items) if place == Place::BehindKey => {
                out.nested_below_key(|out| self.items(out, items));
            }
            Value::Array(items) => out.nested(|out| self.items(out, items)),
            Value::Object(entries) => out.nested(|out| self.entries(out, entries)),
        }
    }

    fn items(&self, out: &mut Emitter, items: &[Value]) {
        for item in items {
            out.start_line();
            out.indicator('-');
            self.value(out, item, Place::Elsewhere);
        }
    }

    fn entries(&self, out: &mut Emitter, entries: &Map<String, Value>) {
        let mut entries: Vec<_> = entries.iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        sort_naturally(&mut entries);
        for (key, value) in entries {
            out.start_line();
            if is_simple_key(key) {
                out.text(key, self.style(key), false);
                out.colon();
            } else {
                out.indicator('?');
                out.text(key, self.style(key), true);
                out.start_line();
                out.indicator(':');
            }
            self.value(out, value, Place::BehindKey);
        }
    }

    fn style(&self, text: &str) -> Style {
        if text.contains(self.is_quoted) {
            Style::DoubleQuoted
        } else if text.contains('\n') {
            Style::Literal
        } else if resolve(text, false) == Meaning::Text && !is_base_60(text) {
            Style::Plain
        } else {
            Style::DoubleQuoted
        }
    }
}

/// Go writes JSON first, and reads its numbers back as YAML; so a number without a fraction that fits 64 bits
/// becomes an integer.
fn number_text(number: &Number) -> String {
    let json = number::json_number(number);
    match resolve(&json, false) {
        Meaning::Int(value) => value.to_string(),
        Meaning::Float(value) => number::general(value),
        _ => json,
    }
}

/// Inserts each entry where a search by halves says. The order is not transitive (`010`, `0o7` and `10.0`
/// form a circle), and Rust's own sort may panic with such an order.
fn sort_naturally<T>(entries: &mut [(&String, T)]) {
    for end in 1..entries.len() {
        let key = entries[end].0;
        let at =
            entries[..end].partition_point(|(before, _)| natural_order(before, key) != Ordering::Greater);
        entries[at..=end].rotate_right(1);
    }
}

/// The order of keys (`goyaml.v2/sorter.go`): runs of digits compare as numbers, and letters come after
/// everything else.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) else { return a.len().cmp(&b.len()) };
    let (first_a, first_b) = (a[at], b[at]);
    match (is_letter(first_a), is_letter(first_b)) {
        (true, true) => first_a.cmp(&first_b),
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            // A zero counts only inside of a number. The number then starts with 1, which stands for the
            // digits before it.
            let inside_number = (first_a == '0' || first_b == '0')
                && a[..at].iter().rev().take_while(|c| is_digit(**c)).any(|&c| c != '0');
            let (number_a, end_a) = digits_from(&a, at, inside_number);
            let (number_b, end_b) = digits_from(&b, at, inside_number);
            number_a.cmp(&number_b).then(end_a.cmp(&end_b)).then(first_a.cmp(&first_b))
        }
    }
}

/// The number at `at`, and where it ends. The number wraps as Go's does, and a digit of another script counts
/// as its distance from the ASCII zero.
fn digits_from(text: &[char], at: usize, inside_number: bool) -> (i64, usize) {
    let digits = text[at..].iter().take_while(|c| is_digit(**c));
    digits.fold((i64::from(inside_number), at), |(number, end), &digit| {
        let value = i64::from(u32::from(digit)) - i64::from(u32::from('0'));
        (number.wrapping_mul(10).wrapping_add(value), end + 1)
    })
}
