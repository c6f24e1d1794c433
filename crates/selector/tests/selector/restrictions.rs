//! The labels that selectors demand. Each selector is also tried behind `all() &&`.

use std::collections::BTreeMap;

use selector::{Restriction, Selector};

fn present() -> Restriction<'static> {
    Restriction { must_be_present: true, ..Restriction::default() }
}

fn absent() -> Restriction<'static> {
    Restriction { must_be_absent: true, ..Restriction::default() }
}

fn one_of<const N: usize>(values: [&'static str; N]) -> Restriction<'static> {
    Restriction { values: Some(values.into()), ..present() }
}

fn table() -> Vec<(&'static str, Vec<(&'static str, Restriction<'static>)>)> {
    let both = Restriction { must_be_absent: true, ..present() };
    vec![
        ("all()", vec![]),
        ("global()", vec![]),
        ("a == 'v'", vec![("a", one_of(["v"]))]),
        ("a != 'v'", vec![]),
        ("has(a)", vec![("a", present())]),
        ("a in {'v', 'w'}", vec![("a", one_of(["v", "w"]))]),
        ("a in {}", vec![("a", one_of([]))]),
        ("a not in {'v', 'w'}", vec![]),
        ("a contains 'v'", vec![("a", present())]),
        ("a starts with 'v'", vec![("a", present())]),
        ("a ends with 'v'", vec![("a", present())]),
        // Negations.
        ("!has(a)", vec![("a", absent())]),
        ("!!has(a)", vec![("a", present())]),
        ("!(!has(a))", vec![]),
        ("!(a == 'v')", vec![]),
        ("!a != 'v'", vec![]),
        ("!(has(a) && has(b))", vec![]),
        // Conjunctions.
        ("a == 'v' && a == 'v'", vec![("a", one_of(["v"]))]),
        ("a == 'v' && a == 'w'", vec![("a", one_of([]))]),
        ("a == 'v' && has(a)", vec![("a", one_of(["v"]))]),
        ("has(a) && a == 'v'", vec![("a", one_of(["v"]))]),
        ("a in {'v', 'w'} && a in {'w', 'x'}", vec![("a", one_of(["w"]))]),
        ("a in {'v', 'w', 'x'} && a in {'w', 'x'}", vec![("a", one_of(["w", "x"]))]),
        ("has(a) && !has(a)", vec![("a", both)]),
        ("a == 'v' && b == 'w'", vec![("a", one_of(["v"])), ("b", one_of(["w"]))]),
        ("a == 'v' && all()", vec![("a", one_of(["v"]))]),
        ("a == 'v' && b != 'w' && !has(c)", vec![("a", one_of(["v"])), ("c", absent())]),
        // Disjunctions.
        ("a == 'v' || a == 'w'", vec![("a", one_of(["v", "w"]))]),
        ("a in {'v', 'w'} || a in {'w', 'x'}", vec![("a", one_of(["v", "w", "x"]))]),
        ("has(a) || a == 'w'", vec![("a", present())]),
        ("a == 'w' || has(a)", vec![("a", present())]),
        ("a == 'v' || a contains 'x' || a == 'w'", vec![("a", present())]),
        ("a == 'w' || has(b)", vec![]),
        ("a == 'w' || (has(b) && has(a))", vec![("a", present())]),
        (
            "a == 'v' && b == 'x' || a == 'w' && b == 'y'",
            vec![("a", one_of(["v", "w"])), ("b", one_of(["x", "y"]))],
        ),
        ("!has(a) || !has(a)", vec![("a", absent())]),
        ("!has(a) || has(a)", vec![]),
        ("a == 'v' || all()", vec![]),
        ("all() || a == 'v'", vec![]),
    ]
}

#[test]
fn selectors_demand_what_they_must() {
    for (text, expected) in table() {
        let expected: BTreeMap<_, _> = expected.into_iter().collect();
        for text in [text.to_owned(), format!("all() && ({text})")] {
            let selector = Selector::parse(&text).unwrap();
            assert_eq!(selector.restrictions(), expected, "of {text}");
        }
    }
    assert!(Selector::parse("").unwrap().restrictions().is_empty());
}

#[test]
fn contradictions_are_known() {
    for (text, satisfiable) in [
        ("has(a)", true),
        ("!has(a)", true),
        ("a in {'v'}", true),
        ("a in {}", false),
        ("has(a) && !has(a)", false),
        ("a == 'v' && a == 'w'", false),
    ] {
        let selector = Selector::parse(text).unwrap();
        assert_eq!(selector.restrictions()["a"].is_satisfiable(), satisfiable, "{text}");
    }
}

#[test]
fn a_demand_for_one_value_is_known() {
    for (text, single) in [
        ("a == 'v'", Some("v")),
        ("a in {'v', 'w'} && a != 'w' && a == 'w'", Some("w")),
        ("a == 'v' && b == 'x' || a == 'v'", Some("v")),
        ("a in {'v', 'w'}", None),
        ("a in {}", None),
        ("has(a)", None),
        ("!has(a)", None),
    ] {
        let selector = Selector::parse(text).unwrap();
        assert_eq!(selector.restrictions()["a"].single(), single, "{text}");
    }
}
