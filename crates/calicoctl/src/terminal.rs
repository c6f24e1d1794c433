//! Output to a terminal. Names, labels and owners come from other people. Control characters in them, and
//! characters that change the direction of a line, are spelled out (`\u001b`), as JSON spells them.

use std::io::{self, Write};

/// Passes text on, and spells out the characters that a terminal obeys (see [`api::fault::is_obeyed`]). Line
/// breaks and tabs stay.
pub(crate) struct Terminal<'a> {
    out: &'a mut dyn Write,
    /// The first bytes of a character whose other bytes have not come yet.
    held: Vec<u8>,
}

impl<'a> Terminal<'a> {
    /// A writer that passes its text on to `out`.
    pub(crate) fn new(out: &'a mut dyn Write) -> Terminal<'a> {
        Terminal { out, held: Vec::new() }
    }
}

impl Write for Terminal<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let all = [std::mem::take(&mut self.held).as_slice(), text].concat();
        let mut passed = Vec::with_capacity(all.len());
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let (valid, odd) = match std::str::from_utf8(rest) {
                Ok(valid) => (valid, 0),
                Err(error) => {
                    let (valid, _) = rest.split_at(error.valid_up_to());
                    // The end of an incomplete character may come with the next write.
                    let odd = error.error_len().unwrap_or(0);
                    (std::str::from_utf8(valid).unwrap_or_default(), odd)
                }
            };
            for c in valid.chars() {
                match c {
                    c if api::fault::is_obeyed(c) && !matches!(c, '\n' | '\t') => {
                        write!(passed, "\\u{:04x}", u32::from(c))?;
                    }
                    c => passed.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
            passed.extend_from_slice(&rest[valid.len()..valid.len() + odd]);
            rest = &rest[valid.len() + odd..];
            if odd == 0 {
                self.held = rest.to_vec();
                break;
            }
        }
        self.out.write_all(&passed)?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&std::mem::take(&mut self.held))?;
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
            ("a\u{202e}b\u{2069}\u{200f}\u{61c}\u{1f600}", "a\\u202eb\\u2069\\u200f\\u061c\u{1f600}"),
            ("\u{7f}\u{9b}31m\u{0}", "\\u007f\\u009b31m\\u0000"),
        ] {
            for size in 1..6 {
                let mut out = Vec::new();
                let mut terminal = Terminal::new(&mut out);
                text.as_bytes().chunks(size).for_each(|some| terminal.write_all(some).unwrap());
                terminal.flush().unwrap();
                assert_eq!(String::from_utf8(out).unwrap(), shown, "{size}");
            }
        }
    }
}
