//! Hides secrets in texts from outside: whoever was given a secret may quote it, in whatever spelling.

use std::collections::BTreeSet;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem::Finder;

/// The shortest secret that is hidden, in bytes. A shorter one would hide parts of common words, and protects
/// nothing.
const SHORTEST: usize = 4;
/// The shortest secret that is also looked for in base64 and hexadecimal digits, in bytes.
const SHORTEST_ENCODED: usize = 6;
/// How many layers of escapes are undone.
const LAYERS: usize = 4;
const HIDDEN: &str = "<hidden>";

/// The secrets that no message may contain.
#[derive(Default)]
pub struct Secrets {
    plain: BTreeSet<String>,
    /// The secrets in base64: for each place where a secret can begin in the encoded text, the letters that
    /// depend on the secret alone.
    base64: Vec<String>,
    /// The secrets' bytes as hexadecimal digits, in lower case.
    hex: Vec<String>,
}

impl Secrets {
    /// Adds a secret, without the white space around it. Each long line of a secret of several lines becomes
    /// a secret, too.
    pub fn add(&mut self, secret: &str) {
        let secret = secret.trim();
        if canonical(secret).len() < SHORTEST || !self.plain.insert(secret.to_string()) {
            return;
        }
        let escaped = secret.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        for form in [secret, escaped.as_str()].into_iter().filter(|form| form.len() >= SHORTEST_ENCODED) {
            self.base64.extend(parts_of_base64(form));
            self.hex.push(form.bytes().map(|byte| format!("{byte:02x}")).collect());
        }
        let lines = secret.lines().filter(|line| line.len() >= 16 && line.len() < secret.len());
        lines.for_each(|line| self.add(line));
    }

    /// Whether there are no secrets.
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }

    /// The largest number of bytes that a secret can take in a text that spells it with the longest escapes
    /// of JSON and URLs.
    pub fn widest(&self) -> usize {
        6 * self.plain.iter().map(String::len).max().unwrap_or_default()
    }

    /// Replaces the secrets in a text. It finds them in upper or lower case, as they are and escaped for
    /// JSON, Rust, shells or URLs, and in base64 and hexadecimal digits, also over several lines and with
    /// marks between the bytes.
    pub fn hidden_in(&self, text: &str) -> String {
        self.hidden_in_beginning(text, text.len())
    }

    /// Replaces the secrets in the first `most` bytes of a text. A secret that begins there and goes on after
    /// them is replaced, too.
    pub fn hidden_in_beginning(&self, text: &str, most: usize) -> String {
        let most = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        let mut out = String::with_capacity(most);
        let mut at = 0;
        for range in self.found_in(text).into_iter().take_while(|range| range.start < most) {
            // A secret that overlaps the one before was replaced together with it.
            if range.start >= at {
                out.push_str(&text[at..range.start]);
                out.push_str(HIDDEN);
            }
            at = at.max(range.end);
        }
        out.push_str(text.get(at..most).unwrap_or_default());
        out
    }

    /// Where the secrets are in the text, in ascending order.
    fn found_in(&self, text: &str) -> Vec<Range<usize>> {
        if self.is_empty() {
            return Vec::new();
        }
        let lower = text.to_ascii_lowercase();
        let plain = without_escapes(text);
        let folded = Looked::new(plain.iter().copied().map(in_lower_case).collect());
        let mut found = Vec::new();
        for secret in &self.plain {
            // First without undoing escapes: the text before a secret may look like the beginning of an
            // escape, and undoing that would change the secret.
            let as_it_is = secret.to_ascii_lowercase();
            found.extend(lower.match_indices(&as_it_is).map(|(at, _)| at..at + as_it_is.len()));
            let wanted: Vec<u8> = canonical(secret).iter().map(|unit| unit.byte).collect();
            folded.find(&wanted, &mut found);
        }
        // Base64 of long texts is broken into lines, so white space is left out.
        let letters = Looked::new(without_space(plain.iter().copied()));
        for part in &self.base64 {
            found.extend(text.match_indices(part.as_str()).map(|(at, _)| at..at + part.len()));
            letters.find(part.as_bytes(), &mut found);
        }
        // `\x68` may be an escape for a character, or a notation for a byte. As a notation it is found only
        // in the text with its escapes.
        let as_it_is = without_space(units(text));
        for digits in [hexadecimal(&as_it_is), hexadecimal(&letters.units)] {
            let digits = Looked::new(digits);
            self.hex.iter().for_each(|wanted| digits.find(wanted.as_bytes(), &mut found));
        }
        found.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
        let whole = found.into_iter().map(|Range { start, end }| {
            let start = (0..=start).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            let end = (end..=text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
            start..end
        });
        whole.collect()
    }
}

/// Leaves the secrets out.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} secrets", self.plain.len())
    }
}

/// A text whose bytes may stand for other places of the original text.
struct Looked {
    bytes: Vec<u8>,
    units: Vec<Unit>,
}

impl Looked {
    fn new(units: Vec<Unit>) -> Looked {
        Looked { bytes: units.iter().map(|unit| unit.byte).collect(), units }
    }

    /// Adds to `found` the places of the wanted bytes, as ranges of the original text. Places that overlap
    /// are one range: there may be as many of them as the text has bytes.
    fn find(&self, wanted: &[u8], found: &mut Vec<Range<usize>>) {
        let Some(more) = wanted.len().checked_sub(1) else { return };
        let (finder, before, mut from) = (Finder::new(wanted), found.len(), 0);
        while let Some(at) = self.bytes.get(from..).and_then(|rest| finder.find(rest)) {
            let first = from + at;
            let (start, end) = (self.units[first].start, self.units[first + more].end);
            match found[before..].last_mut() {
                Some(last) if start < last.end => last.end = last.end.max(end),
                _ => found.push(start..end),
            }
            from = first + 1;
        }
    }
}

/// The text in lower case without the marks of hexadecimal notations (`68:75`, `0x68, 0x75`, `\x68\x75`), so
/// that the digits of a secret are next to each other.
fn hexadecimal(letters: &[Unit]) -> Vec<Unit> {
    let mut digits = Vec::with_capacity(letters.len());
    let mut at = 0;
    while let Some(unit) = letters.get(at) {
        let next = letters.get(at + 1).map(|unit| unit.byte);
        match unit.byte {
            b'0' | b'\\' if matches!(next, Some(b'x' | b'X')) => at += 1,
            b':' | b'-' | b',' => {}
            byte => digits.push(Unit { byte: byte.to_ascii_lowercase(), ..*unit }),
        }
        at += 1;
    }
    digits
}

/// The parts that the base64 of any text with `text` in it contains: one for each way in which `text` can
/// begin in a group of three bytes. The letters that also depend on the neighbouring bytes are left out.
fn parts_of_base64(text: &str) -> Vec<String> {
    let mut parts = Vec::new();
    for before in 0..3 {
        let padded = [&vec![0; before], text.as_bytes()].concat();
        let letters = padded.len() * 8 / 6;
        for encoded in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            // At the end of the encoded text, the last letter depends on `text` alone; elsewhere it does not.
            // Both forms count.
            let own = &encoded[(before * 8).div_ceil(6)..];
            parts.extend([own.to_string(), encoded[(before * 8).div_ceil(6)..letters].to_string()]);
        }
    }
    parts.sort();
    parts.dedup();
    parts
}

/// A byte of a text whose escapes are undone, and the place in the original text that it stands for.
#[derive(Clone, Copy)]
struct Unit {
    byte: u8,
    start: usize,
    end: usize,
}

fn without_space(units: impl Iterator<Item = Unit>) -> Vec<Unit> {
    units.filter(|unit| !unit.byte.is_ascii_whitespace()).collect()
}

fn units(text: &str) -> impl Iterator<Item = Unit> {
    text.bytes().enumerate().map(|(at, byte)| Unit { byte, start: at, end: at + 1 })
}

/// A form of the text that is the same for all its spellings: without escapes, in lower case. Different texts
/// may have the same form; then more is hidden than necessary.
fn canonical(text: &str) -> Vec<Unit> {
    without_escapes(text).into_iter().map(in_lower_case).collect()
}

/// The unit in lower case; `+`, which stands for a space in URLs, becomes a space.
fn in_lower_case(unit: Unit) -> Unit {
    Unit { byte: if unit.byte == b'+' { b' ' } else { unit.byte.to_ascii_lowercase() }, ..unit }
}

/// A text with the escapes of JSON, Rust, shells and URLs undone, layer by layer.
fn without_escapes(text: &str) -> Vec<Unit> {
    let mut units: Vec<Unit> = units(text).collect();
    for _ in 0..LAYERS {
        let before = units.len();
        units = undo_escapes(&units);
        if units.len() == before {
            break;
        }
    }
    units
}

fn undo_escapes(units: &[Unit]) -> Vec<Unit> {
    let mut out = Vec::with_capacity(units.len());
    let mut at = 0;
    while let Some(unit) = units.get(at) {
        let (taken, char) = match unit.byte {
            b'%' => match hex(units, at + 1, 2) {
                Some(byte) => {
                    out.push(Unit { byte: byte as u8, start: unit.start, end: units[at + 2].end });
                    at += 3;
                    continue;
                }
                None => (0, None),
            },
            b'\\' => {
                let slashes = units[at..].iter().take_while(|unit| unit.byte == b'\\').count();
                let (letters, char) = escape(units, at + slashes);
                (slashes + letters, char)
            }
            _ => (0, None),
        };
        match char {
            Some(char) => {
                let end = units[at + taken - 1].end;
                let mut bytes = [0; 4];
                let bytes = char.encode_utf8(&mut bytes).bytes();
                out.extend(bytes.map(|byte| Unit { byte, start: unit.start, end }));
            }
            // A backslash before anything else is not part of the result.
            None if taken > 0 => {}
            None => out.push(*unit),
        }
        at += taken.max(1);
    }
    out
}

/// The character for which the letters after a backslash stand, and how many letters these are. `(0, None)`
/// where they are no escape.
fn escape(units: &[Unit], at: usize) -> (usize, Option<char>) {
    let byte = |at: usize| units.get(at).map(|unit| unit.byte);
    let none = (0, None);
    match byte(at) {
        Some(b'n') => (1, Some('\n')),
        Some(b'r') => (1, Some('\r')),
        Some(b't') => (1, Some('\t')),
        Some(b'b') => (1, Some('\u{8}')),
        Some(b'f') => (1, Some('\u{c}')),
        Some(b'x') => hex(units, at + 1, 2).and_then(char::from_u32).map_or(none, |char| (3, Some(char))),
        Some(b'u') if byte(at + 1) == Some(b'{') => {
            let digits = units[at + 2..].iter().take_while(|unit| unit.byte != b'}').take(7).count();
            let char = hex(units, at + 2, digits).and_then(char::from_u32);
            char.map_or(none, |char| (digits + 3, Some(char)))
        }
        Some(b'u') => {
            let Some(first) = hex(units, at + 1, 4) else { return none };
            if let Some(char) = char::from_u32(first) {
                return (5, Some(char));
            }
            let slashes = units[at + 5..].iter().take_while(|unit| unit.byte == b'\\').count();
            let second = hex(units, at + 6 + slashes, 4).filter(|_| byte(at + 5 + slashes) == Some(b'u'));
            let pair = second.and_then(|second| {
                char::decode_utf16([first as u16, second as u16]).next().and_then(Result::ok)
            });
            pair.map_or(none, |char| (10 + slashes, Some(char)))
        }
        _ => none,
    }
}

fn hex(units: &[Unit], at: usize, digits: usize) -> Option<u32> {
    let units = units.get(at..at + digits).filter(|units| !units.is_empty())?;
    units
        .iter()
        .try_fold(0u32, |value, unit| Some(value.checked_mul(16)? + char::from(unit.byte).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn secrets(all: &[&str]) -> Secrets {
        let mut secrets = Secrets::default();
        all.iter().for_each(|secret| secrets.add(secret));
        secrets
    }

    #[test]
    fn every_spelling_is_hidden() {
        for secret in
            ["hunter2", "hun\"t\\er2", "hunté\u{1f600}r2", "a b+c/d@e%41f", "\\nhun\nter2\\", "hun$`'ter2"]
        {
            let once = format!("{secret:?}");
            let ascii: String = secret
                .encode_utf16()
                .map(|unit| match u8::try_from(unit) {
                    Ok(byte) if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
                    _ => format!("\\u{unit:04X}"),
                })
                .collect();
            let url: String = secret
                .bytes()
                .map(|byte| {
                    if byte.is_ascii_alphanumeric() {
                        char::from(byte).to_string()
                    } else {
                        format!("%{byte:02x}")
                    }
                })
                .collect();
            let around = |at: usize| format!("{}{secret} and more", "x".repeat(at));
            let long = STANDARD.encode(format!("{}{secret}{}", "x".repeat(50), "y".repeat(50)));
            let in_lines = |end: &str| {
                let lines: Vec<_> =
                    long.as_bytes().chunks(76).map(|line| str::from_utf8(line).unwrap()).collect();
                lines.join(end)
            };
            let hex = |before: &str, between: &str| {
                let bytes: Vec<_> = secret.bytes().map(|byte| format!("{before}{byte:02x}")).collect();
                bytes.join(between)
            };
            let all = [
                secret.to_string(),
                secret.to_ascii_uppercase(),
                format!("{once:?}"),
                format!("{:?}", format!("{once:?}")),
                once,
                ascii,
                url.replace("%20", "+"),
                url.replace('%', "%25"),
                url,
                secret.replace('/', "\\/"),
                STANDARD.encode(secret),
                STANDARD.encode(around(0)),
                STANDARD.encode(around(1)),
                URL_SAFE_NO_PAD.encode(around(2)),
                in_lines("\n"),
                in_lines("\r\n  "),
                format!("{:?}", in_lines("\n")),
                hex("", ""),
                hex("", "").to_ascii_uppercase(),
                hex("", ":"),
                hex("0x", ", "),
                hex("", " ").to_ascii_uppercase(),
                hex("\\x", ""),
            ];
            let secrets = secrets(&[secret]);
            for text in all {
                let told = secrets.hidden_in(&format!("it says: {text}: é"));
                assert!(told.starts_with("it says: ") && told.ends_with(": é"), "{text}: {told}");
                let left = told.replace(HIDDEN, "").to_lowercase();
                assert!(
                    told.contains(HIDDEN) && !left.contains("ter2") && !left.contains("c/d"),
                    "{text}: {told}"
                );
            }
        }
    }

    #[test]
    fn places_that_overlap_are_hidden_as_one() {
        let all = secrets(&["aaaa", "abab"]);
        assert_eq!(all.hidden_in("x aaaaaaa ababab aaaa"), "x <hidden> <hidden> <hidden>");
        assert_eq!(all.hidden_in("aaaaabab"), "<hidden>");
        assert_eq!(all.hidden_in(&"a".repeat(1 << 16)), "<hidden>");
    }

    #[test]
    fn what_is_no_secret_stays() {
        let text = "C:\\new\\table 100% of %41 \\u12 \\u{zz} \\ \"a\\\"b\" é\u{1f600}\\";
        assert_eq!(secrets(&["hunter2", "abc", ""]).hidden_in(text), text);
        assert_eq!(secrets(&[]).hidden_in(text), text);
        assert_eq!(secrets(&["hunter2"]).hidden_in("\\xhunter2 C:\\hunter2"), "\\x<hidden> C:\\<hidden>");
        assert_eq!(secrets(&["nunter2"]).hidden_in("C:\\nunter2"), "C:\\<hidden>");
    }

    #[test]
    fn nothing_is_left_of_one_that_is_cut() {
        let secrets = secrets(&["hunter2"]);
        for most in 4..10 {
            assert_eq!(secrets.hidden_in_beginning("it hunter2 x", most), "it <hidden>");
        }
        assert_eq!(secrets.hidden_in_beginning("it hunter2 x", 3), "it ");
        assert_eq!(secrets.hidden_in_beginning("it hunter2 x", 11), "it <hidden> ");
        assert_eq!(secrets.hidden_in_beginning("é", 1), "");
    }
}
