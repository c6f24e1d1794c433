use serde_json::{Value, json};

use super::table::Align;
use super::*;

/// Recorded in 138-output-errors.
#[test]
fn reads_the_output_option() {
    for (text, expected) in [
        ("ps", Ok(Format::Ps)),
        ("wide", Ok(Format::Wide)),
        ("yaml", Ok(Format::Yaml)),
        ("json", Ok(Format::Json)),
        (
            "custom-columns=NAME,,CIDR",
            Ok(Format::CustomColumns(["NAME", "", "CIDR"].map(str::to_owned).to_vec())),
        ),
        ("go-template={{a=b}}", Ok(Format::GoTemplate("{{a=b}}".to_owned()))),
        ("go-template-file=names.tmpl", Ok(Format::GoTemplateFile("names.tmpl".to_owned()))),
        ("nonsense", Err("unrecognized output format 'nonsense'")),
        ("YAML", Err("unrecognized output format 'YAML'")),
        ("yaml=x", Err("unrecognized output format 'yaml=x'")),
        ("", Err("unrecognized output format ''")),
        ("custom-columns", Err("need to specify at least one column")),
        ("custom-columns=", Err("need to specify at least one column")),
        ("go-template", Err("need to specify a template")),
        ("go-template=", Err("need to specify a template")),
        ("go-template-file", Err("need to specify a template file")),
        ("go-template-file=", Err("need to specify a template file")),
    ] {
        let parsed = Format::parse(text);
        assert_eq!(
            parsed.as_ref().map_err(ToString::to_string),
            expected.as_ref().map_err(ToString::to_string),
            "{text}"
        );
    }
    let unknown =
        FormatError::UnknownHeading { heading: "x".to_owned(), valid: vec!["A".to_owned(), "B".to_owned()] };
    assert_eq!(unknown.to_string(), "unknown heading x, valid values are: A, B");
}

/// Recorded in 080-ipreservation.
#[test]
fn joins_and_truncates() {
    let cidrs: Vec<String> = (0..30).map(|at| format!("10.1.{at}.0/24")).collect();
    assert_eq!(
        join_and_truncate(&cidrs, ",", Some(80)),
        "10.1.0.0/24,10.1.1.0/24,10.1.2.0/24,10.1.3.0/24,10.1.4.0/24,10.1.5.0/24,10.1...."
    );
    assert_eq!(join_and_truncate(&["10.0.0.1/32", "fd00::/120"], ",", Some(80)), "10.0.0.1/32,fd00::/120");
    assert_eq!(join_and_truncate::<&str>(&[], ",", None), "");
    assert_eq!(join_and_truncate(&["ééé"], ",", Some(4)), "...");
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|&cell| cell.to_owned()).collect()
}

/// Recorded in 001-guide-default-pool, 004-guide-get-formats and 083-workloadendpoint.
#[test]
fn lays_out_columns() {
    assert_eq!(tabwriter::table(&["NAME", "CIDR", "SELECTOR"], &[]), "NAME   CIDR   SELECTOR   \n");
    let rows = [
        row(&["rack-0-ippool", "192.168.0.0/18", "rack == \"0\""]),
        row(&["rack-2-ippool", "192.168.128.0/18", "rack == \"2\""]),
    ];
    assert_eq!(
        tabwriter::table(&["NAME", "CIDR", "SELECTOR"], &rows),
        "NAME            CIDR               SELECTOR      \n\
         rack-0-ippool   192.168.0.0/18     rack == \"0\"   \n\
         rack-2-ippool   192.168.128.0/18   rack == \"2\"   \n"
    );
    assert_eq!(
        tabwriter::table(&["NAME", "CLUSTERTYPE", "DATASTOREREADY"], &[row(&["default", "", "true"])]),
        "NAME      CLUSTERTYPE   DATASTOREREADY   \ndefault                 true             \n"
    );
    assert_eq!(tabwriter::table(&["A"], &[row(&["é"])]), "A    \né    \n");
    // A line break in a cell cuts the row.
    assert_eq!(
        tabwriter::table(&["NAME", "SELECTOR"], &[row(&["a", "all()\n"])]),
        "NAME   SELECTOR   \na      all()\n       \n"
    );
}

/// Recorded in 100-ipam-show-empty, 101-ipam-show-racks and 106-ipam-configure.
#[test]
fn draws_boxed_tables() {
    let columns = [
        ("GROUPING", Align::Left),
        ("CIDR", Align::Left),
        ("IPS TOTAL", Align::Right),
        ("IPS IN USE", Align::Right),
        ("IPS RESERVED", Align::Right),
        ("IPS FREE", Align::Right),
    ];
    assert_eq!(
        table::boxed_table(&columns, &[]),
        "+----------+------+-----------+------------+--------------+----------+\n\
         | GROUPING | CIDR | IPS TOTAL | IPS IN USE | IPS RESERVED | IPS FREE |\n\
         +----------+------+-----------+------------+--------------+----------+\n\
         +----------+------+-----------+------------+--------------+----------+\n"
    );
    let usage = |kind: &str, cidr: &str, total: u128, used: u128| {
        let share = |part| number::count_and_share(part, total);
        vec![
            kind.to_owned(),
            cidr.to_owned(),
            number::count(total),
            share(used),
            share(0),
            share(total - used),
        ]
    };
    let rows = [
        usage("IP Pool", "192.168.0.0/18", 16384, 2),
        usage("Block", "192.168.44.64/26", 64, 1),
        usage("IP Pool", "10.4.0.0/14", 1 << 18, 0),
    ];
    assert_eq!(
        table::boxed_table(&columns, &rows),
        "+----------+------------------+------------+------------+--------------+-------------------+\n\
         | GROUPING | CIDR             | IPS TOTAL  | IPS IN USE | IPS RESERVED | IPS FREE          |\n\
         +----------+------------------+------------+------------+--------------+-------------------+\n\
         | IP Pool  | 192.168.0.0/18   |      16384 |     2 (0%) |       0 (0%) |      16382 (100%) |\n\
         | Block    | 192.168.44.64/26 |         64 |     1 (2%) |       0 (0%) |          63 (98%) |\n\
         | IP Pool  | 10.4.0.0/14      | 2.6214e+05 |     0 (0%) |       0 (0%) | 2.6214e+05 (100%) |\n\
         +----------+------------------+------------+------------+--------------+-------------------+\n"
    );
    let columns = [("Property", Align::Left), ("Value", Align::Left)];
    assert_eq!(
        table::boxed_table(&columns, &[row(&["MaxBlocksPerHost", "0"])]),
        "+------------------+-------+\n\
         | PROPERTY         | VALUE |\n\
         +------------------+-------+\n\
         | MaxBlocksPerHost | 0     |\n\
         +------------------+-------+\n"
    );
}

#[test]
fn prints_numbers_as_go_does() {
    for (value, expected) in [
        (0, "0"),
        (65536, "65536"),
        (99999, "99999"),
        (100_000, "1e+05"),
        (131_072, "1.3107e+05"),
        (262_144, "2.6214e+05"),
        (i64::MAX as u128, "9.2234e+18"),
        (1 << 64, "1.8447e+19"),
        (u128::MAX, "3.4028e+38"),
    ] {
        assert_eq!(number::count(value), expected);
    }
    for (part, whole, expected) in [
        (4, 256, "4 (2%)"),
        (128, 256, "128 (50%)"),
        (0, 8, "0 (0%)"),
        // Halves go to the even neighbour.
        (1, 8, "1 (12%)"),
        (3, 8, "3 (38%)"),
        (1, 200, "1 (0%)"),
        (3, 200, "3 (2%)"),
        (i64::MAX as u128, i64::MAX as u128, "9.2234e+18 (100%)"),
    ] {
        assert_eq!(number::count_and_share(part, whole), expected);
    }
    for (value, expected) in
        [(1e5, "100000"), (1e6, "1e+06"), (0.0001, "0.0001"), (0.00001, "1e-05"), (1.5, "1.5"), (-0.0, "-0")]
    {
        assert_eq!(number::general(value), expected);
    }
    assert_eq!(number::general_32(123_456_789.0), "1.2345679e+08");
    for (value, expected) in [
        (json!(26.0), "26"),
        (json!(26.5), "26.5"),
        (json!(1e21), "1e+21"),
        (json!(1e20), "100000000000000000000"),
        (json!(1e-7), "1e-7"),
        (json!(u64::MAX), "18446744073709551615"),
    ] {
        let Value::Number(number) = value else { panic!("not a number") };
        assert_eq!(number::json_number(&number), expected);
    }
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
        json::to_text(&pool, 2),
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
        json::to_text(&json!(["<a>\u{2028}\u{1}\n\t"]), 4),
        "[\n    \"\\u003ca\\u003e\\u2028\\u0001\\n\\t\"\n]"
    );
    assert_eq!(json::to_text(&json!(null), 2), "null");
}

/// Recorded in 004-guide-get-formats and 041-wrong-types; the strings are what goyaml makes of them.
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

#[test]
fn an_order_that_goes_round_in_a_circle_is_no_obstacle() {
    let keys = ["010", "0o7", "10.0", "9", "09", "0.1", "1o", "00", "0a", "1_0"];
    let object: serde_json::Map<_, _> = keys
        .iter()
        .flat_map(|first| keys.iter().map(move |second| (format!("{first}{second}"), json!(1))))
        .collect();
    let value = Value::Object(object);
    assert_eq!(crate::input::yaml::read_strict(yaml::to_text(&value).as_bytes()).as_ref(), Ok(&value));
}

mod properties {
    use proptest::prelude::*;

    use super::*;
    use crate::input;

    /// Text that is hard to write as YAML. goyaml does not quote `<<`, so it cannot read back what it has
    /// written; neither can this program.
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
            prop_assert_eq!(input::yaml::read_strict(text.as_bytes()), Ok(value), "{}", text);
        }

        #[test]
        fn reads_back_the_json_it_writes(value in value(), indent in 0usize..5) {
            let text = json::to_text(&value, indent);
            prop_assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(value.clone()));
            prop_assert_eq!(input::yaml::read_strict(text.as_bytes()), Ok(value), "{}", text);
        }

        #[test]
        fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = input::yaml::read_strict(&text);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[ \\n\\t:,?\\-\\[\\]{}#&*!|>'\"%@`ab01.~\\\\<é]{0,60}") {
            let _ = input::yaml::read_strict(text.as_bytes());
        }
    }
}

/// A character that a terminal obeys is not written as it is, and the written text means the same.
#[test]
fn what_turns_the_direction_is_quoted_in_yaml() {
    use std::io::Write;
    for text in ["a\u{202e}b", "\u{2066}a\\b\"\nc", "\u{200f}", "a: \u{61c}"] {
        let value = json!({"name": text});
        for output in [yaml::to_text(&value), json::to_text(&value, 2)] {
            let mut shown = Vec::new();
            let mut terminal = crate::terminal::Terminal::new(&mut shown);
            terminal.write_all(output.as_bytes()).unwrap();
            terminal.flush().unwrap();
            let shown = String::from_utf8(shown).unwrap();
            assert!(shown.is_ascii(), "{shown}");
            let read = crate::input::yaml::read(shown.as_bytes()).unwrap();
            assert_eq!(read, value, "{shown}");
        }
    }
}
