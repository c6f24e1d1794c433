//! Makes an expression of tokens (`libcalico-go/lib/selector/parser/parser.go`). `!` binds tighter than `&&`,
//! and `&&` tighter than `||`.

use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};

use crate::{
    error::{ErrorKind, ParseError},
    lexer::{Token, TokenKind, tokenize},
    node::{Comparison, Membership, Node, Values},
};

/// The most bytes of a selector, both as it is given and in its canonical form.
pub const MAX_LENGTH: usize = 64 * 1024;

/// The most levels of a selector: of open parentheses, and of operators within operators.
///
/// Parsing, printing and evaluating recurse no deeper than this number times the number of levels of
/// precedence.
pub const MAX_DEPTH: usize = 256;

/// Parses `text` and prints it canonically.
pub(crate) fn parse(text: &str) -> Result<(Node, String), ParseError> {
    let refuse = |kind| Err(ParseError::new(kind, 0..text.len()));
    if text.len() > MAX_LENGTH {
        return refuse(ErrorKind::TooLong);
    }
    let node = expression(&tokenize(text)?)?;
    if node.depth() > MAX_DEPTH {
        return refuse(ErrorKind::TooDeep);
    }
    let canonical = node.to_string();
    if canonical.len() > MAX_LENGTH {
        return refuse(ErrorKind::TooLong);
    }
    Ok((node, canonical))
}

fn expression(tokens: &[Token<'_>]) -> Result<Node, ParseError> {
    let mut parser = Parser { tokens, at: 0, depth: 0 };
    if parser.here().kind == TokenKind::Eof {
        return Ok(Node::All);
    }
    let node = parser.disjunction()?;
    if parser.here().kind != TokenKind::Eof {
        let rest = parser.rest().iter().map(Token::to_string).collect::<Vec<_>>().join(" ");
        return Err(parser.error(ErrorKind::UnexpectedContent(rest)));
    }
    Ok(node)
}

struct Parser<'t, 'a> {
    /// The last token is `Eof`. No method steps over it, so there is always a token at `at`.
    tokens: &'t [Token<'a>],
    at: usize,
    /// How many parentheses are open.
    depth: usize,
}

impl<'t, 'a> Parser<'t, 'a> {
    fn disjunction(&mut self) -> Result<Node, ParseError> {
        let first = self.conjunction()?;
        if self.here().kind != TokenKind::Or {
            return Ok(first);
        }
        let mut operands = Vec::from([first]);
        while self.eat(TokenKind::Or) {
            operands.push(self.conjunction()?);
        }
        Ok(Node::Or(operands))
    }

    fn conjunction(&mut self) -> Result<Node, ParseError> {
        let first = self.operation()?;
        if self.here().kind != TokenKind::And {
            return Ok(first);
        }
        let mut operands = Vec::from([first]);
        while self.eat(TokenKind::And) {
            operands.push(self.operation()?);
        }
        Ok(Node::And(operands))
    }

    /// Parses a condition with any number of `!` before it. Two `!` cancel each other.
    fn operation(&mut self) -> Result<Node, ParseError> {
        let mut negated = false;
        while self.eat(TokenKind::Not) {
            negated = !negated;
        }
        let node = self.atom()?;
        Ok(if negated { Node::Not(Box::new(node)) } else { node })
    }

    fn atom(&mut self) -> Result<Node, ParseError> {
        let token = self.here();
        let node = match token.kind {
            TokenKind::Has => Node::Has(token.value.into()),
            TokenKind::All => Node::All,
            TokenKind::Global => Node::Global,
            TokenKind::Label => return self.condition(),
            TokenKind::LParen => return self.parenthesised(),
            _ => return Err(self.error(ErrorKind::UnexpectedToken(token.to_string()))),
        };
        self.at += 1;
        Ok(node)
    }

    fn parenthesised(&mut self) -> Result<Node, ParseError> {
        if self.depth == MAX_DEPTH {
            return Err(self.error(ErrorKind::TooDeep));
        }
        self.depth += 1;
        self.at += 1;
        let node = self.disjunction()?;
        if !self.eat(TokenKind::RParen) {
            return Err(self.error(ErrorKind::ExpectedParenthesis));
        }
        self.depth -= 1;
        Ok(node)
    }

    /// Parses a label, an operator, and a value or a set.
    fn condition(&mut self) -> Result<Node, ParseError> {
        // The text ends after the label. What else may follow a label is checked below.
        let [label, operator, _, ..] = self.rest() else {
            return Err(self.error(ErrorKind::UnexpectedEnd));
        };
        self.at += 1;
        let comparison = match operator.kind {
            TokenKind::Eq => Comparison::Equal,
            TokenKind::Ne => Comparison::NotEqual,
            TokenKind::Contains => Comparison::Contains,
            TokenKind::StartsWith => Comparison::StartsWith,
            TokenKind::EndsWith => Comparison::EndsWith,
            TokenKind::In => return self.member(label.value, Membership::In),
            TokenKind::NotIn => return self.member(label.value, Membership::NotIn),
            _ => return Err(self.error(ErrorKind::ExpectedComparison(operator.to_string()))),
        };
        self.at += 1;
        let value = self.here();
        if !self.eat(TokenKind::StringLiteral) {
            return Err(self.error(ErrorKind::ExpectedString));
        }
        Ok(Node::Compare { label: label.value.into(), comparison, value: value.value.into() })
    }

    /// Parses what follows the label of `in` and `not in`. The set may be empty, and may end with a comma.
    fn member(&mut self, label: &str, membership: Membership) -> Result<Node, ParseError> {
        self.at += 1;
        if !self.eat(TokenKind::LBrace) {
            return Err(self.error(ErrorKind::ExpectedSet));
        }
        let mut values = Vec::new();
        loop {
            let token = self.here();
            if !self.eat(TokenKind::StringLiteral) {
                break;
            }
            values.push(token.value.into());
            if !self.eat(TokenKind::Comma) {
                break;
            }
        }
        if !self.eat(TokenKind::RBrace) {
            return Err(self.error(ErrorKind::ExpectedBrace));
        }
        Ok(Node::Member { label: label.into(), membership, values: Values::new(values) })
    }

    fn here(&self) -> &'t Token<'a> {
        &self.tokens[self.at]
    }

    fn rest(&self) -> &'t [Token<'a>] {
        &self.tokens[self.at..]
    }

    /// Steps over a token of this kind, and tells whether there was one. `kind` is never `Eof`.
    fn eat(&mut self, kind: TokenKind) -> bool {
        let found = self.here().kind == kind;
        // Not `+= usize::from(found)`: rustc 1.95 then forgets the step at opt-level 2 and above.
        if found {
            self.at += 1;
        }
        found
    }

    fn error(&self, kind: ErrorKind) -> ParseError {
        ParseError::new(kind, self.here().span.clone())
    }
}
