//! How the targets take their bytes apart, and the bound on what comes out of them.

use std::borrow::Cow;
use std::fmt::Display;

/// The bytes as text; what is no UTF-8 becomes U+FFFD.
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The bytes of the first line, and the rest.
pub(crate) fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(end);
    (line, rest.get(1..).unwrap_or_default())
}

/// The first line as text, and the rest.
pub(crate) fn head(bytes: &[u8]) -> (Cow<'_, str>, &[u8]) {
    let (line, rest) = line(bytes);
    (text(line), rest)
}

/// The text before a line of four dashes, and the text after it.
pub(crate) fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    const LINE: &[u8] = b"\n----\n";
    match bytes.windows(LINE.len()).position(|window| window == LINE) {
        Some(at) => (&bytes[..at], &bytes[at + LINE.len()..]),
        None => (bytes, &[]),
    }
}

/// The lines, each a word of a command line. A word has no NUL: the kernel hands none over.
pub(crate) fn words(bytes: &[u8]) -> Vec<String> {
    text(bytes).lines().map(|line| line.replace('\0', "")).collect()
}

/// The lines `NAME=value`, as variables. A value has no NUL.
pub(crate) fn variables(bytes: &[u8]) -> Vec<(String, String)> {
    let words = words(bytes).into_iter();
    words.filter_map(|word| word.split_once('=').map(|(name, value)| (name.into(), value.into()))).collect()
}

/// Panics where what came out has more than `times` the bytes of the input, and 4096 more.
pub(crate) fn bounded(what: &str, out: usize, input: usize, times: usize) {
    assert!(out <= times * input + 4096, "{what}: {out} bytes came of an input of {input}");
}

/// Panics where the text of an error has more than eight times the bytes of the input, and 4096 more.
pub(crate) fn told(error: impl Display, input: usize) {
    bounded("an error's text", error.to_string().len(), input, 8);
}
