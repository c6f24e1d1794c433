//! Scalars: block, quoted and plain.

use super::{Mark, Scan, Scanner, TokenKind, is_blank, is_blank_or_end, is_break, is_break_or_end};

/// What to do with the line breaks at the end of a block scalar.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Chomping {
    Strip,
    Clip,
    Keep,
}

/// The blanks and line breaks between two words of a flow scalar. Folding keeps only some of them.
#[derive(Default)]
struct Gap {
    /// The blanks on the line of the first word.
    blanks: String,
    first_break: String,
    more_breaks: String,
    /// Whether the gap contains a line break. Blanks after it do not count.
    lines: bool,
}

impl Gap {
    fn is_empty(&self) -> bool {
        !self.lines && self.blanks.is_empty()
    }

    /// Adds to `text` what the gap folds to: one line break becomes a blank; of several, all but the first
    /// stay.
    fn fold_into(&mut self, text: &mut String) {
        if !self.lines {
            text.push_str(&self.blanks);
        } else if !self.first_break.starts_with('\n') {
            text.push_str(&self.first_break);
            text.push_str(&self.more_breaks);
        } else if self.more_breaks.is_empty() {
            text.push(' ');
        } else {
            text.push_str(&self.more_breaks);
        }
        *self = Gap::default();
    }
}

impl Scanner {
    pub(super) fn scan_block_scalar(&mut self, literal: bool) -> Scan<TokenKind> {
        let start = self.mark;
        self.skip();
        self.need(1)?;
        let (chomping, increment) = match self.scan_chomping()? {
            Some(chomping) => (chomping, self.scan_increment(start)?),
            None => {
                let increment = self.scan_increment(start)?;
                self.need(1)?;
                (self.scan_chomping()?.unwrap_or(Chomping::Clip), increment)
            }
        };
        self.finish_line(start)?;

        // 0 until the first line of text shows the indentation.
        let mut indent = if increment > 0 { self.indent.max(0) as usize + increment } else { 0 };
        let mut value = String::new();
        let mut last_break = String::new();
        let mut more_breaks = String::new();
        let mut indented_before = false;
        self.scan_block_breaks(&mut indent, &mut more_breaks, start)?;
        self.need(1)?;
        while self.mark.column == indent && self.at(0) != '\0' {
            let indented = is_blank(self.at(0));
            if !literal && !indented_before && !indented && last_break.starts_with('\n') {
                if more_breaks.is_empty() {
                    value.push(' ');
                }
            } else {
                value.push_str(&last_break);
            }
            last_break.clear();
            value.push_str(&more_breaks);
            more_breaks.clear();
            indented_before = indented;
            while !is_break_or_end(self.at(0)) {
                self.read(&mut value);
                self.need(1)?;
            }
            self.need(2)?;
            self.read_line(&mut last_break);
            self.scan_block_breaks(&mut indent, &mut more_breaks, start)?;
        }
        if chomping != Chomping::Strip {
            value.push_str(&last_break);
        }
        if chomping == Chomping::Keep {
            value.push_str(&more_breaks);
        }
        Ok(TokenKind::Scalar { value, plain: false })
    }

    fn scan_chomping(&mut self) -> Scan<Option<Chomping>> {
        let chomping = match self.at(0) {
            '+' => Chomping::Keep,
            '-' => Chomping::Strip,
            _ => return Ok(None),
        };
        self.skip();
        self.need(1)?;
        Ok(Some(chomping))
    }

    fn scan_increment(&mut self, start: Mark) -> Scan<usize> {
        match self.at(0).to_digit(10) {
            None => Ok(0),
            Some(0) => Err(self.problem("found an indentation indicator equal to 0", start)),
            Some(digit) => {
                self.skip();
                Ok(digit as usize)
            }
        }
    }

    /// Reads indentation and empty lines. Finds out the indentation if it is not known yet.
    fn scan_block_breaks(&mut self, indent: &mut usize, breaks: &mut String, start: Mark) -> Scan<()> {
        let mut deepest = 0;
        loop {
            self.need(1)?;
            let unknown_or_less = |scanner: &Scanner| *indent == 0 || scanner.mark.column < *indent;
            while unknown_or_less(self) && self.at(0) == ' ' {
                self.skip();
                self.need(1)?;
            }
            deepest = deepest.max(self.mark.column);
            if unknown_or_less(self) && self.at(0) == '\t' {
                return Err(
                    self.problem("found a tab character where an indentation space is expected", start)
                );
            }
            if !is_break(self.at(0)) {
                break;
            }
            self.need(2)?;
            self.read_line(breaks);
        }
        if *indent == 0 {
            *indent = deepest.max((self.indent + 1) as usize).max(1);
        }
        Ok(())
    }

    pub(super) fn scan_quoted_scalar(&mut self, quote: char) -> Scan<TokenKind> {
        let start = self.mark;
        let mut value = String::new();
        self.skip();
        loop {
            self.need(4)?;
            if self.mark.column == 0 && (self.at_document_indicator('-') || self.at_document_indicator('.')) {
                return Err(self.problem("found unexpected document indicator", start));
            }
            if self.at(0) == '\0' {
                return Err(self.problem("found unexpected end of stream", start));
            }
            let mut gap = Gap::default();
            while !is_blank_or_end(self.at(0)) {
                match (self.at(0), self.at(1)) {
                    ('\'', '\'') if quote == '\'' => {
                        value.push('\'');
                        self.skip();
                        self.skip();
                    }
                    (c, _) if c == quote => break,
                    ('\\', next) if quote == '"' && is_break(next) => {
                        self.need(3)?;
                        self.skip();
                        self.skip_line();
                        gap.lines = true;
                        break;
                    }
                    ('\\', _) if quote == '"' => self.scan_escape(&mut value, start)?,
                    _ => self.read(&mut value),
                }
                self.need(2)?;
            }
            self.need(1)?;
            if self.at(0) == quote {
                break;
            }
            self.scan_gap(&mut gap, |_| Ok(()))?;
            gap.fold_into(&mut value);
        }
        self.skip();
        Ok(TokenKind::Scalar { value, plain: false })
    }

    fn scan_escape(&mut self, value: &mut String, start: Mark) -> Scan<()> {
        let digits = match self.at(1) {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            escape => {
                value.push(match escape {
                    '0' => '\0',
                    'a' => '\u{7}',
                    'b' => '\u{8}',
                    't' | '\t' => '\t',
                    'n' => '\n',
                    'v' => '\u{b}',
                    'f' => '\u{c}',
                    'r' => '\r',
                    'e' => '\u{1b}',
                    ' ' | '"' | '\'' | '\\' => escape,
                    'N' => '\u{85}',
                    '_' => '\u{a0}',
                    'L' => '\u{2028}',
                    'P' => '\u{2029}',
                    _ => return Err(self.problem("found unknown escape character", start)),
                });
                0
            }
        };
        self.skip();
        self.skip();
        if digits > 0 {
            self.need(digits)?;
            let mut code = 0u32;
            for offset in 0..digits {
                match self.at(offset).to_digit(16) {
                    Some(digit) => code = code << 4 | digit,
                    None => return Err(self.problem("did not find expected hexdecimal number", start)),
                }
            }
            match char::from_u32(code) {
                Some(c) => value.push(c),
                None => return Err(self.problem("found invalid Unicode character escape code", start)),
            }
            (0..digits).for_each(|_| self.skip());
        }
        Ok(())
    }

    pub(super) fn scan_plain_scalar(&mut self) -> Scan<TokenKind> {
        let start = self.mark;
        let indent = (self.indent + 1) as usize;
        let mut value = String::new();
        let mut gap = Gap::default();
        loop {
            self.need(4)?;
            let at_indicator = self.at_document_indicator('-') || self.at_document_indicator('.');
            if self.mark.column == 0 && at_indicator || self.at(0) == '#' {
                break;
            }
            while !is_blank_or_end(self.at(0)) {
                let ends = match self.at(0) {
                    ':' => is_blank_or_end(self.at(1)),
                    ',' | '?' | '[' | ']' | '{' | '}' => self.flow_level > 0,
                    _ => false,
                };
                if ends {
                    break;
                }
                if !gap.is_empty() {
                    gap.fold_into(&mut value);
                }
                self.read(&mut value);
                self.need(2)?;
            }
            if !(is_blank(self.at(0)) || is_break(self.at(0))) {
                break;
            }
            self.need(1)?;
            self.scan_gap(&mut gap, |scanner| {
                if scanner.mark.column < indent && scanner.at(0) == '\t' {
                    return Err(scanner.problem("found a tab character that violates indentation", start));
                }
                Ok(())
            })?;
            if self.flow_level == 0 && self.mark.column < indent {
                break;
            }
        }
        // The next line may begin with a key.
        if gap.lines {
            self.simple_key_allowed = true;
        }
        Ok(TokenKind::Scalar { value, plain: true })
    }

    /// Reads blanks and line breaks. `check` is called for every blank after a line break.
    fn scan_gap(&mut self, gap: &mut Gap, check: impl Fn(&Scanner) -> Scan<()>) -> Scan<()> {
        loop {
            match self.at(0) {
                c if is_blank(c) && gap.lines => {
                    check(self)?;
                    self.skip();
                }
                c if is_blank(c) => self.read(&mut gap.blanks),
                c if is_break(c) => {
                    self.need(2)?;
                    if gap.lines {
                        self.read_line(&mut gap.more_breaks);
                    } else {
                        gap.blanks.clear();
                        self.read_line(&mut gap.first_break);
                        gap.lines = true;
                    }
                }
                _ => return Ok(()),
            }
            self.need(1)?;
        }
    }
}
