//! The canonical text (`collectFragments` in `libcalico-go/lib/selector/parser/ast.go`).

use core::fmt::{Display, Formatter, Result};

use crate::node::{Comparison, Membership, Node};

impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Node::All => f.write_str("all()"),
            Node::Global => f.write_str("global()"),
            Node::Has(label) => write!(f, "has({label})"),
            Node::Compare { label, comparison, value } => {
                write!(f, "{label} {} {}", comparison.text(), Quoted(value))
            }
            Node::Member { label, membership, values } => {
                write!(f, "{label} {} {{", membership.text())?;
                write_list(f, values.iter().map(Quoted), ", ")?;
                f.write_str("}")
            }
            Node::Not(operand) => write!(f, "!{operand}"),
            Node::And(operands) => write_in_parentheses(f, operands, " && "),
            Node::Or(operands) => write_in_parentheses(f, operands, " || "),
        }
    }
}

impl Comparison {
    fn text(self) -> &'static str {
        match self {
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
            Comparison::Contains => "contains",
            Comparison::StartsWith => "starts with",
            Comparison::EndsWith => "ends with",
        }
    }
}

impl Membership {
    fn text(self) -> &'static str {
        match self {
            Membership::In => "in",
            Membership::NotIn => "not in",
        }
    }
}

fn write_in_parentheses(f: &mut Formatter<'_>, operands: &[Node], operator: &str) -> Result {
    f.write_str("(")?;
    write_list(f, operands.iter(), operator)?;
    f.write_str(")")
}

fn write_list<T: Display>(f: &mut Formatter<'_>, items: impl Iterator<Item = T>, separator: &str) -> Result {
    for (position, item) in items.enumerate() {
        if position > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}

/// A value in quotes. The language has no escapes, so a value holds at most one kind of quote.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let quote = if self.0.contains('"') { '\'' } else { '"' };
        write!(f, "{quote}{}{quote}", self.0)
    }
}
