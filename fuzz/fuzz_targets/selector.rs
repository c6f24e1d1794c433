//! Selectors: parse, print, parse again, evaluate. Run with `cargo fuzz run selector`.
//!
//! The first line of the input is labels, `name=value` separated by semicolons; the rest is the selector.

#![no_main]

use libfuzzer_sys::fuzz_target;
use selector::{Selector, normalise};

fuzz_target!(|input: &str| {
    let (labels, text) = input.split_once('\n').unwrap_or(("", input));
    let labels: Vec<(&str, &str)> = labels.split(';').filter_map(|pair| pair.split_once('=')).collect();
    let selector = match Selector::parse(text) {
        Ok(selector) => selector,
        Err(error) => {
            assert!(text.get(error.span()).is_some());
            assert!(!error.render(text).is_empty());
            return;
        }
    };
    let again = Selector::parse(selector.canonical()).expect("canonical text parses");
    let settled = Selector::parse(again.canonical()).expect("canonical text parses");
    assert_eq!(again, settled);
    assert!(selector == again || selector.canonical().contains("!!"));
    assert_eq!(normalise(selector.canonical()), again.canonical());

    let matched = selector.matches(&labels);
    assert_eq!(matched, again.matches(&labels));
    assert!(matched || !selector.is_all());
    for (label, restriction) in selector.restrictions().into_iter().filter(|_| matched) {
        let value = labels.iter().find(|(name, _)| *name == label).map(|(_, value)| *value);
        assert!(restriction.is_satisfiable());
        assert!(value.is_some() || !restriction.must_be_present);
        assert!(value.is_none() || !restriction.must_be_absent);
        assert!(restriction.values.is_none_or(|allowed| value.is_some_and(|value| allowed.contains(value))));
    }
});
