//! Sizes, and texts from outside that are too long for a message.

use std::fmt;

/// A number of bytes, for messages: `16 MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes >= 1 << 10 && bytes.is_multiple_of(1 << 10) => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

/// The longest text from outside that a message quotes, in bytes.
const SHOWN: usize = 1024;

/// A text from outside, cut to the length that a message may quote.
pub fn cut_short(text: &str) -> String {
    let text = text.trim();
    if text.len() <= SHOWN {
        return text.to_string();
    }
    let end = (0..=SHOWN).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
    format!("{}... ({} in all)", &text[..end], Size(text.len()))
}

/// A name from a user's file, as messages show it. A text that is no single word is not shown: where a quote
/// is missing in the file, the "name" is all that follows, secrets included.
pub fn shown_word(name: &str) -> String {
    match name.len() <= 253 && name.chars().all(|c| c.is_ascii_graphic()) {
        true => name.to_string(),
        false => format!("<no name, {}>", Size(name.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let shown: Vec<_> = [7, 2048, 2049, 16 << 20].map(|bytes| Size(bytes).to_string()).to_vec();
        assert_eq!(shown, ["7 bytes", "2 KiB", "2049 bytes", "16 MiB"]);
    }

    #[test]
    fn names() {
        assert_eq!(shown_word("arn:aws:eks:eu-1:1:cluster/a"), "arn:aws:eks:eu-1:1:cluster/a");
        assert_eq!(shown_word("a\nb"), "<no name, 3 bytes>");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut_short(" short\n"), "short");
        let long = format!("{}é{}", "a".repeat(SHOWN - 1), "b".repeat(100));
        assert_eq!(cut_short(&long), format!("{}... (1125 bytes in all)", "a".repeat(SHOWN - 1)));
    }
}
