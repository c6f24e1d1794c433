//! Writes the characters of a YAML document as `goyaml.v2/emitterc.go` (a relative of libyaml) does: where a
//! line begins, which style a text can have, where a long line is folded.

/// A line is folded at the first single blank after this column.
const BEST_WIDTH: usize = 80;

/// How many columns a level is indented.
const STEP: usize = 2;

/// How a text is to stand in the document. A style that cannot hold the text is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
}

/// The document so far, and where its next character comes.
pub(super) struct Emitter {
    out: String,
    /// Of the line, in characters.
    column: usize,
    /// Of the collection or text that is being written; `None` outside of the outermost.
    indent: Option<usize>,
    /// Whether what comes next needs no blank before it.
    is_separated: bool,
    /// Whether the line holds only blanks and indicators (`-`, `?`, `:`), so that a nested collection can
    /// begin in it.
    is_indention: bool,
}

impl Emitter {
    pub(super) fn new() -> Emitter {
        Emitter { out: String::new(), column: 0, indent: None, is_separated: true, is_indention: true }
    }

    /// Ends the last line. Returns the document.
    pub(super) fn finish(mut self) -> String {
        self.start_line();
        self.out
    }

    /// Writes a list or a map by `write`, one level deeper.
    pub(super) fn nested(&mut self, write: impl FnOnce(&mut Emitter)) {
        self.at_indent(self.indent.map_or(0, |indent| indent + STEP), write);
    }

    /// Writes the list that is the value of a key by `write`. If it begins below the key, it is not indented
    /// further.
    pub(super) fn nested_below_key(&mut self, write: impl FnOnce(&mut Emitter)) {
        match self.indent {
            Some(indent) if !self.is_indention => self.at_indent(indent, write),
            _ => self.nested(write),
        }
    }

    fn at_indent(&mut self, indent: usize, write: impl FnOnce(&mut Emitter)) {
        let outer = self.indent.replace(indent);
        write(self);
        self.indent = outer;
    }

    /// Moves to the indentation of the collection: on this line if nothing else stands there, or on a new
    /// one.
    pub(super) fn start_line(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.is_indention || self.column > indent || (self.column == indent && !self.is_separated) {
            self.put('\n');
        }
        while self.column < indent {
            self.put(' ');
        }
        self.is_separated = true;
        self.is_indention = true;
    }

    /// Writes `-`, `?`, or the `:` that stands at the begin of a line.
    pub(super) fn indicator(&mut self, indicator: char) {
        self.separate();
        self.put(indicator);
        self.is_separated = false;
    }

    /// Writes `[]` or `{}`.
    pub(super) fn empty(&mut self, brackets: &str) {
        self.separate();
        self.close(brackets);
    }

    /// Writes the `:` after a key in the same line.
    pub(super) fn colon(&mut self) {
        self.close(":");
    }

    /// Writes a text. In a key that [`is_simple_key`], `can_fold` must be false.
    pub(super) fn text(&mut self, text: &str, style: Style, can_fold: bool) {
        // Even in the outermost place, the lines after the first are indented.
        self.at_indent(self.indent.unwrap_or(0) + STEP, |emitter| {
            emitter.separate();
            match fitting_style(text, style) {
                Style::Plain => emitter.plain(text, can_fold),
                Style::SingleQuoted => emitter.single_quoted(text, can_fold),
                Style::DoubleQuoted => emitter.double_quoted(text, can_fold),
                Style::Literal => emitter.literal(text),
            }
        });
    }

    fn plain(&mut self, text: &str, can_fold: bool) {
        let mut is_after_blank = false;
        for (c, next) in with_next(text) {
            if c == ' ' && can_fold && !is_after_blank && self.column > BEST_WIDTH && next != Some(' ') {
                self.start_line();
            } else {
                self.put(c);
                self.is_indention = false;
            }
            is_after_blank = c == ' ';
        }
        self.close("");
    }

    /// A line break in `text` is U+2028 or U+2029: a text with another has another style.
    fn single_quoted(&mut self, text: &str, can_fold: bool) {
        self.close("'");
        let (mut is_first, mut is_after_blank, mut is_after_break) = (true, false, false);
        for (c, next) in with_next(text) {
            if c == ' ' {
                let is_single = !is_after_blank && next.is_some_and(|next| next != ' ');
                if can_fold && is_single && !is_first && self.column > BEST_WIDTH {
                    self.start_line();
                } else {
                    self.put(c);
                }
                is_after_blank = true;
            } else if is_break(c) {
                self.put(c);
                self.is_indention = true;
                is_after_break = true;
            } else {
                if is_after_break {
                    self.start_line();
                }
                if c == '\'' {
                    self.put(c);
                }
                self.put(c);
                self.is_indention = false;
                (is_after_blank, is_after_break) = (false, false);
            }
            is_first = false;
        }
        self.close("'");
    }

    fn double_quoted(&mut self, text: &str, can_fold: bool) {
        self.close("\"");
        // goyaml looks for the mark at the begin of the text, whichever character it is about to write.
        let is_marked = text.starts_with('\u{feff}');
        let (mut is_first, mut is_after_blank) = (true, false);
        for (c, next) in with_next(text) {
            if is_marked || !is_printable(c) || is_break(c) || matches!(c, '"' | '\\') {
                self.put_all(&escape(c));
            } else if c == ' '
                && can_fold
                && !is_after_blank
                && !is_first
                && next.is_some()
                && self.column > BEST_WIDTH
            {
                self.start_line();
                if next == Some(' ') {
                    self.put('\\');
                }
            } else {
                self.put(c);
            }
            is_after_blank = c == ' ' && !is_marked;
            is_first = false;
        }
        self.close("\"");
    }

    fn literal(&mut self, text: &str) {
        self.close("|");
        if text.starts_with(|c| c == ' ' || is_break(c)) {
            self.close(&STEP.to_string());
        }
        let mut from_end = text.chars().rev();
        match (from_end.next().is_some_and(is_break), from_end.next()) {
            (false, _) => self.close("-"),
            (true, Some(c)) if !is_break(c) => {}
            (true, _) => self.close("+"),
        }
        self.put('\n');
        self.is_separated = true;
        self.is_indention = true;
        let mut is_after_break = true;
        for c in text.chars() {
            if is_after_break && !is_break(c) {
                self.start_line();
            }
            self.put(c);
            is_after_break = is_break(c);
            self.is_indention = is_after_break;
        }
    }

    fn separate(&mut self) {
        if !self.is_separated {
            self.put(' ');
        }
    }

    /// Writes `text`, after which no collection can begin in this line.
    fn close(&mut self, text: &str) {
        self.put_all(text);
        self.is_separated = false;
        self.is_indention = false;
    }

    fn put_all(&mut self, text: &str) {
        text.chars().for_each(|c| self.put(c));
    }

    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column = if is_break(c) { 0 } else { self.column + 1 };
    }
}

/// Whether a key can stand in one line with its `:`, without a `?` before it.
pub(super) fn is_simple_key(text: &str) -> bool {
    text.len() <= 128 && !text.contains(is_break)
}

/// `style`, or one that can hold `text`.
fn fitting_style(text: &str, style: Style) -> Style {
    let allowed = Allowed::for_text(text);
    match style {
        Style::Plain if allowed.plain => Style::Plain,
        Style::Plain | Style::SingleQuoted if allowed.single_quoted => Style::SingleQuoted,
        Style::Literal if allowed.literal => Style::Literal,
        _ => Style::DoubleQuoted,
    }
}

/// The styles that can hold a text. Double quotes hold all.
struct Allowed {
    plain: bool,
    single_quoted: bool,
    literal: bool,
}

impl Allowed {
    fn for_text(text: &str) -> Allowed {
        let pairs = || text.chars().zip(text.chars().skip(1));
        let is_special = text.contains(|c| !is_printable(c));
        let has_blank_before_break = pairs().any(|(c, next)| c == ' ' && is_break(next));
        let has_break_before_blank = pairs().any(|(c, next)| is_break(c) && next == ' ');
        let is_bare = !text.starts_with(' ') && !text.ends_with(' ') && !text.contains(is_break);
        let single_quoted = !is_special && !has_blank_before_break && !has_break_before_blank;
        Allowed {
            plain: single_quoted && is_bare && !has_indicator(text),
            single_quoted,
            literal: !text.is_empty() && !is_special && !has_blank_before_break && !text.ends_with(' '),
        }
    }
}

/// Whether `text` would not be plain text without quotes, or not all of it.
fn has_indicator(text: &str) -> bool {
    let is_blank = |c: char| matches!(c, ' ' | '\t');
    let ends_word = |next: Option<char>| next.is_none_or(is_blank);
    let leads = match with_next(text).next() {
        Some((c, next)) if "?:-".contains(c) => ends_word(next),
        Some((c, _)) => "#,[]{}&*!|>'\"%@`".contains(c),
        None => false,
    };
    leads
        || text.starts_with("---")
        || text.starts_with("...")
        || with_next(text).any(|(c, next)| c == ':' && ends_word(next) || is_blank(c) && next == Some('#'))
}

/// Each character with the one after it.
fn with_next(text: &str) -> impl Iterator<Item = (char, Option<char>)> {
    text.chars().zip(text.chars().skip(1).map(Some).chain([None]))
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Whether YAML 1.1 as goyaml knows it has the character outside of double quotes.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}

fn escape(c: char) -> String {
    let letter = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' | '\\' => c,
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ => {
            return match u32::from(c) {
                number @ ..0x100 => format!("\\x{number:02X}"),
                number @ ..0x1_0000 => format!("\\u{number:04X}"),
                number => format!("\\U{number:08X}"),
            };
        }
    };
    format!("\\{letter}")
}
