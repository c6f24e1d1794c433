//! YAML text as Go's `sigs.k8s.io/yaml` marshals it: keys in goyaml's natural order, list items not indented,
//! strings quoted only if their text would mean something else, long plain strings folded after column 80.

use std::cmp::Ordering;

use libyaml_safer::{Emitter, Encoding, Event, MappingStyle, ScalarStyle, SequenceStyle};
use serde_json::{Number, Value};

use super::resolve::{Meaning, is_base_60, resolve};
use crate::number;

/// The document for `value`, with a newline at its end. An empty list is `[]`, an empty object `{}`, null
/// `null`.
pub fn to_text(value: &Value) -> String {
    to_text_quoting(value, |_| false)
}

/// The same, but texts with a character that `is_quoted` names stand in double quotes: YAML escapes
/// characters only there.
pub fn to_text_quoting(value: &Value, is_quoted: fn(char) -> bool) -> String {
    let mut text = Vec::new();
    let mut emitter = Emitter::new();
    emitter.set_output_string(&mut text);
    emitter.set_unicode(true);
    let mut document = Document { emitter, is_quoted };
    document.emit(Event::stream_start(Encoding::Utf8));
    document.emit(Event::document_start(None, &[], true));
    document.value(value);
    document.emit(Event::document_end(true));
    // The stream is not ended: libyaml would then write `...` after a text that ends in kept line breaks,
    // which goyaml does not.
    document.emitter.flush().expect("the output is memory");
    drop(document);
    escape_astral(String::from_utf8(text).expect("the emitter writes UTF-8, as asked"))
}

/// goyaml escapes characters beyond U+FFFF, which libyaml writes as they are. They occur only in texts, and
/// [`Document::string`] puts such texts into double quotes.
fn escape_astral(text: String) -> String {
    if !text.contains(is_astral) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_astral(c) {
            true => out.push_str(&format!("\\U{:08X}", u32::from(c))),
            false => out.push(c),
        }
    }
    out
}

fn is_astral(c: char) -> bool {
    c > '\u{ffff}'
}

struct Document<'a> {
    emitter: Emitter<'a>,
    is_quoted: fn(char) -> bool,
}

impl Document<'_> {
    fn emit(&mut self, event: Event) {
        self.emitter.emit(event).expect("the output is memory, and the events come in a legal order");
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.plain("null"),
            Value::Bool(value) => self.plain(if *value { "true" } else { "false" }),
            Value::Number(number) => self.plain(&number_text(number)),
            Value::String(text) => self.string(text),
            Value::Array(items) => {
                self.emit(Event::sequence_start(None, None, true, SequenceStyle::Block));
                items.iter().for_each(|item| self.value(item));
                self.emit(Event::sequence_end());
            }
            Value::Object(entries) => {
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_by_key(|(key, _)| *key);
                sort_naturally(&mut entries);
                self.emit(Event::mapping_start(None, None, true, MappingStyle::Block));
                for (key, value) in entries {
                    self.string(key);
                    self.value(value);
                }
                self.emit(Event::mapping_end());
            }
        }
    }

    fn string(&mut self, text: &str) {
        let style = if text.contains(|c: char| is_astral(c) || (self.is_quoted)(c)) {
            ScalarStyle::DoubleQuoted
        } else if text.contains('\n') {
            ScalarStyle::Literal
        } else if resolve(text, false) == Meaning::Text && !is_base_60(text) {
            ScalarStyle::Plain
        } else {
            ScalarStyle::DoubleQuoted
        };
        self.emit(Event::scalar(None, None, text, true, true, style));
    }

    fn plain(&mut self, text: &str) {
        self.emit(Event::scalar(None, None, text, true, true, ScalarStyle::Plain));
    }
}

/// Go writes JSON first, and reads its numbers back as YAML; so a number without a fraction that fits 64 bits
/// becomes an integer.
fn number_text(number: &Number) -> String {
    let json = number::json_number(number);
    match resolve(&json, false) {
        Meaning::Float(value) => number::general(value),
        _ => json,
    }
}

/// An insertion sort. The order is not transitive (`010`, `0o7` and `10.0` form a circle), and Rust's own
/// sort may panic with such an order.
fn sort_naturally<T>(entries: &mut [(&String, T)]) {
    for end in 1..entries.len() {
        let mut at = end;
        while at > 0 && natural_order(entries[at].0, entries[at - 1].0) == Ordering::Less {
            entries.swap(at, at - 1);
            at -= 1;
        }
    }
}

/// The order of keys (`goyaml.v2/sorter.go`): runs of digits compare as numbers, and letters come after
/// everything else.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(at) = a.iter().zip(&b).position(|(a, b)| a != b) else { return a.len().cmp(&b.len()) };
    let (first_a, first_b) = (a[at], b[at]);
    match (first_a.is_alphabetic(), first_b.is_alphabetic()) {
        (true, true) => first_a.cmp(&first_b),
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        (false, false) => {
            // A zero counts only inside of a number. The number then starts with 1, which stands for the
            // digits before it.
            let inside_number = (first_a == '0' || first_b == '0')
                && a[..at].iter().rev().take_while(|c| c.is_ascii_digit()).any(|&c| c != '0');
            let (number_a, end_a) = digits_from(&a, at, inside_number);
            let (number_b, end_b) = digits_from(&b, at, inside_number);
            number_a.cmp(&number_b).then(end_a.cmp(&end_b)).then(first_a.cmp(&first_b))
        }
    }
}

/// The number at `at`, and where it ends. The number wraps as Go's does.
fn digits_from(text: &[char], at: usize, inside_number: bool) -> (i64, usize) {
    text[at..]
        .iter()
        .map_while(|c| c.to_digit(10))
        .fold((i64::from(inside_number), at), |(number, end), digit| {
            (number.wrapping_mul(10).wrapping_add(i64::from(digit)), end + 1)
        })
}
