//! Splits text into tokens (`libcalico-go/lib/selector/tokenizer`). The whole text becomes tokens before any
//! of it is parsed; so an error of the tokens is reported even if an error of the parser stands further to
//! the left.

use alloc::{borrow::ToOwned, vec::Vec};
use core::{fmt, ops::Range};

use crate::error::{ErrorKind, ParseError};

/// The most bytes a label name may have.
pub const MAX_LABEL_LENGTH: usize = 512;

const BLANKS: [char; 2] = [' ', '\t'];

#[derive(Clone, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) kind: TokenKind,
    /// The name of a label (also of `has`), or a string without its quotes.
    pub(crate) value: &'a str,
    pub(crate) span: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Label,
    StringLiteral,
    LBrace,
    RBrace,
    Comma,
    Eq,
    Ne,
    In,
    Not,
    NotIn,
    Contains,
    StartsWith,
    EndsWith,
    All,
    Has,
    LParen,
    RParen,
    And,
    Or,
    Global,
    Eof,
}

/// The token as Calico's errors name it, e.g. `TokLabel(rack)`.
impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TokenKind::Eof => f.write_str("TokEOF()"),
            kind => write!(f, "Tok{kind:?}({})", self.value),
        }
    }
}

/// Of two symbols that begin alike, the longer comes first.
const SYMBOLS: [(&str, TokenKind); 10] = [
    ("(", TokenKind::LParen),
    (")", TokenKind::RParen),
    ("{", TokenKind::LBrace),
    ("}", TokenKind::RBrace),
    (",", TokenKind::Comma),
    ("==", TokenKind::Eq),
    ("!=", TokenKind::Ne),
    ("!", TokenKind::Not),
    ("&&", TokenKind::And),
    ("||", TokenKind::Or),
];

const OPERATORS: [(&[&str], TokenKind); 5] = [
    (&["contains"], TokenKind::Contains),
    (&["starts", "with"], TokenKind::StartsWith),
    (&["ends", "with"], TokenKind::EndsWith),
    (&["not", "in"], TokenKind::NotIn),
    (&["in"], TokenKind::In),
];

/// Splits `text` into tokens; the last one, and only that, is `Eof`.
pub(crate) fn tokenize(text: &str) -> Result<Vec<Token<'_>>, ParseError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut tokens = Vec::<Token<'_>>::new();
    loop {
        lexer.skip_blanks();
        let start = lexer.at;
        let label = tokens.last().filter(|token| token.kind == TokenKind::Label).map(|token| token.value);
        let (kind, value) = lexer.token(label)?;
        let end = start + text[start..lexer.at].trim_end_matches(BLANKS).len();
        tokens.push(Token { kind, value, span: start..end });
        if kind == TokenKind::Eof {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    /// Always on a character boundary.
    at: usize,
}

impl<'a> Lexer<'a> {
    /// Reads one token. A word is an operator after a label, and a label elsewhere; so no word is reserved.
    fn token(&mut self, after_label: Option<&str>) -> Result<(TokenKind, &'a str), ParseError> {
        if let Some(&(_, kind)) = SYMBOLS.iter().find(|(symbol, _)| self.eat(symbol)) {
            return Ok((kind, ""));
        }
        match self.rest().bytes().next() {
            None => Ok((TokenKind::Eof, "")),
            Some(b'"') => self.string('"'),
            Some(b'\'') => self.string('\''),
            Some(b'=') => Err(self.error(ErrorKind::LoneEquals)),
            Some(b'&') => Err(self.error(ErrorKind::LoneAmpersand)),
            Some(b'|') => Err(self.error(ErrorKind::LonePipe)),
            Some(_) => match after_label {
                Some(label) => self.operator(label),
                None => self.function_or_label(),
            },
        }
    }

    /// Reads a string. There are no escapes: the string ends at the next quote of its kind.
    fn string(&mut self, quote: char) -> Result<(TokenKind, &'a str), ParseError> {
        let inside = &self.rest()[1..];
        let Some(length) = inside.find(quote) else {
            return Err(ParseError::new(ErrorKind::UnterminatedString, self.at..self.text.len()));
        };
        self.at += length + 2;
        Ok((TokenKind::StringLiteral, &inside[..length]))
    }

    fn operator(&mut self, label: &str) -> Result<(TokenKind, &'a str), ParseError> {
        match OPERATORS.iter().find(|(words, _)| self.eat_words(words)) {
            Some(&(_, kind)) => Ok((kind, "")),
            None => Err(self.error(ErrorKind::ExpectedOperator(label.to_owned()))),
        }
    }

    fn function_or_label(&mut self) -> Result<(TokenKind, &'a str), ParseError> {
        if self.eat("has(") {
            self.skip_blanks();
            let label = self.identifier()?;
            self.close("has").map(|()| (TokenKind::Has, label))
        } else if self.eat("all(") {
            self.close("all").map(|()| (TokenKind::All, ""))
        } else if self.eat("global(") {
            self.close("global").map(|()| (TokenKind::Global, ""))
        } else {
            self.identifier().map(|label| (TokenKind::Label, label))
        }
    }

    fn close(&mut self, function: &'static str) -> Result<(), ParseError> {
        self.skip_blanks();
        if self.eat(")") { Ok(()) } else { Err(self.error(ErrorKind::NotClosed(function))) }
    }

    fn identifier(&mut self) -> Result<&'a str, ParseError> {
        let span = identifier_at(self.text, self.at);
        let name = &self.text[span.clone()];
        if name.is_empty() {
            return Err(self.error(ErrorKind::ExpectedIdentifier));
        }
        if name.len() > MAX_LABEL_LENGTH {
            return Err(ParseError::new(ErrorKind::LabelTooLong(name.to_owned()), span));
        }
        self.at = span.end;
        Ok(name)
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches(BLANKS).len();
    }

    fn eat(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    /// Steps over an operator, unless a character of a label follows it. After each word of an operator of
    /// two words, blanks are skipped before that look. So `a not in b` fails here, while `a in b` passes, and
    /// the parser refuses it.
    fn eat_words(&mut self, words: &[&str]) -> bool {
        let mut rest = self.rest();
        for word in words {
            let Some(after) = rest.strip_prefix(word) else { return false };
            rest = if words.len() > 1 { after.trim_start_matches(BLANKS) } else { after };
        }
        let ends = !rest.starts_with(is_label_char);
        if ends {
            self.at = self.text.len() - rest.len();
        }
        ends
    }

    /// An error about the word or character at the current position.
    fn error(&self, kind: ErrorKind) -> ParseError {
        let mut span = identifier_at(self.text, self.at);
        if span.is_empty() {
            span.end += self.rest().chars().next().map_or(0, char::len_utf8);
        }
        ParseError::new(kind, span)
    }
}

fn identifier_at(text: &str, at: usize) -> Range<usize> {
    let length = text[at..].find(|c| !is_label_char(c));
    at..length.map_or(text.len(), |length| at + length)
}

/// Tells whether a label may have this character. Every such character has one byte.
pub(crate) fn is_label_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-')
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec::Vec};

    use super::*;

    #[test]
    fn texts_split_into_tokens() {
        for (text, expected) in [
            ("", "TokEOF()"),
            ("a==\"b\"", "TokLabel(a) TokEq() TokStringLiteral(b) TokEOF()"),
            ("a\t!=  'b\"' ", "TokLabel(a) TokNe() TokStringLiteral(b\") TokEOF()"),
            (
                "contains contains'contains'",
                "TokLabel(contains) TokContains() TokStringLiteral(contains) TokEOF()",
            ),
            ("starts starts \t with'x'", "TokLabel(starts) TokStartsWith() TokStringLiteral(x) TokEOF()"),
            ("ends endswith'x'", "TokLabel(ends) TokEndsWith() TokStringLiteral(x) TokEOF()"),
            ("has( x.y/z )has", "TokHas(x.y/z) TokLabel(has) TokEOF()"),
            ("all(\t)global( )all", "TokAll() TokGlobal() TokLabel(all) TokEOF()"),
            ("!!=!", "TokNot() TokNe() TokNot() TokEOF()"),
            (
                "a  notin\"bar\"&&!has(foo)||b in c",
                "TokLabel(a) TokNotIn() TokStringLiteral(bar) TokAnd() TokNot() TokHas(foo) TokOr() TokLabel(b) TokIn() \
                 TokLabel(c) TokEOF()",
            ),
            (
                "a not in {'x',}",
                "TokLabel(a) TokNotIn() TokLBrace() TokStringLiteral(x) TokComma() TokRBrace() TokEOF()",
            ),
        ] {
            let tokens = tokenize(text).unwrap();
            let printed = tokens.iter().map(Token::to_string).collect::<Vec<_>>().join(" ");
            assert_eq!(printed, expected, "of {text:?}");
        }
    }

    #[test]
    fn spans_are_of_the_token_without_the_blanks_around_it() {
        let text = " a  not \t in  { 'x y' }\t&& has( b ) ";
        let tokens = tokenize(text).unwrap();
        let spans: Vec<&str> = tokens.iter().map(|token| &text[token.span.clone()]).collect();
        assert_eq!(spans, ["a", "not \t in", "{", "'x y'", "}", "&&", "has( b )", ""]);
    }
}
