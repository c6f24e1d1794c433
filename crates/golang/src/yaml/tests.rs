use serde_json::{Value, json};

use super::*;

fn reads(text: &str) -> Value {
    let value = read_strict(text.as_bytes()).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert_eq!(read(text.as_bytes()), Ok(value.clone()), "{text:?}");
    value
}

fn refuses(text: &[u8], expected: &str) {
    let error = read_strict(text).expect_err(&format!("{:?}", String::from_utf8_lossy(text)));
    assert_eq!(error.to_string(), format!("error converting YAML to JSON: {expected}"));
}

/// Recorded in 042-malformed, and in 135-config-file.
#[test]
fn words_recorded_errors_as_goyaml_does() {
    for (text, expected) in [
        (
            "apiVersion: projectcalico.org/v3\nkind: IPPool\n  metadata:\n name: x\n",
            "yaml: line 3: mapping values are not allowed in this context",
        ),
        ("kind: [\n", "yaml: line 1: did not find expected node content"),
        ("\tkind: x\n", "yaml: found character that cannot start any token"),
        ("{\"kind\": \"IPPool\"", "yaml: line 1: did not find expected ',' or '}'"),
        ("a: *nope\n", "yaml: unknown anchor 'nope' referenced"),
        ("\u{1}\n", "yaml: control characters are not allowed"),
        (
            "metadata:\n  name: p\nspec:\n  cidr: 10.0.0.0/16\n  cidr: 10.1.0.0/16\n",
            "yaml: unmarshal errors:\n  line 5: key \"cidr\" already set in map",
        ),
    ] {
        refuses(text.as_bytes(), expected);
    }
    // A comma after the last entry is fine, which JSON would not allow.
    assert_eq!(reads("{\"kind\": \"IPPool\",}"), json!({"kind": "IPPool"}));
}

/// The expected texts are what `sigs.k8s.io/yaml` 1.4 says.
#[test]
fn words_other_errors_as_goyaml_does() {
    for (text, expected) in [
        ("a: b: c\n", "yaml: mapping values are not allowed in this context"),
        ("a: 1\nb\n", "yaml: line 3: could not find expected ':'"),
        ("a:\n  - b\n c: d\n", "yaml: line 2: did not find expected key"),
        ("a: \"b\n", "yaml: line 2: found unexpected end of stream"),
        ("a: \"\\q\"\n", "yaml: found unknown escape character"),
        ("a: \"\\", "yaml: found unknown escape character"),
        ("a: @b\n", "yaml: found character that cannot start any token"),
        ("a:\n\t b: c\n", "yaml: line 2: found character that cannot start any token"),
        ("[a, b\nc: d\n", "yaml: line 1: did not find expected ',' or ']'"),
        ("- a\nb: c\n", "yaml: line 1: did not find expected '-' indicator"),
        ("a: - b\n", "yaml: block sequence entries are not allowed in this context"),
        ("a: &\n", "yaml: did not find expected alphabetic or numeric character"),
        ("a: |0\n b\n", "yaml: found an indentation indicator equal to 0"),
        ("%YAML 1.2\n--- a\n", "yaml: found incompatible YAML document"),
        ("a: !x!y z\n", "yaml: found undefined tag handle"),
        ("a: !!int x\n", "yaml: cannot decode !!str `x` as a !!int"),
        ("a: &a [*a]\n", "yaml: anchor 'a' value contains itself"),
        (
            "a: {{ pool }}\n",
            "yaml: invalid map key: map[interface {}]interface {}{\"pool\":interface {}(nil)}",
        ),
        ("? [a, 1]\n: b\n", "yaml: invalid map key: []interface {}{\"a\", 1}"),
        ("~: b\n", "unsupported map key of type: %!s(<nil>), key: <nil>, value: \"b\""),
        ("a: .inf\n", "json: unsupported value: +Inf"),
        ("<<: a\n", "yaml: map merge requires map or sequence of maps as the value"),
        (
            "a: 1\nb: {c: 2, c: 3}\na: 4\n1: x\n1: y\n",
            "yaml: unmarshal errors:\n  line 2: key \"c\" already set in map\n  line 3: key \"a\" already set in map\n  line 5: key 1 \
             already set in map",
        ),
    ] {
        refuses(text.as_bytes(), expected);
    }
    refuses(b"a: \xff\n", "yaml: invalid leading UTF-8 octet");
    refuses(b"a: \xc3(\n", "yaml: invalid trailing UTF-8 octet");
    refuses(b"a: \xe0\x80\x80\n", "yaml: invalid length of a UTF-8 sequence");
    refuses(b"a: \xc3", "yaml: incomplete UTF-8 octet sequence");
}

#[test]
fn a_fault_far_behind_a_syntax_error_is_not_what_is_reported() {
    let text = [b"a: @b\n".as_slice(), &[b'#'; 600], b"\x01"].concat();
    refuses(&text, "yaml: found character that cannot start any token");
    let text = [b"a: @b\n".as_slice(), &[b'#'; 100], b"\x01"].concat();
    refuses(&text, "yaml: control characters are not allowed");
}

#[test]
fn the_later_of_two_keys_wins_where_it_may() {
    let text = b"kind: IPPool\nspec:\n  a: 1\n  a: 2\nkind: Node\n";
    assert_eq!(read(text), Ok(json!({"kind": "Node", "spec": {"a": 2}})));
    assert!(matches!(read_strict(text), Err(YamlError::Duplicates(clashes)) if clashes.len() == 2));
}

#[test]
fn resolves_plain_scalars_under_yaml_1_1() {
    for (text, expected) in [
        ("y", json!(true)),
        ("Yes", json!(true)),
        ("on", json!(true)),
        ("n", json!(false)),
        ("OFF", json!(false)),
        ("yeS", json!("yeS")),
        ("~", json!(null)),
        ("Null", json!(null)),
        ("", json!(null)),
        ("# nothing", json!(null)),
        ("7", json!(7)),
        ("-7", json!(-7)),
        ("+7", json!(7)),
        ("010", json!(8)),
        ("0o17", json!(15)),
        ("08", json!(8.0)),
        ("0x1F", json!(31)),
        ("0b101", json!(5)),
        ("0b-1", json!(-1)),
        ("1_000", json!(1000)),
        ("18446744073709551615", json!(u64::MAX)),
        ("99999999999999999999", json!(1e20)),
        ("26.5", json!(26.5)),
        (".5", json!(0.5)),
        (".51_000", json!(0.51)),
        ("._5", json!("._5")),
        ("1.", json!(1.0)),
        ("1e3", json!(1000.0)),
        ("1e999", json!("1e999")),
        ("0x", json!("0x")),
        ("1.2.3", json!("1.2.3")),
        ("10.0.0.0/16", json!("10.0.0.0/16")),
        ("fd00::/8", json!("fd00::/8")),
        ("1:30", json!("1:30")),
        ("2026-01-02", json!("2026-01-02")),
        ("2026-01-02T03:04:05Z", json!("2026-01-02T03:04:05Z")),
        ("rack == \"0\"", json!("rack == \"0\"")),
        ("'y'", json!("y")),
        ("\"7\"", json!("7")),
        ("!!str 7", json!("7")),
        ("!!float 7", json!(7.0)),
        ("!mine 7", json!("7")),
        ("!!binary aGk=", json!("hi")),
        ("!!binary aGl=", json!("hi")),
    ] {
        assert_eq!(reads(text), expected, "{text:?}");
    }
}

#[test]
fn reads_collections_and_block_scalars() {
    for (text, expected) in [
        ("b: 1\na: [x, {p: z}]\n", json!({"a": ["x", {"p": "z"}], "b": 1})),
        ("y: z\n", json!({"true": "z"})),
        ("a:\n- x\n- - z\n", json!({"a": ["x", ["z"]]})),
        ("a: |\n  one\n   two\n", json!({"a": "one\n two\n"})),
        ("a: >-\n  one\n  two\n\n  three\n", json!({"a": "one two\nthree"})),
        ("a: |\n  no newline", json!({"a": "no newline"})),
        ("a: one\n  two\n", json!({"a": "one two"})),
        ("{a, b: c}", json!({"a": null, "b": "c"})),
        ("[a: b, ? c]", json!([{"a": "b"}, {"c": null}])),
        ("1: a\ntrue: b\n1.5: c\n", json!({"1": "a", "1.5": "c", "true": "b"})),
        (
            "a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  r: 3\n",
            json!({"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 2, "r": 3}}),
        ),
        ("---\na: 1\n...\nb: [\n", json!({"a": 1})),
        ("\u{feff}a: 1\r\nb: 2\r\n", json!({"a": 1, "b": 2})),
    ] {
        let value = reads(text);
        assert_eq!(value, expected, "{text:?}");
        assert_eq!(value.to_string(), expected.to_string(), "order of keys in {text:?}");
    }
}

/// Unlike goyaml.v2, which refuses `p` and `c`, and lets the merge win in `d`.
#[test]
fn a_maps_own_keys_win_over_merged_ones() {
    for map in ["{<<: *x, p: 2}", "{p: 2, <<: *x}", "{p: 2, <<: [*x, *y]}"] {
        let text = format!("a: &x {{p: 1}}\nb: &y {{p: 3}}\nc: {map}\n");
        for read in [read, read_strict] {
            assert_eq!(read(text.as_bytes()).map(|value| value["c"].clone()), Ok(json!({"p": 2})), "{map}");
        }
    }
    let list = b"a: &x {p: 1}\nb: &y {p: 2}\nc:\n  <<: [*x, *y]\n";
    assert_eq!(read_strict(list).map(|value| value["c"].clone()), Ok(json!({"p": 1})));
    let own = b"a: &x {p: 1}\nb:\n  <<: *x\n  p: 2\n  p: 3\n";
    refuses(own, "yaml: unmarshal errors:\n  line 5: key \"p\" already set in map");
    let twice = b"a: &x {p: 1}\nb:\n  <<: *x\n  <<: {p: 2}\n";
    refuses(twice, "yaml: unmarshal errors:\n  line 4: key \"p\" already set in map");
}

#[test]
fn plain_scalars_that_are_no_text_are_told() {
    let text =
        b"a: 010\nb: [x, yes, '1', {c: 1.10}]\nd: &n 7\ne: *n\nf: ~\ng: !has(rack)\nh: !x y\ni: !!str 1\n";
    let told = read_strict_noting(text).unwrap().1;
    let told: Vec<_> = told.iter().map(|one| (one.path.join("."), &*one.text, one.line)).collect();
    let wanted = [
        ("a", "010", 1),
        ("b.1", "yes", 2),
        ("b.3.c", "1.10", 2),
        ("d", "7", 3),
        ("e", "7", 3),
        ("g", "!has(rack)", 6),
        ("h", "!x y", 7),
    ];
    assert_eq!(told, wanted.map(|(path, text, line)| (path.to_string(), text, line)));
}

/// The paths of many scalars share their long keys, and do not grow with depth times number.
#[test]
fn telling_of_scalars_takes_little_memory() {
    let below = |keys: usize| format!("{}{}{}", "[".repeat(keys), "1, ".repeat(9000), "]".repeat(keys));
    let key = "k".repeat(900);
    let (_, told) = read_strict_noting(format!("{key}: {}", below(1)).as_bytes()).unwrap();
    assert_eq!(told.len(), 9000);
    assert!(told.iter().all(|one| Arc::ptr_eq(&one.path[0], &told[0].path[0])));
    let (_, told) = read_strict_noting(below(MAX_DEPTH).as_bytes()).unwrap();
    assert!((950..=1050).contains(&told.len()), "{}", told.len());
}

#[test]
fn reads_utf_16() {
    let text: Vec<u8> =
        [0xFEFF].into_iter().chain("a: é\n".encode_utf16()).flat_map(u16::to_be_bytes).collect();
    assert_eq!(read(&text), Ok(json!({"a": "é"})));
}

/// goyaml reads 512 bytes at a time, and meets a fault with the portion that holds it.
#[test]
fn faults_of_utf_16_are_met_as_in_goyaml() {
    let encoded = |text: &str| -> Vec<u8> {
        [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect()
    };
    let text = [encoded("a: x"), vec![0xD8]].concat();
    refuses(&text, "yaml: incomplete UTF-16 character");
    refuses(&[text, vec![0x3D]].concat(), "yaml: incomplete UTF-16 surrogate pair");
    refuses(
        &encoded(&format!("a: @{}\u{1}", "#".repeat(300))),
        "yaml: found character that cannot start any token",
    );
    refuses(&encoded(&format!("a: @{}\u{1}", "#".repeat(200))), "yaml: control characters are not allowed");
}

/// Which byte order mark is skipped, goyaml decides by the begin of its buffer: as long as a second mark
/// stands there, it skips the first character of each line, whatever that is. We refuse what would lose one.
#[test]
fn a_second_byte_order_mark_costs_no_characters() {
    assert_eq!(reads("\u{feff}\u{feff}a: 1\n"), json!({"a": 1}));
    refuses(
        "\u{feff}\u{feff}a: 1\nbc: 2\n".as_bytes(),
        "yaml: line 2: found a second byte order mark earlier, remove it",
    );
    assert_eq!(reads("a: 1\n\u{feff}b: 2\n"), json!({"a": 1, "\u{feff}b": 2}));
}

#[test]
fn bounds_what_hostile_text_can_do() {
    let laughs = (0..12).fold("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, level| {
        let items = vec![format!("*a{level}"); 10].join(",");
        let next = level + 1;
        format!("{text}a{next}: &a{next} [{items}]\n")
    });
    refuses(laughs.as_bytes(), "yaml: document contains excessive aliasing");

    let deep = "[".repeat(100_000);
    refuses(deep.as_bytes(), "yaml: line 1: exceeded max depth of 100");
    let deep: String = (0..500).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    refuses(deep.as_bytes(), "yaml: line 101: exceeded max depth of 100");
    let dashes = "- ".repeat(5000);
    refuses(dashes.as_bytes(), "yaml: line 1: exceeded max depth of 100");

    let chain = (0..50).fold("a0: &a0 x\n".to_owned(), |text, level| {
        let next = level + 1;
        format!("{text}a{next}: &a{next} {}*a{level}{}\n", "[".repeat(50), "]".repeat(50))
    });
    refuses(chain.as_bytes(), "yaml: exceeded max depth of 100");

    let fine = format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    assert!(read(fine.as_bytes()).is_ok());
}

#[test]
fn scalars_become_strings_as_in_go() {
    // Recorded in 041-wrong-types and 073-names-and-labels: `name: 7`, `nodeSelector: true`, a label's `y`.
    for (text, expected) in [
        ("7", Some("7")),
        ("true", Some("true")),
        ("y", Some("true")),
        ("010", Some("8")),
        ("1.10", Some("1.1")),
        ("1e3", Some("1000")),
        ("1234567.0", Some("1.234567e+06")),
        ("0.1", Some("0.1")),
        ("x", Some("x")),
        ("~", None),
        ("[]", None),
        ("{}", None),
    ] {
        assert_eq!(string_text(&reads(text)).as_deref(), expected, "{text:?}");
    }
}

#[test]
fn json_is_read_the_same_way() {
    let text = r#"{"kind": "IPPool", "spec": {"natOutgoing": true, "blockSize": 26, "nodeSelector": "a == \"\u00e9\""}}"#;
    assert_eq!(reads(text), serde_json::from_str::<Value>(text).unwrap());
}

/// goyaml counts the nodes that aliases repeat, not the bytes.
#[test]
fn a_long_text_is_not_repeated_without_end() {
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(1000));
    let error = read(text.as_bytes()).unwrap_err().to_string();
    assert!(error.ends_with("document contains excessive aliasing"), "{error}");
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), "*a, ".repeat(50));
    assert_eq!(read(text.as_bytes()).unwrap()["b"][49].as_str().map(str::len), Some(100_000));
}

#[test]
fn faults_can_be_told_without_a_word_of_the_text() {
    for (text, line) in [
        ("a: 1\npassword: *SECRET\n", "line 2"),
        ("a: 1\npassword: !!int SECRET\n", "line 2"),
        ("a: 1\n? [SECRET]\n: 1\n", "line 2"),
        ("SECRET: 1\nSECRET: 2\n", "line 2"),
        ("a: &SECRET [*SECRET]\n", "line 1"),
        ("null: SECRET\n", ""),
        ("a: 1\npassword: \"SECRET\n", "line"),
        ("a: 1\npassword: 'SECRET' SECRET\n", "line"),
        ("a: 1\n\tSECRET: 2\n", "line"),
        ("a: 1\npassword: SECRET: x\n", "line"),
        ("a: 1\n  SECRET\nb: {SECRET\n", "line"),
        ("%SECRET\n", ""),
        ("a: !SECRET!x y\n", ""),
        ("a: @SECRET\n", ""),
    ] {
        let Err(error) = read_strict(text.as_bytes()) else { continue };
        let told = error.without_content();
        assert!(!told.contains("SECRET") && told.contains(line), "{text:?}: {told}");
    }
}
