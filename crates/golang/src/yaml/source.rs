//! Turns bytes into characters. For bytes that are no text it gives goyaml's error messages
//! (`goyaml.v2/readerc.go`).

use std::ops::Range;

/// How many bytes goyaml reads at a time. goyaml meets a fault when it needs a character of the portion that
/// holds the fault, and not earlier; so a syntax error in an earlier portion is reported instead.
const PORTION: usize = 512;

/// The characters of a text, and the fault that ends them.
#[derive(Debug)]
pub(super) struct Source {
    characters: Vec<char>,
    /// Where each portion ends, as a number of characters.
    portions: Vec<usize>,
    /// How many portions are read.
    read: usize,
    fault: Option<&'static str>,
    /// Where goyaml's buffer begins, and where it ends: at a portion's end, or beyond the end of the text.
    buffer: Range<usize>,
}

/// What the next bytes are.
enum Step {
    /// A character, and its width in bytes.
    Char(char, usize),
    /// The beginning of a character. If there is no more, that is the fault.
    Incomplete(&'static str),
    Fault(&'static str),
}

impl Source {
    /// Reads UTF-8, or UTF-16 that begins with a byte order mark.
    pub(super) fn new(text: &[u8]) -> Source {
        match text {
            [0xFF, 0xFE, ..] => Source::decoded(text, 2, |bytes| utf16(bytes, u16::from_le_bytes)),
            [0xFE, 0xFF, ..] => Source::decoded(text, 2, |bytes| utf16(bytes, u16::from_be_bytes)),
            [0xEF, 0xBB, 0xBF, ..] => Source::decoded(text, 3, utf8),
            text => Source::decoded(text, 0, utf8),
        }
    }

    /// `skipped` is the number of bytes that are no text.
    fn decoded(text: &[u8], skipped: usize, step: impl Fn(&[u8]) -> Step) -> Source {
        let mut source =
            Source { characters: Vec::new(), portions: Vec::new(), read: 0, fault: None, buffer: 0..0 };
        let (mut at, mut end) = (skipped, PORTION.min(text.len()));
        while at < end {
            match step(&text[at..end]) {
                Step::Char(c, width) if is_allowed(c) => {
                    source.characters.push(c);
                    at += width;
                    if at < end {
                        continue;
                    }
                }
                Step::Incomplete(_) if end < text.len() => {}
                Step::Incomplete(fault) => {
                    source.portions.push(source.characters.len());
                    source.fault = Some(fault);
                    return source;
                }
                Step::Fault(fault) => {
                    source.fault = Some(fault);
                    return source;
                }
                Step::Char(..) => {
                    source.fault = Some("control characters are not allowed");
                    return source;
                }
            }
            // What remains of this portion is read again, as the begin of the next.
            source.portions.push(source.characters.len());
            end = (at + PORTION).min(text.len());
        }
        source
    }

    /// Checks that `count` characters from `at` on can be read, or are beyond the end of the text. The error
    /// says what is wrong with the text.
    pub(super) fn need(&mut self, at: usize, count: usize) -> Result<(), &'static str> {
        if self.buffer.end < at + count {
            self.buffer.start = at;
        }
        while self.buffer.end < at + count {
            match (self.portions.get(self.read), self.fault) {
                (Some(end), _) => self.buffer.end = *end,
                (None, Some(fault)) => return Err(fault),
                (None, None) => {
                    self.buffer.end += 1;
                    break;
                }
            }
            self.read += 1;
        }
        Ok(())
    }

    /// The character at `index`; beyond the end it is NUL, which the text cannot contain.
    pub(super) fn at(&self, index: usize) -> char {
        self.characters.get(index).copied().unwrap_or('\0')
    }

    /// Whether goyaml takes the next character for a byte order mark, if that is the first of a line. goyaml
    /// looks at the begin of its buffer.
    pub(super) fn is_marked(&self) -> bool {
        self.at(self.buffer.start) == '\u{feff}'
    }
}

fn is_allowed(c: char) -> bool {
    matches!(c,
        '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{A0}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}

/// `bytes` is not empty.
fn utf8(bytes: &[u8]) -> Step {
    let width = match bytes[0] {
        ascii @ ..0x80 => return Step::Char(ascii.into(), 1),
        0xC0..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0..0xF8 => 4,
        _ => return Step::Fault("invalid leading UTF-8 octet"),
    };
    let Some(sequence) = bytes.get(..width) else {
        return Step::Incomplete("incomplete UTF-8 octet sequence");
    };
    if sequence[1..].iter().any(|octet| octet & 0xC0 != 0x80) {
        return Step::Fault("invalid trailing UTF-8 octet");
    }
    let value = sequence[1..]
        .iter()
        .fold(u32::from(sequence[0]) & (0x7F >> width), |value, octet| value << 6 | u32::from(octet & 0x3F));
    let smallest = [0x80, 0x800, 0x1_0000][width - 2];
    match char::from_u32(value) {
        _ if value < smallest => Step::Fault("invalid length of a UTF-8 sequence"),
        Some(c) => Step::Char(c, width),
        None => Step::Fault("invalid Unicode character"),
    }
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Step {
    let unit = |at: usize| Some(unit([*bytes.get(at)?, *bytes.get(at + 1)?]));
    match unit(0) {
        None => Step::Incomplete("incomplete UTF-16 character"),
        Some(0xDC00..=0xDFFF) => Step::Fault("unexpected low surrogate area"),
        Some(high @ 0xD800..=0xDBFF) => match unit(2) {
            None => Step::Incomplete("incomplete UTF-16 surrogate pair"),
            Some(low) => match char::decode_utf16([high, low]).next() {
                Some(Ok(c)) => Step::Char(c, 4),
                _ => Step::Fault("expected low surrogate area"),
            },
        },
        Some(unit) => {
            char::from_u32(unit.into()).map_or(Step::Fault("invalid Unicode character"), |c| Step::Char(c, 2))
        }
    }
}
