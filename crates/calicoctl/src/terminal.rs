//! What goes to a terminal. Names, labels and owners come from others: their control characters are spelled out (`\\u001b`), as JSON spells them.

use std::io::{self, Write};

/// The first byte of the control characters U+0080 to U+009F, which some terminals obey, too.
const C1: u8 = 0xc2;

/// Passes text on, but for control characters; line breaks and tabs stay.
pub(crate) struct Terminal<'a> {
    out: &'a mut dyn Write,
    /// Whether the last byte was [`C1`], which is still to be written.
    is_held: bool,
}

impl<'a> Terminal<'a> {
    /// Passes on to `out`.
    pub(crate) fn new(out: &'a mut dyn Write) -> Terminal<'a> {
        Terminal { out, is_held: false }
    }
}

impl Write for Terminal<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut passed = Vec::with_capacity(text.len() + 1);
        for byte in text {
            match (std::mem::take(&mut self.is_held), byte) {
                (true, 0x80..=0x9f) => {
                    write!(passed, "\\u{byte:04x}")?;
                    continue;
                }
                (true, _) => passed.push(C1),
                (false, _) => {}
            }
            match byte {
                b'\n' | b'\t' => passed.push(*byte),
                0..=0x1f | 0x7f => write!(passed, "\\u{byte:04x}")?,
                &C1 => self.is_held = true,
                _ => passed.push(*byte),
            }
        }
        self.out.write_all(&passed)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.is_held) {
            self.out.write_all(&[C1])?;
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out_wherever_a_write_ends() {
        for (text, shown) in [
            ("plain \u{e9} \u{a9}\n\tx", "plain \u{e9} \u{a9}\n\tx"),
            ("a\u{1b}[2Jb\r", "a\\u001b[2Jb\\u000d"),
            ("\u{7f}\u{9b}31m\u{0}", "\\u007f\\u009b31m\\u0000"),
        ] {
            for size in 1..4 {
                let mut out = Vec::new();
                let mut terminal = Terminal::new(&mut out);
                text.as_bytes().chunks(size).for_each(|some| terminal.write_all(some).unwrap());
                terminal.flush().unwrap();
                assert_eq!(String::from_utf8(out).unwrap(), shown, "{size}");
            }
        }
    }
}
