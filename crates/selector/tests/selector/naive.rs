//! A model of the language that shares nothing with the crate: expressions that write themselves in many
//! spellings, and evaluate themselves in the plainest way.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*, sample::select};

pub(crate) type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug)]
pub(crate) enum Expression {
    All,
    Global,
    Has(String),
    Test { label: String, operator: &'static str, values: Vec<String> },
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
}

use Expression::{All, And, Global, Has, Not, Or, Test};

impl Expression {
    pub(crate) fn holds(&self, labels: &Labels) -> bool {
        match self {
            All | Global => true,
            Has(label) => labels.contains_key(label),
            Not(operand) => !operand.holds(labels),
            And(operands) => operands.iter().filter(|operand| !operand.holds(labels)).count() == 0,
            Or(operands) => operands.iter().filter(|operand| operand.holds(labels)).count() > 0,
            Test { label, operator, values } => {
                let found = labels.get(label).map(|value| value.as_bytes());
                let listed = values.iter().any(|value| found == Some(value.as_bytes()));
                let windows = |wanted: &[u8], found: &[u8]| {
                    (0..=found.len()).filter(|at| found[*at..].starts_with(wanted)).collect::<Vec<usize>>()
                };
                let places = |value: &String| found.map_or(vec![], |found| windows(value.as_bytes(), found));
                match *operator {
                    "==" | "in" => listed,
                    "!=" | "not in" => !listed,
                    "contains" => !places(&values[0]).is_empty(),
                    "starts with" => places(&values[0]).first() == Some(&0),
                    "ends with" => found.is_some_and(|found| {
                        places(&values[0]).last() == Some(&found.len().wrapping_sub(values[0].len()))
                    }),
                    other => unreachable!("{other}"),
                }
            }
        }
    }

    /// Writes the expression, with spaces and needless parentheses as `style` has it.
    pub(crate) fn write(&self, style: &mut Style) -> String {
        let text = match self {
            All => format!("all({})", style.gap()),
            Global => format!("global({})", style.gap()),
            Has(label) => format!("has({}{label}{})", style.gap(), style.gap()),
            Not(operand) => {
                let inner = operand.write(style);
                let bare = !matches!(**operand, And(_) | Or(_));
                if bare && style.chance() {
                    format!("!{}{inner}", style.gap())
                } else {
                    format!("!({inner})")
                }
            }
            And(operands) => style.join(operands, "&&", |operand| matches!(operand, And(_) | Or(_))),
            Or(operands) => style.join(operands, "||", |operand| matches!(operand, Or(_))),
            Test { label, operator, values } => {
                let mut quoted = values.iter().map(|value| style.quote(value)).collect::<Vec<_>>();
                match *operator {
                    "==" | "!=" => format!("{label}{}{operator}{}{}", style.gap(), style.gap(), quoted[0]),
                    "contains" => format!("{label} {operator}{}{}", style.gap(), quoted[0]),
                    "starts with" | "ends with" => {
                        format!("{label} {}{}{}", operator.replace(' ', style.gap()), style.gap(), quoted[0])
                    }
                    _ => {
                        if style.chance() && !quoted.is_empty() {
                            quoted.push(String::new());
                        }
                        let values = quoted.join(&format!("{},{}", style.gap(), style.gap()));
                        format!("{label} {}{}{{{values}}}", operator.replace(' ', style.gap()), style.gap())
                    }
                }
            }
        };
        if style.chance() && style.chance() {
            format!("({}{text}{})", style.gap(), style.gap())
        } else {
            text
        }
    }
}

/// A stream of choices, repeated when it runs out.
#[derive(Debug)]
pub(crate) struct Style {
    pub(crate) choices: Vec<u8>,
    pub(crate) next: usize,
}

impl Style {
    fn choice(&mut self) -> u8 {
        self.next += 1;
        self.choices[self.next % self.choices.len()]
    }

    fn chance(&mut self) -> bool {
        self.choice() < 128
    }

    fn gap(&mut self) -> &'static str {
        ["", " ", "\t", "  "][usize::from(self.choice() % 4)]
    }

    fn quote(&mut self, value: &str) -> String {
        let double = if value.contains('\'') { true } else { !value.contains('"') && self.chance() };
        if double { format!("\"{value}\"") } else { format!("'{value}'") }
    }

    fn join(&mut self, operands: &[Expression], operator: &str, wrap: fn(&Expression) -> bool) -> String {
        let mut text = String::new();
        for (position, operand) in operands.iter().enumerate() {
            if position > 0 {
                text += &format!("{}{operator}{}", self.gap(), self.gap());
            }
            let inner = operand.write(self);
            text += &if wrap(operand) { format!("({inner})") } else { inner };
        }
        text
    }
}

fn label() -> impl Strategy<Value = String> {
    select(vec!["a", "b", "in", "has", "all", "not", "contains", "x.y/z-1_Q"]).prop_map(str::to_owned)
}

fn value() -> impl Strategy<Value = String> {
    let few = select(vec!["", "a", "b", "ab", "ba", "aba", "'", "\"", "ü", "\\", "all()", "\n"]);
    prop_oneof![4 => few.prop_map(str::to_owned), 1 => "[^'\"]{0,4}"]
}

pub(crate) fn labels() -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map(label(), value(), 0..6)
}

pub(crate) fn style() -> impl Strategy<Value = Style> {
    vec(any::<u8>(), 1..40).prop_map(|choices| Style { choices, next: 0 })
}

pub(crate) fn expression() -> impl Strategy<Value = Expression> {
    let single = select(vec!["==", "!=", "contains", "starts with", "ends with"]);
    let set = select(vec!["in", "not in"]);
    let leaf = prop_oneof![
        1 => Just(All),
        1 => Just(Global),
        3 => label().prop_map(Has),
        6 => (label(), single, vec(value(), 1)).prop_map(|(label, operator, values)| Test { label, operator, values }),
        4 => (label(), set, vec(value(), 0..5)).prop_map(|(label, operator, values)| Test { label, operator, values }),
    ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|operand| Not(Box::new(operand))),
            vec(inner.clone(), 2..4).prop_map(And),
            vec(inner, 2..4).prop_map(Or),
        ]
    })
}
