//! Inputs drawn at random, with what is odd in them more often than it would be by chance.

use std::collections::BTreeMap;

use fastrand::Rng;
use serde_json::{Map, Value};

/// Any character, the odd ones more often.
pub(super) fn any_char(rng: &mut Rng) -> char {
    match rng.u8(..6) {
        0 => char::from(rng.u8(..0x20)),
        1 => char::from(rng.u8(0x7f..=0xff)),
        2 => char::from_u32(rng.u32(0x2000..0x2100)).unwrap(),
        3 => rng.char(..),
        _ => char::from(rng.u8(b' '..0x7f)),
    }
}

pub(super) fn any_float(rng: &mut Rng) -> f64 {
    match rng.u8(..6) {
        0 => Some(f64::from_bits(rng.u64(..))).filter(|x| x.is_finite()).unwrap_or_default(),
        1 => f64::from(rng.i32(..)),
        2 => 10_f64.powi(rng.i32(-30..30)),
        3 => rng.f64() * 10_f64.powi(rng.i32(-10..25)),
        4 => f64::from(rng.i32(-100_000..100_000)) / 8.0,
        _ => -f64::from(rng.u8(..2)),
    }
}

/// A text of some of these.
pub(super) fn any_text(rng: &mut Rng) -> String {
    const TEXTS: &[&str] = &[
        "",
        "a",
        "yes",
        "null",
        "~",
        "1",
        "0x1f",
        "1e3",
        ".inf",
        "2026-01-02",
        "1:30",
        "a: b",
        "# c",
        "- d",
        "a\nb\n",
        "*x",
        "&x",
        "!x",
        "%x",
        "@x",
        "`",
        "{",
        "[",
        "'q'",
        "\"d\"",
        "a\tb",
        " lead",
        "trail ",
        "é",
        "\u{a0}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}x",
        "<&>",
        "10.0.0.0/16",
        "x\u{1f600}",
        "\u{7f}",
        "\u{1}",
        "on",
        "=",
        "<<",
        "?",
        "? a",
        "a,b",
        "word word word word word word word word word word word word word word word word word word word word",
    ];
    TEXTS[rng.usize(..TEXTS.len())].to_string()
}

/// A text, often longer than a line, with characters that YAML writes in a way of their own.
pub(super) fn odd_text(rng: &mut Rng) -> String {
    const ODD: &[char] = &[
        '\u{7f}',
        '\u{80}',
        '\u{84}',
        '\u{85}',
        '\u{86}',
        '\u{9f}',
        '\u{a0}',
        '\u{ad}',
        '\u{2028}',
        '\u{2029}',
        '\u{feff}',
        '\u{fffd}',
        '\u{fffe}',
        '\u{10000}',
        '\u{1f600}',
        '\u{10ffff}',
        '\n',
        '\r',
        '\t',
        '\0',
        '"',
        '\'',
        '\\',
    ];
    let mut text = String::new();
    // A text has few kinds of odd characters, since quotes for one hide what becomes of the others.
    let odd = [ODD[rng.usize(..ODD.len())], ODD[rng.usize(..ODD.len())]];
    let most = 1 << rng.u8(1..8);
    for _ in 0..rng.usize(..most) {
        match rng.u8(..12) {
            0 => text.push(odd[0]),
            1 => text.push(odd[1]),
            2..5 => text.push(' '),
            5 => text.push(any_char(rng)),
            6 => text.push(['#', ':', '-', '?', '.', ',', '[', '&'][rng.usize(..8)]),
            7 => text += &any_text(rng),
            _ => text += ["a", "bc", "déf", "01", "word", "10.0.0.0/24"][rng.usize(..6)],
        }
    }
    text
}

/// A value with its keys sorted, as Go writes maps.
pub(super) fn any_value(rng: &mut Rng, depth: usize, text: fn(&mut Rng) -> String) -> Value {
    match rng.u8(..if depth > 3 { 5 } else { 8 }) {
        0 => Value::Null,
        1 => Value::from(rng.bool()),
        2 => Value::from(any_float(rng)),
        3 => Value::from(f64::from(rng.i16(..))),
        4 => Value::from(text(rng)),
        5 => (0..rng.usize(..4)).map(|_| any_value(rng, depth + 1, text)).collect(),
        _ => {
            // Go's order of keys has circles, as with `9`, `012` and `01a`, and then it is not always the
            // same. Two keys are in no circle; of more, their first letters decide.
            let count = rng.usize(..6);
            let entries: BTreeMap<String, Value> = ('a'..)
                .take(count)
                .map(|first| {
                    let first = if count > 2 { first.to_string() } else { String::new() };
                    (first + &text(rng), any_value(rng, depth + 1, text))
                })
                .collect();
            Value::Object(entries.into_iter().collect::<Map<_, _>>())
        }
    }
}

pub(super) fn value(seed: u64) -> Value {
    any_value(&mut Rng::with_seed(seed), 0, any_text)
}

pub(super) fn odd_value(seed: u64) -> Value {
    any_value(&mut Rng::with_seed(seed), 0, odd_text)
}
