//! Expressions with label sets that they match and that they do not; each is tried again in canonical form.

use std::collections::BTreeMap;

use selector::{Labels, Selector};

type Set = &'static [(&'static str, &'static str)];

const NONE: Set = &[];

/// Expression, label sets that match, label sets that do not.
const TABLE: &[(&str, &[Set], &[Set])] = &[
    // The empty selector matches everything.
    ("", &[NONE, &[("a", "b")]], &[]),
    (" \t ", &[NONE, &[("a", "b")]], &[]),
    ("all()", &[NONE, &[("a", "b")]], &[]),
    (" all( \t)", &[NONE, &[("a", "b")]], &[]),
    ("global()", &[NONE, &[("a", "b")]], &[]),
    ("\tglobal( ) ", &[NONE, &[("a", "b")]], &[]),
    ("!all()", &[], &[NONE, &[("a", "b")]]),
    ("!global()", &[], &[NONE, &[("a", "b")]]),
    // Comparisons with one value.
    (
        "a == \"b\"",
        &[&[("a", "b")], &[("a", "b"), ("c", "d")]],
        &[NONE, &[("a", "c")], &[("c", "b")], &[("a", "")]],
    ),
    ("a == 'b'", &[&[("a", "b")]], &[NONE, &[("a", "B")], &[("A", "b")], &[("a", "bb")]]),
    ("a==''", &[&[("a", "")]], &[NONE, &[("a", " ")]]),
    ("a != \"b\"", &[NONE, &[("a", "a")], &[("c", "b")], &[("a", "")]], &[&[("a", "b")]]),
    ("a != ''", &[NONE, &[("a", "b")]], &[&[("a", "")]]),
    ("a == '\"'", &[&[("a", "\"")]], &[NONE, &[("a", "'")]]),
    ("a == \"'\"", &[&[("a", "'")]], &[NONE, &[("a", "\"")]]),
    ("a == 'b\\'", &[&[("a", "b\\")]], &[&[("a", "b")]]),
    ("a == 'b\nc'", &[&[("a", "b\nc")]], &[&[("a", "b c")]]),
    ("a == 'ü'", &[&[("a", "ü")]], &[&[("a", "u\u{308}")]]),
    // Comparisons with a part of a value.
    (
        "a contains \"b\"",
        &[&[("a", "b")], &[("a", "abc")], &[("a", "bbb"), ("c", "d")]],
        &[NONE, &[("a", "c")], &[("c", "b")]],
    ),
    ("a contains ''", &[&[("a", "")], &[("a", "b")]], &[NONE]),
    (
        "a starts with \"b\"",
        &[&[("a", "b")], &[("a", "bcc")]],
        &[NONE, &[("a", "cb")], &[("a", "")], &[("c", "bb")]],
    ),
    ("a starts with ''", &[&[("a", "")], &[("a", "b")]], &[NONE]),
    (
        "a ends with \"b\"",
        &[&[("a", "b")], &[("a", "ccb")]],
        &[NONE, &[("a", "bc")], &[("a", "")], &[("c", "bb")]],
    ),
    ("a ends with ''", &[&[("a", "")], &[("a", "b")]], &[NONE]),
    ("a startswith 'b'", &[&[("a", "bc")]], &[&[("a", "cb")]]),
    ("a ends \t with'b'", &[&[("a", "cb")]], &[&[("a", "bc")]]),
    // Comparisons with a set of values.
    ("a in {\"a\"}", &[&[("a", "a")]], &[NONE, &[("a", "b")]]),
    (
        "a in {\"a\", 'b'}",
        &[&[("a", "a")], &[("a", "b")]],
        &[NONE, &[("a", "c")], &[("b", "a")], &[("a", "")]],
    ),
    (
        "a in {'z', 'b', 'm', 'b', '', 'c'}",
        &[&[("a", "z")], &[("a", "")], &[("a", "m")], &[("a", "b")]],
        &[NONE, &[("a", "a")]],
    ),
    ("a in {\"'\", '\"', 'c'}", &[&[("a", "'")], &[("a", "\"")], &[("a", "c")]], &[NONE, &[("a", "e")]]),
    ("a in {'a',}", &[&[("a", "a")]], &[&[("a", "")]]),
    ("a in {}", &[], &[NONE, &[("a", "")], &[("a", "b")]]),
    ("a not in {\"'\", '\"', 'c'}", &[NONE, &[("a", "e")]], &[&[("a", "'")], &[("a", "\"")], &[("a", "c")]]),
    ("a not in {'a'}", &[NONE, &[("a", "b")], &[("b", "a")]], &[&[("a", "a")]]),
    ("a notin{'a'}", &[NONE, &[("a", "b")]], &[&[("a", "a")]]),
    ("a not \t in {}", &[NONE, &[("a", "")], &[("a", "b")]], &[]),
    // Tests whether a label exists.
    ("has(a)", &[&[("a", "b")], &[("a", "")]], &[NONE, &[("b", "a")], &[("A", "b")]]),
    ("has( a\t)", &[&[("a", "b")]], &[NONE]),
    ("has(a.b/c-d_e.F9)", &[&[("a.b/c-d_e.F9", "")]], &[NONE]),
    // Negation.
    ("!has(a)", &[NONE, &[("b", "b")]], &[&[("a", "b")], &[("a", "")]]),
    ("! has(a)", &[NONE], &[&[("a", "b")]]),
    ("!!has(a)", &[&[("a", "b")]], &[NONE, &[("b", "b")]]),
    ("!! !has(a)", &[NONE], &[&[("a", "b")]]),
    ("! ! ! ! has(a)", &[&[("a", "b")]], &[NONE]),
    ("!(!has(a))", &[&[("a", "b")]], &[NONE]),
    ("!(!(!has(a)))", &[NONE], &[&[("a", "b")]]),
    ("!a == 'b'", &[NONE, &[("a", "c")]], &[&[("a", "b")]]),
    ("!a != 'b'", &[&[("a", "b")]], &[NONE, &[("a", "c")]]),
    ("!a in {'b'}", &[NONE, &[("a", "c")]], &[&[("a", "b")]]),
    ("!a not in {'b'}", &[&[("a", "b")]], &[NONE, &[("a", "c")]]),
    ("!a contains 'b'", &[NONE, &[("a", "c")]], &[&[("a", "abc")]]),
    // `&&` and `||`, and their precedence.
    (
        "a == 'b' && c == 'd'",
        &[&[("a", "b"), ("c", "d")]],
        &[NONE, &[("a", "b"), ("c", "e")], &[("c", "d")], &[("a", "b")]],
    ),
    (
        "a == 'b' || c == 'd'",
        &[&[("a", "b"), ("c", "d")], &[("a", "b")], &[("c", "d")]],
        &[NONE, &[("a", "e"), ("c", "e")]],
    ),
    ("a != 'b' && c == 'd'", &[&[("c", "d")]], &[NONE, &[("a", "b"), ("c", "d")]]),
    ("!a == 'b' && c == 'd'", &[&[("c", "d")]], &[NONE, &[("a", "b"), ("c", "d")], &[("a", "b")]]),
    ("a != 'b' || c != 'd'", &[NONE, &[("a", "b")], &[("c", "d")]], &[&[("a", "b"), ("c", "d")]]),
    ("has(a)&&!has(b)", &[&[("a", "")]], &[NONE, &[("b", "")], &[("a", ""), ("b", "")]]),
    ("!(!has(a) || has(b))", &[&[("a", "")]], &[NONE, &[("b", "")], &[("a", ""), ("b", "")]]),
    (
        "has(a) || has(b) && has(c)",
        &[&[("a", "")], &[("b", ""), ("c", "")]],
        &[NONE, &[("b", "")], &[("c", "")]],
    ),
    (
        "has(a) && has(b) || has(c)",
        &[&[("c", "")], &[("a", ""), ("b", "")]],
        &[NONE, &[("a", "")], &[("b", "")]],
    ),
    ("(has(a) || has(b)) && has(c)", &[&[("a", ""), ("c", "")]], &[NONE, &[("a", "")], &[("c", "")]]),
    (
        "has(a) && has(b) && has(c)",
        &[&[("a", ""), ("b", ""), ("c", "")]],
        &[&[("a", ""), ("b", "")], &[("b", ""), ("c", "")]],
    ),
    ("((((has(a)))))", &[&[("a", "")]], &[NONE]),
    // A word is an operator only in the place of an operator.
    ("contains contains 'x'", &[&[("contains", "axb")]], &[&[("contains", "ab")]]),
    ("all == 'x'", &[&[("all", "x")]], &[NONE]),
    ("has == 'x' && global != 'x'", &[&[("has", "x")]], &[&[("has", "x"), ("global", "x")]]),
    ("in in {'x'}", &[&[("in", "x")]], &[NONE]),
    ("not not in {'x'}", &[NONE], &[&[("not", "x")]]),
    ("startswith starts with 's'", &[&[("startswith", "s")]], &[NONE]),
    ("has(has)", &[&[("has", "")]], &[NONE]),
    ("-/_. == '-'", &[&[("-/_.", "-")]], &[NONE]),
];

#[test]
fn expressions_match_their_labels_and_no_others() {
    for (text, matching, others) in TABLE {
        let given = Selector::parse(text).unwrap_or_else(|error| panic!("{}", error.render(text)));
        let printed = Selector::parse(given.canonical()).unwrap();
        for selector in [&given, &printed] {
            for set in *matching {
                assert!(selector.matches(*set), "{text:?} as {selector} must match {set:?}");
            }
            for set in *others {
                assert!(!selector.matches(*set), "{text:?} as {selector} must not match {set:?}");
            }
        }
    }
}

#[test]
fn every_kind_of_labels_answers_alike() {
    let selector = Selector::parse("rack == '1' && !has(spare)").unwrap();
    let pairs = [("rack", "1")];
    let owned = vec![("rack".to_owned(), "1".to_owned())];
    let map: BTreeMap<String, String> = owned.iter().cloned().collect();
    let borrowed: BTreeMap<&str, &str> = pairs.into();
    assert!(selector.matches(&pairs) && selector.matches(&pairs[..]) && selector.matches(&owned));
    assert!(selector.matches(&map) && selector.matches(&borrowed) && selector.matches(&Some(&map)));
    let dynamic: &dyn Labels = &map;
    assert!(selector.matches(dynamic));
    assert!(!selector.matches(&()) && !selector.matches(&None::<()>));
    assert!(Selector::parse("rack != '1'").unwrap().matches(&()));
}

#[test]
fn all_and_global_are_told_apart() {
    for (text, all, global) in [
        ("", true, false),
        ("((all()))", true, false),
        ("!!all()", true, false),
        ("all() && all()", false, false),
        ("!all()", false, false),
        ("global()", false, true),
        ("has(a) || !(has(b) && global())", false, true),
        ("a == 'global()'", false, false),
        ("global == 'x'", false, false),
    ] {
        let selector: Selector = text.parse().unwrap();
        assert_eq!((selector.is_all(), selector.has_global()), (all, global), "{text}");
    }
    assert_eq!(Selector::all(), Selector::parse("").unwrap());
    assert_eq!(Selector::default(), Selector::all());
}

/// As accepted for IP pools in the recorded 071-ippool-selectors.
#[test]
fn selectors_of_recorded_pools_are_accepted() {
    for text in [
        "all()",
        "!all()",
        "rack == \"1\"",
        "has(rack)",
        "!has(rack)",
        "a in {'x','y'}",
        "a not in {\"x\"}",
        "a starts with 'x' && b ends with 'y'",
        "(a == 'b' || c != 'd') && has(e)",
        "rack=='1'&&has(x)",
    ] {
        assert!(Selector::parse(text).is_ok(), "{text}");
    }
}
