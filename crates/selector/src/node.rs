//! The expression tree.

use alloc::{boxed::Box, vec::Vec};

/// An expression. `And` and `Or` have at least two operands.
#[derive(Debug)]
pub(crate) enum Node {
    All,
    Global,
    Has(Box<str>),
    Compare { label: Box<str>, comparison: Comparison, value: Box<str> },
    Member { label: Box<str>, membership: Membership, values: Values },
    Not(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
}

/// How a label is compared with one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Contains,
    StartsWith,
    EndsWith,
}

/// How a label is compared with a set of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    In,
    NotIn,
}

/// A set of values, sorted bytewise and without duplicates.
#[derive(Debug)]
pub(crate) struct Values(Box<[Box<str>]>);

impl Values {
    pub(crate) fn new(mut values: Vec<Box<str>>) -> Self {
        values.sort_unstable();
        values.dedup();
        Self(values.into_boxed_slice())
    }

    pub(crate) fn contains(&self, value: &str) -> bool {
        self.0.binary_search_by(|known| (**known).cmp(value)).is_ok()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|value| &**value)
    }
}

impl Node {
    /// The number of operators above the deepest condition.
    pub(crate) fn depth(&self) -> usize {
        let below = self.operands().iter().map(Node::depth).max();
        below.map_or(0, |deepest| deepest + 1)
    }

    pub(crate) fn has_global(&self) -> bool {
        matches!(self, Node::Global) || self.operands().iter().any(Node::has_global)
    }

    pub(crate) fn operands(&self) -> &[Node] {
        match self {
            Node::Not(operand) => core::slice::from_ref(operand),
            Node::And(operands) | Node::Or(operands) => operands,
            _ => &[],
        }
    }
}
