//! Why labels do not satisfy a selector, and which labels would.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use crate::{
    Labels,
    node::{Comparison, Membership, Node},
};

/// A term of a selector that labels do not satisfy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The canonical text of the term.
    pub term: String,
    /// The label that the term is about; `None` for a negated group of terms.
    pub label: Option<String>,
    /// The value of that label; `None` where there is no such label.
    pub found: Option<String>,
}

/// Says what was found: `rack == "0", and there is rack = "1"`.
impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.label, &self.found) {
            (None, _) => write!(f, "{}, and the labels satisfy what it negates", self.term),
            (Some(label), None) => write!(f, "{}, and there is no label {label}", self.term),
            (Some(label), Some(found)) => write!(f, "{}, and there is {label} = {found:?}", self.term),
        }
    }
}

/// Changes of labels by name: the label's new value, or `None` where the label must go.
pub type LabelChanges = BTreeMap<String, Option<String>>;

impl Node {
    /// Adds the terms that keep `labels` from satisfying this expression: none where they satisfy it.
    pub(crate) fn unmet<L: Labels + ?Sized>(&self, labels: &L, out: &mut Vec<Unmet>) {
        if self.matches(labels) {
            return;
        }
        match self {
            Node::And(operands) | Node::Or(operands) => {
                operands.iter().for_each(|operand| operand.unmet(labels, out));
            }
            term => out.push(Unmet {
                term: term.to_string(),
                label: term.label().map(ToOwned::to_owned),
                found: term.label().and_then(|label| labels.label(label)).map(ToOwned::to_owned),
            }),
        }
    }

    /// The label of a single test, negated or not.
    fn label(&self) -> Option<&str> {
        match self {
            Node::Has(label) | Node::Compare { label, .. } | Node::Member { label, .. } => Some(label),
            Node::Not(operand) => operand.label(),
            Node::All | Node::Global | Node::And(_) | Node::Or(_) => None,
        }
    }

    /// Adds the names of all labels that the expression tests.
    pub(crate) fn add_label_names<'a>(&'a self, out: &mut BTreeSet<&'a str>) {
        out.extend(self.label());
        self.operands().iter().for_each(|operand| operand.add_label_names(out));
    }

    /// Changes with which `labels` satisfy this expression, or with `wanted` false do not satisfy it. They
    /// are few, not always the fewest. Changes for two parts of the expression may contradict each other.
    pub(crate) fn changes_for(&self, wanted: bool, labels: &dyn Labels) -> Option<LabelChanges> {
        if self.matches(labels) == wanted {
            return Some(LabelChanges::new());
        }
        let set = |label: &str, value: &str| one(label, Some(value));
        match (self, wanted) {
            (Node::All | Node::Global, _) => None,
            (Node::Has(label), true) => Some(set(label, "true")),
            (Node::Has(label), false) => Some(one(label, None)),
            (Node::Compare { label, comparison: Comparison::NotEqual, .. }, true) => Some(one(label, None)),
            (Node::Compare { label, comparison: Comparison::NotEqual, value }, false)
            | (Node::Compare { label, value, .. }, true) => Some(set(label, value)),
            (Node::Compare { label, .. }, false) => Some(one(label, None)),
            (Node::Member { label, membership, values }, wanted) => {
                match (*membership == Membership::In) == wanted {
                    true => values.iter().next().map(|value| set(label, value)),
                    false => Some(one(label, None)),
                }
            }
            (Node::Not(operand), wanted) => operand.changes_for(!wanted, labels),
            (Node::And(operands), true) | (Node::Or(operands), false) => all_of(operands, wanted, labels),
            (Node::And(operands), false) | (Node::Or(operands), true) => {
                let each = operands.iter().filter_map(|operand| operand.changes_for(wanted, labels));
                each.min_by_key(LabelChanges::len)
            }
        }
    }
}

/// The changes of all operands; each operand sees those of the operands before it.
fn all_of(operands: &[Node], wanted: bool, labels: &dyn Labels) -> Option<LabelChanges> {
    operands.iter().try_fold(LabelChanges::new(), |mut changes, operand| {
        let changed = Changed { before: labels, changes: &changes };
        let more = operand.changes_for(wanted, &changed)?;
        changes.extend(more);
        Some(changes)
    })
}

fn one(label: &str, value: Option<&str>) -> LabelChanges {
    LabelChanges::from([(label.to_owned(), value.map(ToOwned::to_owned))])
}

/// Labels with changes made to them.
pub(crate) struct Changed<'a> {
    pub(crate) before: &'a dyn Labels,
    pub(crate) changes: &'a LabelChanges,
}

impl Labels for Changed<'_> {
    fn label(&self, name: &str) -> Option<&str> {
        match self.changes.get(name) {
            Some(changed) => changed.as_deref(),
            None => self.before.label(name),
        }
    }
}
