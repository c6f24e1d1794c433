//! Canonical texts and identifiers.

use selector::{Selector, normalise};

#[test]
fn expressions_print_canonically_and_stay_so() {
    for (text, canonical) in [
        ("", "all()"),
        (" all() ", "all()"),
        (" ( all( ) )", "all()"),
        ("global( )", "global()"),
        ("has( a )", "has(a)"),
        ("! (has( b)||! has(a ))", "!(has(b) || !has(a))"),
        ("! (a == \"b\"&&! c != \"d\")", "!(a == \"b\" && !c != \"d\")"),
        ("a=='b'", "a == \"b\""),
        ("a == \"'\"", "a == \"'\""),
        ("a == '\"'", "a == '\"'"),
        ("a!='\"'", "a != '\"'"),
        ("a contains '\"'", "a contains '\"'"),
        ("a contains\"'\"", "a contains \"'\""),
        ("a startswith '\"'", "a starts with '\"'"),
        ("a ends\twith \"'\"", "a ends with \"'\""),
        ("a in {'d'}", "a in {\"d\"}"),
        ("a in {}", "a in {}"),
        ("a not in { }", "a not in {}"),
        ("a in {\"d\", \"a\", \"b\"}", "a in {\"a\", \"b\", \"d\"}"),
        ("a in {'z', \"z\", 'x', 'y', 'x', 'a',}", "a in {\"a\", \"x\", \"y\", \"z\"}"),
        ("a notin {'10', '9', 'B', 'a', 'ü'}", "a not in {\"10\", \"9\", \"B\", \"a\", \"ü\"}"),
        ("a in {'\"', \"'\", ''}", "a in {\"\", '\"', \"'\"}"),
        ("!!has(a)", "has(a)"),
        ("!!!has(a)", "!has(a)"),
        ("!(has(a))", "!has(a)"),
        ("!(a == 'b')", "!a == \"b\""),
        ("has(a) && has(b) && has(c)", "(has(a) && has(b) && has(c))"),
        ("(has(a) && has(b)) && has(c)", "((has(a) && has(b)) && has(c))"),
        ("((has(a) && has(b)))", "(has(a) && has(b))"),
        ("has(a) || has(b) && has(c) || has(d)", "(has(a) || (has(b) && has(c)) || has(d))"),
        (
            "!(!(k == 'v' && has(t) || all()) && (a in {'c', 'b'}))",
            "!(!((k == \"v\" && has(t)) || all()) && a in {\"b\", \"c\"})",
        ),
    ] {
        let selector = Selector::parse(text).unwrap();
        assert_eq!(selector.canonical(), canonical, "of {text}");
        let again = Selector::parse(canonical).unwrap();
        assert_eq!(again, selector, "of {text}");
        assert_eq!(again.unique_id(), selector.unique_id(), "of {text}");
        assert_eq!(selector.to_string(), canonical);
    }
}

#[test]
fn double_negations_in_parentheses_settle_at_the_second_printing() {
    let first = Selector::parse("!(!has(a))").unwrap();
    assert_eq!(first.canonical(), "!!has(a)");
    let second = Selector::parse(first.canonical()).unwrap();
    assert_eq!(second.canonical(), "has(a)");
    assert_ne!(first, second);
}

/// The identifiers are Calico's own.
#[test]
fn identifiers_are_calicos() {
    for (text, id) in [
        ("", "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug"),
        (" (all() )", "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug"),
        ("! (has( b)||! has(a ))", "s:Iss0uCleLYv1GSv_pNm7hAO58kE9jAx1NKyG3Q"),
        ("! (a == \"b\"&&! c != \"d\")", "s:lh3haoY1ikTRkd4UZu0nWSaIBknYLPJLX16d-w"),
    ] {
        assert_eq!(Selector::parse(text).unwrap().unique_id(), id, "of {text:?}");
    }
}

#[test]
fn normalising_trims_all_white_space_and_leaves_what_it_cannot_parse() {
    for (text, normal) in [
        ("", "all()"),
        (" \n", "all()"),
        ("\n rack=='1'\r\n", "rack == \"1\""),
        ("rack ==", "rack =="),
        ("a  b", "a  b"),
        (" a  b\n", "a  b"),
    ] {
        assert_eq!(normalise(text), normal, "of {text:?}");
    }
}
