//! Texts as Go writes and reads them: numbers, durations, times.

use serde_json::Value as Json;

use crate::time;

/// A number as `strconv.FormatFloat(x, 'g', -1, 64)`, and `fmt`'s `%v`, write it: `0.1`, `1000`, `1e+06`.
pub fn float_text(x: f64) -> String {
    if x == 0.0 || (-4..6).contains(&exponent(x)) { x.to_string() } else { scientific(x) }
}

/// A number as `encoding/json` writes it: plain from 1e-6 up to, but not including, 1e21.
pub fn json_float_text(x: f64) -> String {
    if x == 0.0 || (-6..21).contains(&exponent(x)) {
        x.to_string()
    } else {
        // Unlike `strconv`, without a leading zero in a negative exponent.
        scientific(x).replace("e-0", "e-")
    }
}

/// The decimal exponent of the first digit.
fn exponent(x: f64) -> i32 {
    let text = format!("{x:e}");
    text.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0)
}

/// Shortest digits, exponent with sign and at least two digits.
fn scientific(x: f64) -> String {
    let text = format!("{x:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration as `time.ParseDuration` does (`1h15m30.5s`), in nanoseconds.
///
/// # Errors
/// Go's text, `time: ` included.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    let wrong = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = |s: &str| s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
        let whole = &rest[..digits(rest)];
        rest = &rest[whole.len()..];
        let fraction = match rest.strip_prefix('.') {
            Some(after) => {
                let fraction = &after[..digits(after)];
                rest = &after[fraction.len()..];
                fraction
            }
            None => "",
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(wrong());
        }
        let unit = &rest[..rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len())];
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let Some((_, nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("time: unknown unit {} in duration {}", quote(unit), quote(text)));
        };
        rest = &rest[unit.len()..];
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
        let mut part = whole.checked_mul(*nanos).ok_or_else(wrong)?;
        let mut scale = *nanos;
        for digit in fraction.bytes() {
            scale /= 10;
            part += i128::from(digit - b'0') * scale;
        }
        total = total.checked_add(part).ok_or_else(wrong)?;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| wrong())
}

/// A duration in nanoseconds as Go's `Duration.String` writes it: `15m0s`, `1.5ms`, `0s`.
pub fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let abs = nanos.unsigned_abs();
    if abs == 0 {
        return "0s".to_string();
    }
    if abs < 1_000_000_000 {
        let (unit, size) = match abs {
            0..1_000 => ("ns", 1),
            1_000..1_000_000 => ("µs", 1_000),
            _ => ("ms", 1_000_000),
        };
        return format!("{sign}{}{unit}", decimal(abs, size));
    }
    let minutes = abs / 60_000_000_000;
    let seconds = decimal(abs % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, m) => format!("{sign}{m}m{seconds}s"),
        (h, m) => format!("{sign}{h}h{m}m{seconds}s"),
    }
}

/// `value / unit` with as many decimals as it has.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
}

/// Reads a time as `metav1.Time` does and writes it as it does: UTC, to the second.
///
/// # Errors
/// Go's text for a time that is none; which part is wrong is not told.
pub fn time_text(text: &str) -> Result<String, String> {
    time::parse_rfc3339(text).map(time::rfc3339).ok_or_else(|| {
        let quoted = quote(text);
        format!(r#"parsing time {quoted} as "2006-01-02T15:04:05Z07:00": cannot parse {quoted} as "2006""#)
    })
}

/// What `encoding/json` calls a JSON value in its errors.
pub fn json_type(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

/// A text in double quotes as `strconv.Quote` writes it.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_go_writes_them() {
        for (x, v, json) in [
            (1000.0, "1000", "1000"),
            (1e6, "1e+06", "1000000"),
            (1e7, "1e+07", "10000000"),
            (123456.5, "123456.5", "123456.5"),
            (1234567.5, "1.2345675e+06", "1234567.5"),
            (0.0, "0", "0"),
            (0.0001, "0.0001", "0.0001"),
            (0.00001, "1e-05", "0.00001"),
            (1e-7, "1e-07", "1e-7"),
            (1e21, "1e+21", "1e+21"),
            (-2.5, "-2.5", "-2.5"),
        ] {
            assert_eq!(float_text(x), v);
            assert_eq!(json_float_text(x), json);
        }
    }

    #[test]
    fn durations_as_go_reads_and_writes_them() {
        for (text, nanos, printed) in [
            ("15m", 900_000_000_000, "15m0s"),
            ("0", 0, "0s"),
            ("1h", 3_600_000_000_000, "1h0m0s"),
            ("1.5s", 1_500_000_000, "1.5s"),
            ("-1m30s", -90_000_000_000, "-1m30s"),
            ("1500us", 1_500_000, "1.5ms"),
            ("250ns", 250, "250ns"),
            ("90s", 90_000_000_000, "1m30s"),
        ] {
            assert_eq!(parse_duration(text), Ok(nanos), "{text}");
            assert_eq!(duration_text(nanos), printed);
        }
        for (text, error) in [
            ("", r#"time: invalid duration """#),
            ("5", r#"time: missing unit in duration "5""#),
            ("5q", r#"time: unknown unit "q" in duration "5q""#),
            ("x", r#"time: invalid duration "x""#),
        ] {
            assert_eq!(parse_duration(text).unwrap_err(), error);
        }
    }
}
