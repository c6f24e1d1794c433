//! Evaluation. A label that is missing satisfies only the negative tests, `!=` and `not in`.

use crate::{
    Labels,
    node::{Comparison, Membership, Node},
};

impl Node {
    pub(crate) fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        match self {
            Node::All | Node::Global => true,
            Node::Has(label) => labels.label(label).is_some(),
            Node::Compare { label, comparison, value } => match labels.label(label) {
                Some(found) => comparison.holds(found, value),
                None => *comparison == Comparison::NotEqual,
            },
            Node::Member { label, membership, values } => {
                let member = labels.label(label).is_some_and(|found| values.contains(found));
                member == (*membership == Membership::In)
            }
            Node::Not(operand) => !operand.matches(labels),
            Node::And(operands) => operands.iter().all(|operand| operand.matches(labels)),
            Node::Or(operands) => operands.iter().any(|operand| operand.matches(labels)),
        }
    }
}

impl Comparison {
    fn holds(self, found: &str, value: &str) -> bool {
        match self {
            Comparison::Equal => found == value,
            Comparison::NotEqual => found != value,
            Comparison::Contains => found.contains(value),
            Comparison::StartsWith => found.starts_with(value),
            Comparison::EndsWith => found.ends_with(value),
        }
    }
}
