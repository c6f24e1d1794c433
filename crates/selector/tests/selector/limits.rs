//! Hostile text: long labels, long texts, deep nesting.

use std::thread;

use selector::{MAX_DEPTH, MAX_LABEL_LENGTH, MAX_LENGTH, Selector};

const TOO_LONG: &str = "selector too long: more than 65536 bytes";
const TOO_DEEP: &str = "selector nested too deeply: more than 256 levels";

fn refusal(text: &str) -> String {
    Selector::parse(text).expect_err("a refusal").to_string()
}

#[test]
fn labels_have_at_most_512_bytes() {
    let (longest, longer) = ("l".repeat(MAX_LABEL_LENGTH), "l".repeat(MAX_LABEL_LENGTH + 1));
    assert_eq!(longest.len(), 512);
    for text in [format!("{longest} == 'x'"), format!("has({longest})")] {
        assert!(Selector::parse(&text).is_ok());
    }
    for text in [format!("{longer} == 'x'"), format!("has( {longer} )")] {
        let error = Selector::parse(&text).unwrap_err();
        assert_eq!(error.to_string(), format!("label too long: {longer}"));
        assert_eq!(&text[error.span()], longer);
        assert_eq!(error.hint(), Some("a label has at most 512 bytes"));
    }
}

#[test]
fn texts_have_at_most_64_kibibytes() {
    let exactly = format!("a == '{}'", "x".repeat(MAX_LENGTH - "a == ''".len()));
    assert_eq!(exactly.len(), MAX_LENGTH);
    let selector = Selector::parse(&exactly).unwrap();
    assert!(Selector::parse(selector.canonical()).is_ok());
    assert_eq!(refusal(&format!("{exactly} ")), TOO_LONG);
}

#[test]
fn canonical_texts_have_at_most_64_kibibytes_too() {
    let tight = vec!["a==''"; MAX_LENGTH / 8].join("&&");
    assert!(tight.len() <= MAX_LENGTH);
    assert_eq!(refusal(&tight), TOO_LONG);
}

fn nested(levels: usize, open: &str, close: &str) -> String {
    format!("{}has(a){}", open.repeat(levels), close.repeat(levels))
}

#[test]
fn nesting_is_limited() {
    for (open, close) in [("(", ")"), ("!(", ")"), ("(has(b) && ", ")"), ("(has(b) && !(", "))")] {
        let levels = MAX_DEPTH / open.matches('(').count() / 2;
        let text = nested(levels, open, close);
        let selector = Selector::parse(&text).unwrap();
        assert!(Selector::parse(selector.canonical()).is_ok(), "{open}");
        assert_eq!(refusal(&nested(MAX_DEPTH + 1, open, close)), TOO_DEEP, "{open}");
    }
    assert!(Selector::parse(&nested(MAX_DEPTH, "(", ")")).is_ok());
    assert!(Selector::parse(&nested(MAX_DEPTH, "!(", ")")).is_ok());
}

/// The canonical text has parentheses for levels that precedence alone makes in the original. Still it must
/// not exceed the limit on nesting.
#[test]
fn what_is_accepted_is_accepted_again_when_printed() {
    for levels in 1..=MAX_DEPTH {
        let text = nested(levels, "!(has(b) || has(c) && ", ")");
        let Ok(selector) = Selector::parse(&text) else {
            assert!(levels > MAX_DEPTH / 3, "{levels} levels are refused");
            continue;
        };
        let again = Selector::parse(selector.canonical());
        assert_eq!(again.as_ref(), Ok(&selector), "{levels} levels");
    }
}

/// A text without an end, or with unclosed parentheses, gives an error. An accepted text needs only a small
/// stack.
#[test]
fn hostile_texts_do_not_exhaust_the_stack() {
    let body = || {
        for piece in ["(", "!(", "!", "has(a) && (", "a in {'x',", "))", "a && ", "all() || !("] {
            let text = piece.repeat(MAX_LENGTH / piece.len());
            assert!(Selector::parse(&text).is_err(), "{piece}");
        }
        let deepest = nested(MAX_DEPTH / 3, "!(has(b) || has(c) && ", ")");
        let selector = Selector::parse(&deepest).unwrap();
        assert!(selector.matches(&[("a", ""), ("c", "")]) != selector.matches(&[("c", "")]));
        assert!(selector.restrictions().is_empty());
    };
    thread::Builder::new().stack_size(1 << 20).spawn(body).unwrap().join().unwrap();
}
