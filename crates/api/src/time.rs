//! Time as Calico writes it.

use golang::strconv::quote;
use jiff::Timestamp;

/// RFC 3339 in UTC with whole seconds, as `metav1.Time` is stored: `2026-08-01T10:00:00Z`.
pub fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads RFC 3339. It has no years before 0: written again, such a time could not be read any more.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    text.parse().ok().filter(|time| *time >= YEAR_0)
}

/// The beginning of the year 0.
const YEAR_0: Timestamp = Timestamp::constant(-62_167_219_200, 0);

/// Reads a time as `metav1.Time` does and writes it as it does: UTC, to the second.
///
/// # Errors
/// Go's text for a time that is none; which part is wrong is not told.
pub fn canonical(text: &str) -> Result<String, String> {
    parse_rfc3339(text).map(rfc3339).ok_or_else(|| {
        let quoted = quote(text);
        format!(r#"parsing time {quoted} as "2006-01-02T15:04:05Z07:00": cannot parse {quoted} as "2006""#)
    })
}

/// The text of Go's `time.Time.String` in UTC, fraction without trailing zeros:
/// `2026-08-01 10:00:03.123456789 +0000 UTC`.
pub fn go_text(time: Timestamp) -> String {
    let mut text = time.strftime("%Y-%m-%d %H:%M:%S").to_string();
    let nanos = time.subsec_nanosecond();
    if nanos != 0 {
        let fraction = format!("{nanos:09}");
        text.push('.');
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push_str(" +0000 UTC");
    text
}

/// Nanoseconds since 1970 as a sequence number; 0 before 1970. Stays below 2^63 until the year 2262.
pub fn sequence(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let time = Timestamp::new(1_785_578_403, 123_456_000).unwrap();
        assert_eq!(rfc3339(time), "2026-08-01T10:00:03Z");
        assert_eq!(go_text(time), "2026-08-01 10:00:03.123456 +0000 UTC");
        assert_eq!(go_text(Timestamp::new(0, 0).unwrap()), "1970-01-01 00:00:00 +0000 UTC");
        assert_eq!(sequence(time), 1_785_578_403_123_456_000);
    }

    #[test]
    fn what_is_read_can_be_read_when_it_is_written() {
        for (text, written) in [
            ("0000-01-01T00:00:00Z", Some("0000-01-01T00:00:00Z")),
            ("0001-01-01T00:00:00.5+02:00", Some("0000-12-31T22:00:00Z")),
            ("-000001-12-31T23:59:59Z", None),
            ("0000-01-01T00:00:00+00:01", None),
            ("-005000-01-01T00:00:00Z", None),
        ] {
            let read = parse_rfc3339(text).map(rfc3339);
            assert_eq!(read.as_deref(), written, "{text}");
            assert!(read.is_none_or(|written| parse_rfc3339(&written).is_some()), "{text}");
        }
    }
}
