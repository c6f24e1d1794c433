//! Turns characters into tokens, as `goyaml.v2/scannerc.go` (a relative of libyaml) does. Users and scripts
//! notice which texts are accepted, and what the errors for other texts say; so both are as in goyaml.

mod scalar;
mod tag;

use std::collections::{HashMap, VecDeque};

use super::source::Source;

/// A fault in the text: goyaml's words for it, and two lines, of which goyaml's message names one
/// (`tree::message`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) text: &'static str,
    pub(super) found_by: FoundBy,
    /// The line of the problem, counted from 0.
    pub(super) line: usize,
    /// The line where the incomplete construct began; 0 if there is none.
    pub(super) context_line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FoundBy {
    Reader,
    Scanner,
    Parser,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// The line where the token begins, counted from 0.
    pub(super) line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenKind {
    StreamStart,
    StreamEnd,
    VersionDirective { major: u8, minor: u8 },
    TagDirective { handle: String, prefix: String },
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(String),
    Anchor(String),
    Tag { handle: String, suffix: String },
    Scalar { value: String, plain: bool },
}

#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    /// The number of characters before the place.
    index: usize,
    line: usize,
    column: usize,
}

/// A place where a key without a `?` before it may have begun. It is a key only if a `:` follows on the same
/// line, at most 1024 characters further on.
#[derive(Debug, Clone, Copy, Default)]
struct SimpleKey {
    possible: bool,
    /// Whether it is an error if no `:` follows. That is so if the text stands in the column of a block
    /// mapping's keys.
    required: bool,
    /// The number of the key's first token, counted from the start of the stream.
    token: usize,
    mark: Mark,
}

pub(super) struct Scanner {
    source: Source,
    mark: Mark,
    started: bool,
    tokens: VecDeque<Token>,
    /// How many tokens were taken from the queue.
    taken: usize,
    /// The column of the current block collection; -1 outside of any.
    indent: i64,
    indents: Vec<i64>,
    flow_level: usize,
    simple_key_allowed: bool,
    /// One place for the block context, and one for each flow level.
    simple_keys: Vec<SimpleKey>,
    /// The index in `simple_keys` of the key that begins with a token, by the number of that token.
    simple_keys_by_token: HashMap<usize, usize>,
}

/// The departure from goyaml in which a character would be lost.
const SECOND_MARK: &str = "found a second byte order mark earlier, remove it";

type Scan<T> = Result<T, Problem>;

impl Scanner {
    pub(super) fn new(text: &[u8]) -> Scanner {
        Scanner {
            source: Source::new(text),
            mark: Mark::default(),
            started: false,
            tokens: VecDeque::new(),
            taken: 0,
            indent: -1,
            indents: Vec::new(),
            flow_level: 0,
            simple_key_allowed: true,
            simple_keys: vec![SimpleKey::default()],
            simple_keys_by_token: HashMap::new(),
        }
    }

    /// The next token, which stays in the queue. Must not be called after the end of the stream.
    pub(super) fn peek(&mut self) -> Scan<&Token> {
        while self.tokens.is_empty() || self.head_may_be_key()? {
            self.fetch_next_token()?;
        }
        Ok(&self.tokens[0])
    }

    /// The line of the token that was peeked at.
    pub(super) fn peeked_line(&self) -> usize {
        self.tokens.front().map_or(0, |token| token.line)
    }

    /// Takes the token that was peeked at.
    pub(super) fn take(&mut self) -> Option<Token> {
        self.taken += 1;
        self.tokens.pop_front()
    }

    /// Whether the first token of the queue may still turn out to begin a key. If it does, a key token must
    /// go in front of it.
    fn head_may_be_key(&mut self) -> Scan<bool> {
        match self.simple_keys_by_token.get(&self.taken) {
            Some(&key) => self.is_valid(key),
            None => Ok(false),
        }
    }

    fn fetch_next_token(&mut self) -> Scan<()> {
        self.need(1)?;
        if !self.started {
            self.started = true;
            self.push(TokenKind::StreamStart, self.mark);
            return Ok(());
        }
        self.skip_to_next_token()?;
        self.unroll_indent(self.mark.column as i64);
        self.need(4)?;
        let flow = self.flow_level > 0;
        let at_line_start = self.mark.column == 0;
        let blank_follows = is_blank_or_end(self.at(1));
        match self.at(0) {
            '\0' => self.fetch_stream_end(),
            '%' if at_line_start => self.fetch_directive(),
            '-' if at_line_start && self.at_document_indicator('-') => {
                self.fetch_document_indicator(TokenKind::DocumentStart)
            }
            '.' if at_line_start && self.at_document_indicator('.') => {
                self.fetch_document_indicator(TokenKind::DocumentEnd)
            }
            '[' => self.fetch_flow_start(TokenKind::FlowSequenceStart),
            '{' => self.fetch_flow_start(TokenKind::FlowMappingStart),
            ']' => self.fetch_flow_end(TokenKind::FlowSequenceEnd),
            '}' => self.fetch_flow_end(TokenKind::FlowMappingEnd),
            ',' => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                self.push_indicator(TokenKind::FlowEntry)
            }
            '-' if blank_follows => self.fetch_block_entry(),
            '?' if flow || blank_follows => self.fetch_key(),
            ':' if flow || blank_follows => self.fetch_value(),
            '*' => self.fetch_node_part(Scanner::scan_alias),
            '&' => self.fetch_node_part(Scanner::scan_anchor),
            '!' => self.fetch_node_part(Scanner::scan_tag),
            style @ ('|' | '>') if !flow => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                let mark = self.mark;
                let kind = self.scan_block_scalar(style == '|')?;
                self.push(kind, mark);
                Ok(())
            }
            quote @ ('\'' | '"') => self.fetch_node_part(|scanner| scanner.scan_quoted_scalar(quote)),
            first if self.starts_plain_scalar(first) => self.fetch_node_part(Scanner::scan_plain_scalar),
            _ => Err(self.problem("found character that cannot start any token", self.mark)),
        }
    }

    fn starts_plain_scalar(&self, first: char) -> bool {
        let next = self.at(1);
        match first {
            '-' => !matches!(next, ' ' | '\t'),
            '?' | ':' => self.flow_level == 0 && !is_blank_or_end(next),
            ',' | '[' | ']' | '{' | '}' | '#' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@'
            | '`' => false,
            first => !is_blank_or_end(first),
        }
    }

    fn at_document_indicator(&self, c: char) -> bool {
        (0..3).all(|offset| self.at(offset) == c) && is_blank_or_end(self.at(3))
    }

    fn fetch_stream_end(&mut self) -> Scan<()> {
        if self.mark.column != 0 {
            self.mark.column = 0;
            self.mark.line += 1;
        }
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        self.push(TokenKind::StreamEnd, self.mark);
        Ok(())
    }

    fn fetch_directive(&mut self) -> Scan<()> {
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        let mark = self.mark;
        let kind = self.scan_directive()?;
        self.push(kind, mark);
        Ok(())
    }

    fn fetch_document_indicator(&mut self, kind: TokenKind) -> Scan<()> {
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        let mark = self.mark;
        (0..3).for_each(|_| self.skip());
        self.push(kind, mark);
        Ok(())
    }

    fn fetch_flow_start(&mut self, kind: TokenKind) -> Scan<()> {
        self.save_simple_key()?;
        self.simple_keys.push(SimpleKey {
            token: self.next_token_number(),
            mark: self.mark,
            ..SimpleKey::default()
        });
        self.flow_level += 1;
        self.simple_key_allowed = true;
        self.push_indicator(kind)
    }

    fn fetch_flow_end(&mut self, kind: TokenKind) -> Scan<()> {
        self.remove_simple_key()?;
        if self.flow_level > 0 {
            self.flow_level -= 1;
            if let Some(key) = self.simple_keys.pop() {
                self.simple_keys_by_token.remove(&key.token);
            }
        }
        self.simple_key_allowed = false;
        self.push_indicator(kind)
    }

    fn fetch_block_entry(&mut self) -> Scan<()> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return Err(self.problem("block sequence entries are not allowed in this context", self.mark));
            }
            self.roll_indent(self.mark, None, TokenKind::BlockSequenceStart);
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        self.push_indicator(TokenKind::BlockEntry)
    }

    fn fetch_key(&mut self) -> Scan<()> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return Err(self.problem("mapping keys are not allowed in this context", self.mark));
            }
            self.roll_indent(self.mark, None, TokenKind::BlockMappingStart);
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = self.flow_level == 0;
        self.push_indicator(TokenKind::Key)
    }

    fn fetch_value(&mut self) -> Scan<()> {
        let last = self.simple_keys.len() - 1;
        if self.is_valid(last)? {
            let key = self.simple_keys[last];
            self.insert(Some(key.token), TokenKind::Key, key.mark);
            self.roll_indent(key.mark, Some(key.token), TokenKind::BlockMappingStart);
            self.simple_keys[last].possible = false;
            self.simple_keys_by_token.remove(&key.token);
            self.simple_key_allowed = false;
        } else {
            if self.flow_level == 0 {
                if !self.simple_key_allowed {
                    return Err(self.problem("mapping values are not allowed in this context", self.mark));
                }
                self.roll_indent(self.mark, None, TokenKind::BlockMappingStart);
            }
            self.simple_key_allowed = self.flow_level == 0;
        }
        self.push_indicator(TokenKind::Value)
    }

    /// Fetches a token that may begin a simple key. After such a token no simple key begins on the same line.
    fn fetch_node_part(&mut self, scan: impl FnOnce(&mut Scanner) -> Scan<TokenKind>) -> Scan<()> {
        self.save_simple_key()?;
        self.simple_key_allowed = false;
        let mark = self.mark;
        let kind = scan(self)?;
        self.push(kind, mark);
        Ok(())
    }

    fn is_valid(&mut self, key: usize) -> Scan<bool> {
        let SimpleKey { possible, required, mark, .. } = self.simple_keys[key];
        let passed = mark.line < self.mark.line || mark.index + 1024 < self.mark.index;
        if possible && passed {
            if required {
                return Err(self.problem("could not find expected ':'", mark));
            }
            self.simple_keys[key].possible = false;
        }
        Ok(possible && !passed)
    }

    fn save_simple_key(&mut self) -> Scan<()> {
        if self.simple_key_allowed {
            self.remove_simple_key()?;
            let last = self.simple_keys.len() - 1;
            let required = self.flow_level == 0 && self.indent == self.mark.column as i64;
            let token = self.next_token_number();
            self.simple_keys[last] = SimpleKey { possible: true, required, token, mark: self.mark };
            self.simple_keys_by_token.insert(token, last);
        }
        Ok(())
    }

    fn remove_simple_key(&mut self) -> Scan<()> {
        let last = self.simple_keys.len() - 1;
        let SimpleKey { possible, required, token, mark } = self.simple_keys[last];
        if possible {
            if required {
                return Err(self.problem("could not find expected ':'", mark));
            }
            self.simple_keys[last].possible = false;
            self.simple_keys_by_token.remove(&token);
        }
        Ok(())
    }

    /// Opens a block collection if `mark` is further to the right than the current one. The collection's
    /// token goes before the token with the number `before`.
    fn roll_indent(&mut self, mark: Mark, before: Option<usize>, kind: TokenKind) {
        if self.flow_level == 0 && self.indent < mark.column as i64 {
            self.indents.push(self.indent);
            self.indent = mark.column as i64;
            self.insert(before, kind, mark);
        }
    }

    /// Closes the block collections that are further to the right than `column`.
    fn unroll_indent(&mut self, column: i64) {
        while self.flow_level == 0 && self.indent > column {
            self.push(TokenKind::BlockEnd, self.mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    fn next_token_number(&self) -> usize {
        self.taken + self.tokens.len()
    }

    fn push(&mut self, kind: TokenKind, mark: Mark) {
        self.tokens.push_back(Token { kind, line: mark.line });
    }

    /// Adds a token of one character.
    fn push_indicator(&mut self, kind: TokenKind) -> Scan<()> {
        self.push(kind, self.mark);
        self.skip();
        Ok(())
    }

    /// Puts a token before the token with that number. If that token was taken already, puts it at the end:
    /// goyaml lets that happen after `{}` and `[]`.
    fn insert(&mut self, before: Option<usize>, kind: TokenKind, mark: Mark) {
        let at = before.and_then(|number| number.checked_sub(self.taken)).unwrap_or(self.tokens.len());
        self.tokens.insert(at, Token { kind, line: mark.line });
    }

    fn skip_to_next_token(&mut self) -> Scan<()> {
        loop {
            self.need(1)?;
            if self.mark.column == 0 && self.source.is_marked() {
                // goyaml skips whatever stands here. What is written must not vanish without a word.
                if !matches!(self.at(0), '\u{feff}' | '\0') {
                    return Err(self.problem(SECOND_MARK, Mark::default()));
                }
                self.skip();
            }
            self.need(1)?;
            while self.at(0) == ' ' || self.at(0) == '\t' && (self.flow_level > 0 || !self.simple_key_allowed)
            {
                self.skip();
                self.need(1)?;
            }
            self.skip_comment()?;
            if !is_break(self.at(0)) {
                return Ok(());
            }
            self.need(2)?;
            self.skip_line();
            if self.flow_level == 0 {
                self.simple_key_allowed = true;
            }
        }
    }

    fn skip_comment(&mut self) -> Scan<()> {
        if self.at(0) == '#' {
            while !is_break_or_end(self.at(0)) {
                self.skip();
                self.need(1)?;
            }
        }
        Ok(())
    }

    fn skip_blanks(&mut self) -> Scan<()> {
        self.need(1)?;
        while is_blank(self.at(0)) {
            self.skip();
            self.need(1)?;
        }
        Ok(())
    }

    /// Reads blanks, a comment and the end of the line. Anything else there is a problem of the construct
    /// that began at `start`.
    fn finish_line(&mut self, start: Mark) -> Scan<()> {
        self.skip_blanks()?;
        self.skip_comment()?;
        if !is_break_or_end(self.at(0)) {
            return Err(self.problem("did not find expected comment or line break", start));
        }
        if is_break(self.at(0)) {
            self.need(2)?;
            self.skip_line();
        }
        Ok(())
    }

    fn need(&mut self, count: usize) -> Scan<()> {
        self.source.need(self.mark.index, count).map_err(|text| Problem {
            text,
            found_by: FoundBy::Reader,
            line: 0,
            context_line: 0,
        })
    }

    fn at(&self, offset: usize) -> char {
        self.source.at(self.mark.index + offset)
    }

    fn skip(&mut self) {
        self.mark.index += 1;
        self.mark.column += 1;
    }

    fn skip_line(&mut self) {
        self.mark.index += if self.at(0) == '\r' && self.at(1) == '\n' { 2 } else { 1 };
        self.mark.column = 0;
        self.mark.line += 1;
    }

    fn read(&mut self, text: &mut String) {
        text.push(self.at(0));
        self.skip();
    }

    /// Reads a line break, if there is one. Every line break becomes a newline, except U+2028 and U+2029,
    /// which stay.
    fn read_line(&mut self, text: &mut String) {
        match self.at(0) {
            c @ ('\u{2028}' | '\u{2029}') => text.push(c),
            c if is_break(c) => text.push('\n'),
            _ => return,
        }
        self.skip_line();
    }

    fn problem(&self, text: &'static str, context: Mark) -> Problem {
        Problem { text, found_by: FoundBy::Scanner, line: self.mark.line, context_line: context.line }
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_break_or_end(c: char) -> bool {
    is_break(c) || c == '\0'
}

fn is_blank_or_end(c: char) -> bool {
    is_blank(c) || is_break_or_end(c)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}
