//! What a selector demands of each label: a pre-filter for an index of labelled things.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::node::{Comparison, Membership, Node};

/// What a selector demands of one label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restriction<'a> {
    /// Whether the selector cannot match without the label.
    pub must_be_present: bool,
    /// Whether the selector cannot match with the label.
    pub must_be_absent: bool,
    /// The only values with which the selector can match; `None` allows any value, an empty set allows none.
    pub values: Option<BTreeSet<&'a str>>,
}

impl<'a> Restriction<'a> {
    /// Tells whether the demands can be met at all.
    pub fn is_satisfiable(&self) -> bool {
        !(self.must_be_present && self.must_be_absent)
            && self.values.as_ref().is_none_or(|values| !values.is_empty())
    }

    /// The only value with which the selector can match, where it cannot match without the label either.
    pub fn single(&self) -> Option<&'a str> {
        let values = self.values.as_ref().filter(|values| values.len() == 1 && self.must_be_present)?;
        values.first().copied()
    }

    fn present() -> Self {
        Self { must_be_present: true, ..Self::default() }
    }

    fn absent() -> Self {
        Self { must_be_absent: true, ..Self::default() }
    }

    fn one_of(values: impl Iterator<Item = &'a str>) -> Self {
        Self { values: Some(values.collect()), ..Self::present() }
    }

    fn and(&mut self, other: Self) {
        self.must_be_present |= other.must_be_present;
        self.must_be_absent |= other.must_be_absent;
        self.values = match (self.values.take(), other.values) {
            (Some(mine), Some(theirs)) => Some(mine.intersection(&theirs).copied().collect()),
            (mine, theirs) => mine.or(theirs),
        };
    }

    /// Loosens these demands so that it is enough to meet either side's. Returns false if no demand is left.
    fn or(&mut self, other: &Self) -> bool {
        self.must_be_present &= other.must_be_present;
        self.must_be_absent &= other.must_be_absent;
        self.values = match (self.values.take(), &other.values) {
            (Some(mine), Some(theirs)) if self.must_be_present => Some(&mine | theirs),
            _ => None,
        };
        self.must_be_present || self.must_be_absent
    }
}

impl Node {
    pub(crate) fn restrictions(&self) -> BTreeMap<&str, Restriction<'_>> {
        match self {
            Node::Has(label) => of(label, Restriction::present()),
            Node::Compare { label, comparison, value } => match comparison {
                Comparison::Equal => of(label, Restriction::one_of([&**value].into_iter())),
                Comparison::Contains | Comparison::StartsWith | Comparison::EndsWith => {
                    of(label, Restriction::present())
                }
                Comparison::NotEqual => BTreeMap::new(),
            },
            Node::Member { label, membership: Membership::In, values } => {
                of(label, Restriction::one_of(values.iter()))
            }
            Node::Member { membership: Membership::NotIn, .. } | Node::All | Node::Global => BTreeMap::new(),
            // The negation of any other test demands nothing of one label: !(a == "b") matches with and
            // without a label a.
            Node::Not(operand) => match &**operand {
                Node::Has(label) => of(label, Restriction::absent()),
                _ => BTreeMap::new(),
            },
            Node::And(operands) => all_of(operands),
            Node::Or(operands) => any_of(operands),
        }
    }
}

fn of<'a>(label: &'a str, restriction: Restriction<'a>) -> BTreeMap<&'a str, Restriction<'a>> {
    BTreeMap::from([(label, restriction)])
}

fn all_of(operands: &[Node]) -> BTreeMap<&str, Restriction<'_>> {
    let mut all = BTreeMap::<&str, Restriction<'_>>::new();
    for (label, restriction) in operands.iter().flat_map(Node::restrictions) {
        all.entry(label).or_default().and(restriction);
    }
    all
}

fn any_of(operands: &[Node]) -> BTreeMap<&str, Restriction<'_>> {
    let mut branches = operands.iter().map(Node::restrictions);
    let mut any = branches.next().unwrap_or_default();
    for branch in branches {
        any.retain(|label, restriction| branch.get(label).is_some_and(|other| restriction.or(other)));
    }
    any
}
