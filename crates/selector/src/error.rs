//! The errors of the parser: what is wrong with a text, where, and what to write instead.

use alloc::{
    borrow::Cow,
    string::{String, ToString},
};
use core::{fmt, ops::Range};

use crate::{MAX_DEPTH, MAX_LENGTH, hint};

/// Why a text is no selector. Displays as Calico's own words, which callers repeat in their messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    kind: ErrorKind,
    span: Range<usize>,
    hint: Option<Cow<'static, str>>,
}

/// The last two are this crate's own; the others have Calico's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ErrorKind {
    #[error("unterminated string")]
    UnterminatedString,
    #[error("expected ==")]
    LoneEquals,
    #[error("expected &&")]
    LoneAmpersand,
    #[error("expected ||")]
    LonePipe,
    #[error("expected operator after label \"{0}\"")]
    ExpectedOperator(String),
    #[error("no closing ')' after {0}(")]
    NotClosed(&'static str),
    #[error("expected identifier")]
    ExpectedIdentifier,
    #[error("label too long: {0}")]
    LabelTooLong(String),
    #[error("unexpected end of string looking for op")]
    UnexpectedEnd,
    #[error("expected string")]
    ExpectedString,
    #[error("expected set literal")]
    ExpectedSet,
    #[error("expected }}")]
    ExpectedBrace,
    #[error("expected )")]
    ExpectedParenthesis,
    #[error("expected == or != not: {0}")]
    ExpectedComparison(String),
    #[error("unexpected token: {0}")]
    UnexpectedToken(String),
    #[error("unexpected content at end of selector [{0}]")]
    UnexpectedContent(String),
    #[error("selector too long: more than {MAX_LENGTH} bytes")]
    TooLong,
    #[error("selector nested too deeply: more than {MAX_DEPTH} levels")]
    TooDeep,
}

impl ParseError {
    pub(crate) fn new(kind: ErrorKind, span: Range<usize>) -> Self {
        Self { kind, span, hint: None }
    }

    pub(crate) fn with_hint_from(mut self, text: &str) -> Self {
        self.hint = hint::hint(&self.kind, text, &self.span);
        self
    }

    /// The bytes of the text that the error is about; empty, at the end, where something is missing.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// What to write instead, where the parser can tell. The hint is not part of Calico's words.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// The error in several lines: its text, the part of `source` that the error is about with a mark below
    /// it, and the hint. `source` is the text that was parsed. The last line has no line break.
    pub fn render(&self, source: &str) -> String {
        let (line, before, width) = excerpt(source, &self.span);
        let indent: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let mark = "^".repeat(width.max(1));
        let mut text = self.to_string();
        text.extend(["\n  |\n  | ", &line, "\n  | ", &indent, &mark]);
        if let Some(hint) = self.hint() {
            text.extend(["\n  = ", hint]);
        }
        text
    }
}

/// How many characters of a long line are shown on either side of where the mark begins.
const EXCERPT_REACH: usize = 48;

/// Cuts the line around `span` out of `source`. Returns that line, the part of it before the mark, and the
/// width of the mark in characters. Control characters other than the tab are replaced, so that a terminal
/// can show the line.
fn excerpt(source: &str, span: &Range<usize>) -> (String, String, usize) {
    let start = floor_char_boundary(source, span.start);
    let end = floor_char_boundary(source, span.end).max(start);
    let (head, tail) = source.split_at(start);
    let head = head.rsplit('\n').next().unwrap_or_default();
    // A line break that is itself the error is shown, as the replacement character.
    let tail = tail.split_inclusive('\n').next().unwrap_or_default();
    let tail = if tail == "\n" { tail } else { tail.trim_end_matches('\n') };

    let hidden = head.chars().count().saturating_sub(EXCERPT_REACH);
    let shown = head.chars().skip(hidden);
    let before: String = if hidden > 0 { "...".chars().chain(shown).collect() } else { shown.collect() };
    let mut after: String = tail.chars().take(EXCERPT_REACH).collect();
    let width = source[start..end].chars().count().min(after.chars().count());
    if after.len() < tail.len() {
        after.push_str("...");
    }
    let (before, after) = (printable(&before), printable(&after));
    let line = before.clone() + &after;
    (line.trim_end().into(), before, width)
}

/// The last character boundary of `source` at or before `at`. `at` may be beyond the end: callers may pass
/// another text than the one that was parsed.
fn floor_char_boundary(source: &str, at: usize) -> usize {
    (0..=at.min(source.len())).rev().find(|&at| source.is_char_boundary(at)).unwrap_or(0)
}

/// Replaces the characters that a terminal obeys: control characters, and characters that change the
/// direction of the text after them.
fn printable(text: &str) -> String {
    let turns = |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_obeyed = |c: char| c.is_control() && c != '\t' || turns(c);
    text.chars().map(|c| if is_obeyed(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl core::error::Error for ParseError {}
