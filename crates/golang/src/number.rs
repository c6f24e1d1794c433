//! Numbers as Go's `fmt`, `strconv` and `encoding/json` print them.

/// Go's `%v` of a `float64`: the shortest digits that read back, with an exponent below 1e-4 and from 1e6 on.
pub fn general(value: f64) -> String {
    match special(value) {
        Some(text) => text.to_owned(),
        None => Digits::shortest(value).general(SHORTEST_EXPONENT),
    }
}

/// Go's `strconv.FormatFloat(value, 'g', -1, 32)`: the shortest digits that distinguish the value from its
/// neighbours among 32-bit floats.
pub fn general_32(value: f64) -> String {
    let narrow = value as f32;
    match special(f64::from(narrow)) {
        Some(text) => text.to_owned(),
        None => Digits::shortest_32(narrow).general(SHORTEST_EXPONENT),
    }
}

/// A number as Go's JSON encoder prints it: a float that is an integer has no fraction (`26`, not `26.0`).
pub fn json_number(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(value) if number.is_f64() => json(value),
        _ => number.to_string(),
    }
}

/// A finite float as Go's JSON encoder prints it: without an exponent from 1e-6 up to, but not including,
/// 1e21.
pub fn json(value: f64) -> String {
    let digits = Digits::shortest(value);
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        // Go's encoder drops the leading zero of a negative exponent: e-07 becomes e-7.
        digits.exponential().replace("e-0", "e-")
    } else {
        digits.positional()
    }
}

/// Go's `%.5g`, with `digits` in the place of 5.
pub fn significant(value: f64, digits: usize) -> String {
    match special(value) {
        Some(text) => text.to_owned(),
        None => {
            let shown = Digits::from_exponential(&format!("{value:.*e}", digits.saturating_sub(1)));
            shown.general(i32::try_from(digits.max(1)).unwrap_or(i32::MAX))
        }
    }
}

/// The power of ten from which on Go writes a float with an exponent, when it writes the shortest digits.
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
    /// The fewest digits that read back as `value`. Of two such numbers that are equally near, Go takes the
    /// one with an even last digit, and Rust the upper one.
    fn shortest(value: f64) -> Digits {
        let shortest = Digits::from_exponential(&format!("{value:e}"));
        let nearest = format!("{value:.*e}", shortest.digits.len() - 1);
        if nearest.parse() == Ok(value) { Digits::from_exponential(&nearest) } else { shortest }
    }

    /// The fewest digits that read back as the same 32-bit float.
    fn shortest_32(value: f32) -> Digits {
        let shortest = Digits::from_exponential(&format!("{value:e}"));
        let nearest = format!("{value:.*e}", shortest.digits.len() - 1);
        if nearest.parse() == Ok(value) { Digits::from_exponential(&nearest) } else { shortest }
    }

    /// Takes the digits from Rust's exponential form, `-1.25e-3`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_go_writes_them() {
        for (x, v, wanted) in [
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
            assert_eq!(general(x), v);
            assert_eq!(json(x), wanted);
        }
    }
}
