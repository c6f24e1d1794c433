//! Label selectors.

use std::collections::BTreeMap;

use selector::{MAX_LENGTH, Selector, normalise};

use super::Target;
use crate::input::{bounded, text};

pub(super) const TARGETS: &[Target] =
    &[Target { name: "selector", what: "a label selector", run: a_selector }];

/// Labels that many selectors ask about.
const LABELS: [&[(&str, &str)]; 4] = [
    &[],
    &[("rack", "0")],
    &[("a", "b"), ("rack", "rack-1"), ("has", "")],
    &[("rack", "\"'\\"), ("x", "äß")],
];

fn a_selector(bytes: &[u8]) {
    let text = text(bytes);
    let selector = match Selector::parse(&text) {
        Ok(selector) => selector,
        Err(error) => {
            // Calico's words name every token that is left over, with twelve characters for a parenthesis.
            bounded("the picture of an error", error.render(&text).len(), text.len(), 16);
            let span = error.span();
            assert!(text.get(span.clone()).is_some(), "{span:?} is no part of the text");
            return;
        }
    };
    let canonical = selector.canonical();
    bounded("the canonical text", canonical.len(), text.len(), 4);
    bounded("the identifier", selector.unique_id().len(), 0, 1);
    // The canonical text may be too long or, for its parentheses, too deep to be read.
    let again = Selector::parse(canonical).ok();
    assert!(again.is_some() || canonical.len() > MAX_LENGTH || canonical.contains("(("), "{canonical}");
    for labels in LABELS {
        let labels: BTreeMap<&str, &str> = labels.iter().copied().collect();
        let matches = selector.matches(&labels);
        assert!(again.as_ref().is_none_or(|again| again.matches(&labels) == matches), "{canonical}");
        assert_eq!(selector.unmet(&labels).is_empty(), matches, "{canonical}");
        for (name, restriction) in selector.restrictions() {
            let value = labels.get(name);
            let is_held = (!restriction.must_be_present || value.is_some())
                && (!restriction.must_be_absent || value.is_none())
                && restriction.values.is_none_or(|values| value.is_some_and(|value| values.contains(value)));
            assert!(is_held || !matches, "the restriction of {name} does not follow from {canonical}");
        }
        // What it gives was tried there.
        let _ = selector.changes_for(&labels);
    }
    if let Some(again) = again {
        // Each of the two signs of a double negation goes in one step.
        let steps = canonical.len();
        assert!(again.canonical().len() <= steps);
        assert_eq!(normalise(&text), canonical);
    }
}
