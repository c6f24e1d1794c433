//! Laws that hold for every text and every expression.

use proptest::{collection::vec, prelude::*, sample::select};
use selector::{Selector, normalise};

use crate::naive::{expression, labels, style};

/// Pieces of the language, which random texts of any characters seldom hit.
fn soup() -> impl Strategy<Value = String> {
    let pieces = select(vec![
        "(",
        ")",
        "{",
        "}",
        ",",
        "==",
        "!=",
        "!",
        "&&",
        "||",
        "=",
        "&",
        "|",
        "a",
        "b/c",
        "'x'",
        "\"y\"",
        "'",
        "\"",
        " ",
        "\t",
        "\n",
        "in",
        "not",
        "not in",
        "contains",
        "starts",
        "with",
        "starts with",
        "has(",
        "has(a)",
        "all()",
        "all(",
        "global()",
        "ü",
        "%",
        "a == 'x'",
        "a in {'x'}",
        "\0",
    ]);
    vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

fn check_any_text(text: &str) {
    match Selector::parse(text) {
        Ok(selector) => {
            let again = Selector::parse(selector.canonical()).expect("canonical text parses");
            let settled = Selector::parse(again.canonical()).expect("canonical text parses");
            assert_eq!(again, settled);
            if !selector.canonical().contains("!!") {
                assert_eq!(selector, again);
                assert_eq!(selector.unique_id(), again.unique_id());
            }
            assert_eq!(normalise(text), Selector::parse(text.trim()).expect("less space parses").canonical());
        }
        Err(error) => {
            assert!(text.get(error.span()).is_some(), "{:?} is outside of {text:?}", error.span());
            assert!(error.render(text).starts_with(&error.to_string()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_text_panics(text in any::<String>()) {
        check_any_text(&text);
    }

    #[test]
    fn no_soup_panics(text in soup()) {
        check_any_text(&text);
    }

    #[test]
    fn evaluation_agrees_with_the_model(
        expression in expression(),
        mut style in style(),
        sets in vec(labels(), 1..12),
    ) {
        let text = expression.write(&mut style);
        let selector = Selector::parse(&text).map_err(|error| TestCaseError::fail(error.render(&text)))?;
        let again = Selector::parse(selector.canonical()).expect("canonical text parses");
        for set in sets {
            let expected = expression.holds(&set);
            prop_assert_eq!(selector.matches(&set), expected, "{} with {:?}", text, set);
            prop_assert_eq!(again.matches(&set), expected, "{} with {:?}", again, set);
        }
        check_any_text(&text);
    }

    /// The pre-filter never drops what the selector would match.
    #[test]
    fn restrictions_hold_for_whatever_matches(expression in expression(), mut style in style(), set in labels()) {
        let selector = Selector::parse(&expression.write(&mut style)).expect("the model writes selectors");
        for (label, restriction) in selector.restrictions().into_iter().filter(|_| expression.holds(&set)) {
            let value = set.get(label);
            prop_assert!(value.is_some() || !restriction.must_be_present, "{} must be there", label);
            prop_assert!(value.is_none() || !restriction.must_be_absent, "{} must not be there", label);
            if let (Some(value), Some(allowed)) = (value, restriction.values) {
                prop_assert!(allowed.contains(value.as_str()), "{} = {}", label, value);
            }
        }
    }
}
