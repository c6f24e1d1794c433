//! Go's `time.Duration`: reading and writing.

const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// The largest distance from zero, in nanoseconds: that of the least (most negative) duration.
const MOST: u64 = 1 << 63;

/// Reads a duration as `time.ParseDuration` does (`1h15m30.5s`), in nanoseconds.
///
/// # Errors
/// Go's text, `time: ` included.
pub fn parse(text: &str) -> Result<i64, String> {
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
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = |s: &str| s.find(|c: char| !c.is_ascii_digit()).unwrap_or(s.len());
        let (whole, after) = rest.split_at(digits(rest));
        rest = after;
        let mut fraction = "";
        if let Some(after) = rest.strip_prefix('.') {
            (fraction, rest) = after.split_at(digits(after));
        }
        if whole.is_empty() && fraction.is_empty() {
            return Err(wrong());
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
        let (unit, after) =
            rest.split_at(rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len()));
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let Some((_, size)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("time: unknown unit {} in duration {}", quote(unit), quote(text)));
        };
        rest = after;
        let within = |sum: Option<u64>| sum.filter(|sum| *sum <= MOST).ok_or_else(wrong);
        let part = within(whole.checked_mul(*size))?;
        total = within(total.checked_add(within(part.checked_add(share(fraction, *size)))?))?;
    }
    match (negative, i64::try_from(total)) {
        (true, Ok(total)) => Ok(-total),
        (true, Err(_)) => Ok(i64::MIN),
        (false, total) => total.map_err(|_| wrong()),
    }
}

/// The size of that fraction of a unit, in nanoseconds. Go computes it with floats, and drops the digits that
/// do not fit into an integer of 63 bits.
fn share(fraction: &str, size: u64) -> u64 {
    let (mut number, mut scale) = (0_u64, 1.0);
    for digit in fraction.bytes() {
        let next = number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
        if number > (MOST - 1) / 10 || next > MOST {
            break;
        }
        (number, scale) = (next, scale * 10.0);
    }
    (number as f64 * (size as f64 / scale)) as u64
}

/// Quotes a text as Go's `time` package does: every byte that is not ASCII is written as an escape.
fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..0x80 => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

/// A duration in nanoseconds as Go's `Duration.String` writes it: `15m0s`, `1.5ms`, `0s`.
pub fn text(nanos: i64) -> String {
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

/// `value / unit` in decimals, without zeros at the end.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_reads_and_writes_them() {
        for (read, nanos, printed) in [
            ("15m", 900_000_000_000, "15m0s"),
            ("0", 0, "0s"),
            ("1h", 3_600_000_000_000, "1h0m0s"),
            ("1.5s", 1_500_000_000, "1.5s"),
            ("-1m30s", -90_000_000_000, "-1m30s"),
            ("1500us", 1_500_000, "1.5ms"),
            ("250ns", 250, "250ns"),
            ("90s", 90_000_000_000, "1m30s"),
        ] {
            assert_eq!(parse(read), Ok(nanos), "{read}");
            assert_eq!(text(nanos), printed);
        }
        for (text, error) in [
            ("", r#"time: invalid duration """#),
            ("5", r#"time: missing unit in duration "5""#),
            ("5q", r#"time: unknown unit "q" in duration "5q""#),
            ("x", r#"time: invalid duration "x""#),
            ("1é", r#"time: unknown unit "\xc3\xa9" in duration "1\xc3\xa9""#),
            ("9223372036854775808ns", r#"time: invalid duration "9223372036854775808ns""#),
        ] {
            assert_eq!(parse(text).unwrap_err(), error);
        }
    }
}
