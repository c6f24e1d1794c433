//! Why labels do not satisfy a selector, and which labels would.

use std::collections::BTreeMap;

use proptest::prelude::*;
use selector::Selector;

use crate::naive::{Labels, expression, labels, style};

/// Labels, as rows of tables write them.
type Pairs = &'static [(&'static str, &'static str)];
/// Changes of labels, as rows of tables write them.
type Changes = &'static [(&'static str, Option<&'static str>)];

fn of(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

#[test]
fn the_terms_that_fail_are_told_with_what_was_found() {
    let rows: &[(&str, Pairs, &[&str])] = &[
        (r#"rack == "0""#, &[("rack", "0")], &[]),
        (r#"rack == "0""#, &[("rack", "1")], &[r#"rack == "0", and there is rack = "1""#]),
        (r#"rack == "0""#, &[], &[r#"rack == "0", and there is no label rack"#]),
        (r#"a == "1" && b == "2""#, &[("a", "1")], &[r#"b == "2", and there is no label b"#]),
        (
            r#"a == "1" || has(b)"#,
            &[],
            &[r#"a == "1", and there is no label a"#, "has(b), and there is no label b"],
        ),
        ("!has(a)", &[("a", "")], &[r#"!has(a), and there is a = """#]),
        (
            "!(has(a) && has(b))",
            &[("a", ""), ("b", "")],
            &["!(has(a) && has(b)), and the labels satisfy what it negates"],
        ),
    ];
    for (text, labels, wanted) in rows {
        let unmet = Selector::parse(text).unwrap().unmet(&of(labels));
        let told: Vec<String> = unmet.iter().map(ToString::to_string).collect();
        assert_eq!(&told, wanted, "{text}");
    }
}

#[test]
fn changes_are_few() {
    let rows: &[(&str, Pairs, Option<Changes>)] = &[
        (r#"rack == "0""#, &[("rack", "1")], Some(&[("rack", Some("0"))])),
        (
            r#"rack in {"2", "1"} && !has(spare)"#,
            &[("spare", "")],
            Some(&[("rack", Some("1")), ("spare", None)]),
        ),
        (r#"(a == "1" && b == "1") || c == "1""#, &[], Some(&[("c", Some("1"))])),
        (r#"a != "1""#, &[("a", "1")], Some(&[("a", None)])),
        (r#"a == "1" && a == "2""#, &[], None),
        ("!all()", &[], None),
        ("all()", &[], Some(&[])),
    ];
    for (text, labels, wanted) in rows {
        let changes = Selector::parse(text).unwrap().changes_for(&of(labels));
        let wanted = wanted.map(|pairs| {
            pairs
                .iter()
                .map(|(name, value)| (name.to_string(), value.map(str::to_string)))
                .collect::<BTreeMap<_, _>>()
        });
        assert_eq!(changes, wanted, "{text}");
    }
}

#[test]
fn the_names_of_all_labels() {
    let selector = Selector::parse(r#"a == "1" || !(has(b) && c in {"x"}) || all()"#).unwrap();
    assert_eq!(selector.label_names().into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn terms_fail_where_the_selector_does(expression in expression(), labels in labels(), mut style in style()) {
        let selector = Selector::parse(&expression.write(&mut style)).unwrap();
        prop_assert_eq!(selector.unmet(&labels).is_empty(), expression.holds(&labels));
    }

    #[test]
    fn changed_labels_satisfy(expression in expression(), labels in labels(), mut style in style()) {
        let selector = Selector::parse(&expression.write(&mut style)).unwrap();
        if let Some(changes) = selector.changes_for(&labels) {
            let mut changed = labels.clone();
            for (name, value) in changes {
                match value {
                    Some(value) => changed.insert(name, value),
                    None => changed.remove(&name),
                };
            }
            prop_assert!(expression.holds(&changed), "{selector} {changed:?}");
        }
    }
}
