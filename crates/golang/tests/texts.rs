//! Texts that are written and read back.

// Everything here is test code.
#![allow(clippy::unwrap_used)]

use golang::{json, yaml};
use serde_json::{Value, json};

/// The expected texts were recorded in 004-guide-get-formats and 041-wrong-types; those for strings are what
/// goyaml writes.
#[test]
fn writes_yaml_as_go_does() {
    let list = json!({
        "kind": "IPPoolList",
        "apiVersion": "projectcalico.org/v3",
        "metadata": {"resourceVersion": "7"},
        "items": [{
            "kind": "IPPool",
            "metadata": {"name": "7", "creationTimestamp": "2026-08-01T10:00:03Z"},
            "spec": {"cidr": "10.0.0.0/16", "nodeSelector": "rack == \"0\"", "allowedUses": ["Workload", "Tunnel"], "blockSize": 26},
        }],
    });
    assert_eq!(
        yaml::to_text(&list),
        r#"apiVersion: projectcalico.org/v3
items:
- kind: IPPool
  metadata:
    creationTimestamp: "2026-08-01T10:00:03Z"
    name: "7"
  spec:
    allowedUses:
    - Workload
    - Tunnel
    blockSize: 26
    cidr: 10.0.0.0/16
    nodeSelector: rack == "0"
kind: IPPoolList
metadata:
  resourceVersion: "7"
"#
    );
    assert_eq!(yaml::to_text(&json!({"items": [], "spec": {}})), "items: []\nspec: {}\n");
    assert_eq!(yaml::to_text(&json!(null)), "null\n");
    for (text, expected) in [
        ("", "\"\""),
        ("true", "\"true\""),
        ("y", "\"y\""),
        ("~", "\"~\""),
        ("1.5", "\"1.5\""),
        ("0x1f", "\"0x1f\""),
        ("2026-01-02", "\"2026-01-02\""),
        ("1:30", "\"1:30\""),
        ("<<", "<<"),
        ("all()", "all()"),
        ("!has(x)", "'!has(x)'"),
        ("has(x) && !has(y)", "has(x) && !has(y)"),
        ("fd00::/8", "fd00::/8"),
        ("a: b", "'a: b'"),
        ("a ", "'a '"),
        ("- a", "'- a'"),
        ("it's", "it's"),
        ("'", "''''"),
        ("a\tb", "\"a\\tb\""),
        ("\u{1}", "\"\\x01\""),
        ("é", "é"),
        ("one\ntwo\n", "|\n  one\n  two"),
        ("one\ntwo", "|-\n  one\n  two"),
        (" one\n", "|2\n   one"),
    ] {
        assert_eq!(yaml::to_text(&json!({"k": text})), format!("k: {expected}\n"), "{text:?}");
    }
    let long = "word ".repeat(20);
    assert_eq!(
        yaml::to_text(&json!({"k": long.trim_end()})),
        format!("k: {}\n  {}\n", "word ".repeat(16).trim_end(), "word ".repeat(4).trim_end())
    );
}

#[test]
fn sorts_keys_naturally() {
    let keys = ["node-10", "node-2", "a.b", "a-b", "a", "B", "x1y", "x01", "x1", "_"];
    let object: Value =
        keys.iter().map(|&key| (key.to_owned(), json!(1))).collect::<serde_json::Map<_, _>>().into();
    let text = yaml::to_text(&object);
    let order: Vec<&str> = text.lines().filter_map(|line| line.strip_suffix(": 1")).collect();
    assert_eq!(order, ["_", "B", "a", "a-b", "a.b", "node-2", "node-10", "x1", "x1y", "x01"]);
}

/// A sort that compares each key with each would take minutes.
#[test]
fn many_keys_are_sorted_in_good_time() {
    let keys = || (0..20_000).map(|number| format!("node-{number}"));
    let object: serde_json::Map<_, _> = keys().map(|key| (key, json!(1))).collect();
    let text = yaml::to_text(&object.into());
    let order = text.lines().filter_map(|line| line.strip_suffix(": 1"));
    assert!(order.eq(keys()));
}

#[test]
fn an_order_that_goes_round_in_a_circle_is_no_obstacle() {
    let keys = ["010", "0o7", "10.0", "9", "09", "0.1", "1o", "00", "0a", "1_0"];
    let object: serde_json::Map<_, _> = keys
        .iter()
        .flat_map(|first| keys.iter().map(move |second| (format!("{first}{second}"), json!(1))))
        .collect();
    let value = Value::Object(object);
    assert_eq!(golang::yaml::read_strict(yaml::to_text(&value).as_bytes()).as_ref(), Ok(&value));
}

/// Recorded in 004-guide-get-formats.
#[test]
fn writes_json_as_go_does() {
    let pool = json!({
        "kind": "IPPool",
        "spec": {"natOutgoing": true, "blockSize": 26, "nodeSelector": "a == \"0\" && b", "allowedUses": ["Workload", "Tunnel"]},
        "empty": {"list": [], "object": {}},
        "none": null,
    });
    assert_eq!(
        json::to_indented_text(&pool, 2),
        r#"{
  "kind": "IPPool",
  "spec": {
    "natOutgoing": true,
    "blockSize": 26,
    "nodeSelector": "a == \"0\" \u0026\u0026 b",
    "allowedUses": [
      "Workload",
      "Tunnel"
    ]
  },
  "empty": {
    "list": [],
    "object": {}
  },
  "none": null
}"#
    );
    assert_eq!(
        json::to_indented_text(&json!(["<a>\u{2028}\u{1}\n\t"]), 4),
        "[\n    \"\\u003ca\\u003e\\u2028\\u0001\\n\\t\"\n]"
    );
    assert_eq!(json::to_indented_text(&json!(null), 2), "null");
}

/// The expected texts are what `sigs.k8s.io/yaml` 1.6 writes.
#[test]
fn odd_characters_are_written_as_in_go() {
    for (text, expected) in [
        ("\u{7f}", "\"\\x7F\"\n"),
        ("a\u{85}b", "\"a\\Nb\"\n"),
        ("\u{9f}", "\"\\x9F\"\n"),
        ("x\u{feff}", "\"x\\uFEFF\"\n"),
        ("\u{feff}x y", "\"\\uFEFF\\x78\\x20\\x79\"\n"),
        ("a\u{2028}", "'a\u{2028}'\n"),
        ("a\u{2029}b", "'a\u{2029}  b'\n"),
        ("a\u{2028} b", "\"a\\L b\"\n"),
        ("a\n\u{2029}", "|+\n  a\n\u{2029}"),
        ("a\n\u{2028}b\n", "|\n  a\n\u{2028}  b\n"),
        ("é\u{fffd}", "é\u{fffd}\n"),
        ("b\u{10ffff}", "\"b\\U0010FFFF\"\n"),
    ] {
        let value = json!({"k": text});
        let written = yaml::to_text(&value);
        assert_eq!(written, format!("k: {expected}"), "{text:?}");
        assert_eq!(yaml::read_strict(written.as_bytes()), Ok(value), "{text:?}");
    }
    // A line is folded where its escapes are too long for it, not where its characters are too many.
    let (short, long) = ("\u{1f600} ".repeat(9), "\\U0001F600 ".repeat(8));
    let expected = format!("k: \"{}\n  \\U0001F600 x\"\n", long.trim_end());
    assert_eq!(yaml::to_text(&json!({"k": short + "x"})), expected);
    assert_eq!(yaml::to_text(&json!([-0.0, 2.0])), "- 0\n- 2\n");
}

mod properties {
    use golang::flag::{Asked, Flags};
    use proptest::prelude::*;

    use super::*;

    /// A text that a writer of YAML may get wrong. goyaml does not quote `<<`, and so cannot read back what
    /// it wrote; nor can this crate.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z0-9 :#'\"\\n\\t&*!|>%@`{}\\[\\],?.~_=+-]{0,12}",
            "(true|no|y|null|1|0x1|1e3|2026-01-02|1:30|---|- a|\\.inf)",
            "\\PC{0,8}",
            "(word ){15,25}",
        ]
        .prop_filter("a merge", |text| text != "<<")
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9f64).prop_map(|float| Value::from(float.trunc() + 0.5)),
            text().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(text(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_back_the_yaml_it_writes(value in value()) {
            let text = yaml::to_text(&value);
            prop_assert_eq!(yaml::read_strict(text.as_bytes()), Ok(value), "{}", text);
        }

        #[test]
        fn reads_back_the_json_it_writes(value in value(), indent in 0usize..5) {
            let text = json::to_indented_text(&value, indent);
            prop_assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value.clone()));
            prop_assert_eq!(yaml::read_strict(text.as_bytes()), Ok(value), "{}", text);
        }

        #[test]
        fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = yaml::read_strict(&text);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ \\n\\t:,?\\-\\[\\]{}#&*!|>'\"%@`ab01.~\\\\<é]{0,60}") {
            let _ = yaml::read_strict(text.as_bytes());
        }

        #[test]
        fn the_scanner_takes_what_a_parser_takes(text in "[\\[\\]{}:,\"\\\\a0-9.eE+\\-tfn \\n]{0,12}|\\PC{0,8}") {
            let checked = json::scanner::check(text.as_bytes());
            if serde_json::from_str::<Value>(&text).is_ok() {
                prop_assert_eq!(checked, Ok(()));
            }
        }

        #[test]
        fn flags_that_are_set_are_read_again(args in proptest::collection::vec("-{0,3}(v|upgrade|h|x|é)?(=(true|0|x|\\PC)?)?|\\PC{0,3}", 0..5)) {
            const FLAGS: Flags = Flags { program: "p", known: &[("upgrade", "Upgrade"), ("v", "Version")] };
            if let Asked::Flags(set) = FLAGS.parse(&args) {
                let again: Vec<String> = set.iter().map(|name| format!("-{name}")).collect();
                prop_assert_eq!(FLAGS.parse(&again), Asked::Flags(set));
            }
        }
    }
}
