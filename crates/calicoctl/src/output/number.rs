//! Numbers as Go's `fmt`, `strconv` and `encoding/json` print them.

/// Go's `%v` of a `float64`: the shortest digits that read back, with an exponent below 1e-4 and from 1e6 on.
pub fn general(value: f64) -> String {
    match special(value) {
        Some(text) => text.to_owned(),
        None => Digits::from_exponential(&format!("{value:e}")).general(SHORTEST_EXPONENT),
    }
}

/// Go's `strconv.FormatFloat(value, 'g', -1, 32)`: the shortest digits that distinguish the value from its
/// neighbours among 32-bit floats.
pub fn general_32(value: f64) -> String {
    let narrow = value as f32;
    match special(f64::from(narrow)) {
        Some(text) => text.to_owned(),
        None => Digits::from_exponential(&format!("{narrow:e}")).general(SHORTEST_EXPONENT),
    }
}

/// A number as Go's JSON encoder prints it: a float that is an integer has no fraction (`26`, not `26.0`).
pub fn json_number(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() => {
            let digits = Digits::from_exponential(&format!("{value:e}"));
            let size = value.abs();
            if size != 0.0 && !(1e-6..1e21).contains(&size) {
                // Go's encoder drops the leading zero of a negative exponent: e-07 becomes e-7.
                digits.exponential().replace("e-0", "e-")
            } else {
                digits.positional()
            }
        }
        _ => number.to_string(),
    }
}

/// A count as `ipam show` prints it, Go's `%.5g`: exact up to 99999, then five digits and an exponent.
pub fn count(count: u128) -> String {
    Digits::from_exponential(&format!("{:.4e}", count as f64)).general(5)
}

/// A count and its share of `whole`, Go's `%.5g (%.f%%)`: `59 (92%)`. Halves of a percent go to the even
/// neighbour.
pub fn count_and_share(part: u128, whole: u128) -> String {
    let percent = 100.0 * part as f64 / whole as f64;
    match special(percent) {
        Some(text) => format!("{} ({text}%)", count(part)),
        None => format!("{} ({percent:.0}%)", count(part)),
    }
}

/// From this power of ten on, Go writes the shortest digits of a float with an exponent.
const SHORTEST_EXPONENT: i32 = 6;

fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

/// A decimal number: `0.d1d2d3... * 10^point`.
struct Digits {
    negative: bool,
    digits: String,
    point: i32,
}

impl Digits {
    /// From Rust's exponential form, `-1.25e-3`.
    fn from_exponential(text: &str) -> Digits {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        let digits = digits.trim_end_matches('0');
        Digits {
            negative: mantissa.starts_with('-'),
            digits: if digits.is_empty() { "0".to_owned() } else { digits.to_owned() },
            point: exponent.parse::<i32>().unwrap_or(0) + 1,
        }
    }

    /// Go's `%g`: an exponent below 1e-4 and from `10^limit` on.
    fn general(&self, limit: i32) -> String {
        let exponent = self.point - 1;
        if exponent < -4 || exponent >= limit { self.exponential() } else { self.positional() }
    }

    fn exponential(&self) -> String {
        let (first, rest) = self.digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let exponent = self.point - 1;
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}{first}{dot}{rest}e{sign}{:02}", self.sign(), exponent.abs())
    }

    fn positional(&self) -> String {
        let digits = &self.digits;
        let sign = self.sign();
        let length = digits.len() as i32;
        if self.point <= 0 {
            format!("{sign}0.{}{digits}", "0".repeat(self.point.unsigned_abs() as usize))
        } else if self.point >= length {
            format!("{sign}{digits}{}", "0".repeat((self.point - length) as usize))
        } else {
            let (whole, fraction) = digits.split_at(self.point as usize);
            format!("{sign}{whole}.{fraction}")
        }
    }

    fn sign(&self) -> &'static str {
        if self.negative { "-" } else { "" }
    }
}
