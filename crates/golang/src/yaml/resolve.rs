//! What the text of a plain scalar means in YAML 1.1 (`goyaml.v2/resolve.go`). The writer of YAML uses this,
//! too: it quotes a string that would mean something else.

/// The meaning of a scalar.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// A null: `~`, `null`, or no text.
    Null,
    /// A boolean; `yes` and `off` are booleans, too.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer beyond the range of `i64`.
    Uint(u64),
    /// Any other number.
    Float(f64),
    /// A date or time, which stays text.
    Timestamp,
    /// None of the others: the scalar is a string.
    Text,
}

impl Meaning {
    /// goyaml's short tag, as its messages name it.
    pub fn tag(&self) -> &'static str {
        match self {
            Meaning::Null => "!!null",
            Meaning::Bool(_) => "!!bool",
            Meaning::Int(_) | Meaning::Uint(_) => "!!int",
            Meaning::Float(_) => "!!float",
            Meaning::Timestamp => "!!timestamp",
            Meaning::Text => "!!str",
        }
    }
}

/// The meaning of plain text. `typed` says that a tag other than `!!timestamp` stands before the text: then
/// dates are not recognised.
pub fn resolve(text: &str, typed: bool) -> Meaning {
    let Some(&first) = text.as_bytes().first() else { return Meaning::Null };
    match first {
        b'+' | b'-' | b'0'..=b'9' => meaning_of_word(text).unwrap_or_else(|| numeric(text, typed)),
        b'.' => meaning_of_word(text)
            .or_else(|| dotted_decimal(text).map(Meaning::Float))
            .unwrap_or(Meaning::Text),
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => {
            meaning_of_word(text).unwrap_or(Meaning::Text)
        }
        _ => Meaning::Text,
    }
}

fn meaning_of_word(text: &str) -> Option<Meaning> {
    Some(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            Meaning::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Meaning::Bool(false)
        }
        "~" | "null" | "Null" | "NULL" => Meaning::Null,
        ".nan" | ".NaN" | ".NAN" => Meaning::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Meaning::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Meaning::Float(f64::NEG_INFINITY),
        _ => return None,
    })
}

fn numeric(text: &str, typed: bool) -> Meaning {
    if !typed && is_timestamp(text) {
        return Meaning::Timestamp;
    }
    let plain = text.replace('_', "");
    let (negative, unsigned) = match plain.as_bytes().first() {
        Some(b'-') => (true, &plain[1..]),
        Some(b'+') => (false, &plain[1..]),
        _ => (false, plain.as_str()),
    };
    if let Some(meaning) = integer(negative, unsigned, plain.starts_with('+')) {
        return meaning;
    }
    if let Some(float) = decimal(&plain) {
        return Meaning::Float(float);
    }
    // Go tries binary numbers twice. The second time a sign may stand after the prefix: `0b-1`.
    match plain.strip_prefix("0b") {
        Some(signed) if signed.starts_with(['+', '-']) => {
            digits(&signed[1..], 2).and_then(|value| signed_int(signed.starts_with('-'), value))
        }
        _ => None,
    }
    .unwrap_or(Meaning::Text)
}

/// Parses as Go's `ParseInt` does, and then as `ParseUint` does, both with base 0. `plus` says that a `+` was
/// written, which only `ParseInt` accepts.
fn integer(negative: bool, unsigned: &str, plus: bool) -> Option<Meaning> {
    let (base, rest) = match unsigned.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (16, &unsigned[2..]),
        [b'0', b'o' | b'O', _, ..] => (8, &unsigned[2..]),
        [b'0', b'b' | b'B', _, ..] => (2, &unsigned[2..]),
        [b'0'] => return Some(Meaning::Int(0)),
        [b'0', ..] => (8, &unsigned[1..]),
        _ => (10, unsigned),
    };
    let value = digits(rest, base)?;
    signed_int(negative, value).or(if negative || plus { None } else { Some(Meaning::Uint(value)) })
}

fn digits(text: &str, base: u32) -> Option<u64> {
    // `from_str_radix` would accept a sign.
    if text.starts_with(['+', '-']) { None } else { u64::from_str_radix(text, base).ok() }
}

fn signed_int(negative: bool, value: u64) -> Option<Meaning> {
    let value = if negative { 0i64.checked_sub_unsigned(value) } else { i64::try_from(value).ok() };
    value.map(Meaning::Int)
}

/// A decimal that begins with a dot. For such a number Go's own rule for `_` holds: there must be a digit on
/// both sides of it.
fn dotted_decimal(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let is_digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let separates = |at: usize| is_digit(at.checked_sub(1)) && is_digit(Some(at + 1));
    let fits = text.match_indices('_').all(|(at, _)| separates(at));
    if fits { decimal(&text.replace('_', "")) } else { None }
}

/// A finite decimal of the form `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
fn decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_fits =
        all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && all_digits(exponent)
    });
    if !(mantissa_fits && exponent_fits) {
        return None;
    }
    text.parse().ok().filter(|float: &f64| float.is_finite())
}

/// Whether text is a number in base 60 (`1:30`). goyaml does not read such text as a number, but quotes it
/// for the sake of other readers.
pub fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digit_or_bar = |byte: u8| byte.is_ascii_digit() || byte == b'_';
    let mut parts = whole.split(':');
    let head = parts.next().unwrap_or_default();
    head.starts_with(|first: char| first.is_ascii_digit())
        && head.bytes().all(digit_or_bar)
        && fraction.bytes().all(digit_or_bar)
        && whole.contains(':')
        && parts.all(|part| match part.as_bytes() {
            [ones] => ones.is_ascii_digit(),
            [b'0'..=b'5', ones] => ones.is_ascii_digit(),
            _ => false,
        })
}

/// Whether Go's `time.Parse` accepts the text in one of the four forms that goyaml knows: a date alone; or a
/// date and a time, separated by `T` or `t` (with a zone) or by blanks (without one).
pub fn is_timestamp(text: &str) -> bool {
    let year = text.bytes().take_while(u8::is_ascii_digit).count();
    year == 4 && text.as_bytes().get(4) == Some(&b'-') && timestamp(text).is_some()
}

fn timestamp(text: &str) -> Option<()> {
    let year: u32 = text[..4].parse().ok()?;
    let (month, rest) = one_or_two_digits(&text[5..])?;
    let (day, rest) = one_or_two_digits(rest.strip_prefix('-')?)?;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) {
        return None;
    }
    match rest.as_bytes().first() {
        None => Some(()),
        Some(b'T' | b't') => zone(time_of_day(&rest[1..])?),
        Some(b' ') => time_of_day(rest.trim_start_matches(' ')).filter(|rest| rest.is_empty()).map(|_| ()),
        Some(_) => None,
    }
}

/// Reads hours, minutes, seconds and a fraction. Returns the text after them.
fn time_of_day(text: &str) -> Option<&str> {
    let (hour, rest) = one_or_two_digits(text)?;
    let (minute, rest) = one_or_two_digits(rest.strip_prefix(':')?)?;
    let (second, rest) = one_or_two_digits(rest.strip_prefix(':')?)?;
    let in_range = hour < 24 && minute < 60 && second < 60;
    let fraction =
        rest.strip_prefix(['.', ',']).map(|digits| digits.trim_start_matches(|c: char| c.is_ascii_digit()));
    match fraction {
        // A dot without a digit after it begins no fraction.
        Some(after) if after.len() + 1 < rest.len() => Some(after),
        _ => Some(rest),
    }
    .filter(|_| in_range)
}

fn zone(text: &str) -> Option<()> {
    match text.as_bytes() {
        [b'Z'] => Some(()),
        [b'+' | b'-', h1, h2, b':', m1, m2]
            if [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit()) =>
        {
            let number = |tens: &u8, ones: &u8| (tens - b'0') * 10 + (ones - b'0');
            (number(h1, h2) <= 24 && number(m1, m2) <= 60).then_some(())
        }
        _ => None,
    }
}

fn one_or_two_digits(text: &str) -> Option<(u32, &str)> {
    let width = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at(width);
    number.parse().ok().map(|number| (number, rest))
}
