//! Compares each function with Go's own, on random inputs. Where Go is not installed, the test prints so and
//! does nothing.

// Everything here is test code. The environment tells where Go is.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

#[path = "go/drawn.rs"]
mod drawn;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use drawn::{any_char, any_float, odd_value, value};
use fastrand::Rng;
use golang::flag::{Asked, Flags};
use golang::{duration, json, netip, number, rand, strconv, tabwriter, unicode, yaml};
use serde_json::{Value, json};

/// How many random inputs of each kind are compared.
const COUNT: u64 = 3000;

/// The Go program that gives Go's answers, in a folder that exists as long as this value; and whether it
/// contains goyaml.
struct Go {
    folder: tempfile::TempDir,
    has_yaml: bool,
}

impl Go {
    /// Builds the Go program; `None` where Go is not installed.
    fn build() -> Option<Go> {
        let folder = tempfile::tempdir().unwrap();
        let go = ["go", "/usr/local/go/bin/go"].into_iter().find(|go| {
            Command::new(go)
                .arg("version")
                .stdout(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        });
        let Some(go) = go else {
            println!("skipped: Go is not installed");
            return None;
        };
        let build = |tags: &str| {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go");
            let built = Command::new(go)
                .args(["build", "-mod=mod", "-tags", tags, "-o"])
                .arg(folder.path().join("ways"))
                .arg(".")
                .current_dir(source)
                // Nothing is downloaded: the Go modules are on the machine, or they are not used.
                .envs([("GOPROXY", "off"), ("GOFLAGS", ""), ("GOTOOLCHAIN", "local"), ("GOWORK", "off")])
                .output()
                .unwrap();
            built.status.success().then_some(()).ok_or(String::from_utf8_lossy(&built.stderr).into_owned())
        };
        let has_yaml = match build("yaml") {
            Ok(()) => true,
            Err(why) => {
                build("").unwrap();
                println!("skipped: YAML: {why}");
                false
            }
        };
        Some(Go { folder, has_yaml })
    }

    /// Go's answer to each question.
    fn ask(&self, questions: &[Vec<String>]) -> Vec<String> {
        let mut program = Command::new(self.folder.path().join("ways"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = program.stdin.take().unwrap();
        let lines: String =
            questions.iter().map(|words| Value::from(words.clone()).to_string() + "\n").collect();
        let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
        let output = program.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Asks Go and us the same, and wants the same answers.
fn compare(go: &Go, operation: &str, inputs: Vec<Vec<String>>, ours: impl Fn(&[String]) -> String) {
    let ask = |input: &Vec<String>| [vec![operation.to_string()], input.clone()].concat();
    let answers = go.ask(&inputs.iter().map(ask).collect::<Vec<_>>());
    assert_eq!(answers.len(), inputs.len());
    let mut different = Vec::new();
    for (input, theirs) in inputs.iter().zip(answers) {
        let ours = ours(input);
        if ours != theirs {
            different.push(format!("{input:?}\n  Go:   {theirs:?}\n  ours: {ours:?}"));
        }
    }
    let all = different.len();
    different.truncate(12);
    assert!(all == 0, "{operation}: {all} of {} differ:\n{}", inputs.len(), different.join("\n"));
}

fn said<T>(result: Result<T, String>, text: impl Fn(T) -> String) -> String {
    result.map_or_else(|error| format!("error: {error}"), text)
}

/// The error as goyaml has it, before `sigs.k8s.io/yaml` says what it was doing.
fn without_context(error: yaml::YamlError) -> String {
    error.to_string().replacen("error converting YAML to JSON: ", "", 1)
}

/// Texts of these pieces, each drawn from a seed of its own.
fn texts(pieces: &[&str], most: usize) -> Vec<Vec<String>> {
    let text = |seed| {
        let mut rng = Rng::with_seed(seed);
        (0..rng.usize(..=most)).map(|_| pieces[rng.usize(..pieces.len())]).collect()
    };
    (0..COUNT).map(|seed| vec![text(seed)]).collect()
}

/// The corpus of a target of fuzzing, and what libFuzzer has kept of its inputs, if it ran here: together
/// they lead through all of the code.
fn kept(target: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders =
        ["crates/fuzz-targets/corpus", "target/fuzz/corpus"].map(|folder| root.join(folder).join(target));
    let entries = folders.into_iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten());
    entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap()).collect()
}

fn any_texts() -> Vec<Vec<String>> {
    let text = |seed| {
        let mut rng = Rng::with_seed(seed);
        (0..rng.usize(..12)).map(|_| any_char(&mut rng)).collect()
    };
    (0..COUNT).map(|seed| vec![text(seed)]).collect()
}

fn bits(x: f64) -> Vec<String> {
    vec![x.to_bits().to_string()]
}

fn float(input: &[String]) -> f64 {
    f64::from_bits(input[0].parse().unwrap())
}

/// Each as JSON, and its seed.
fn values() -> Vec<Vec<String>> {
    (0..COUNT).map(|seed| vec![json::to_text(&value(seed)), seed.to_string()]).collect()
}

fn value_of(input: &[String]) -> Value {
    value(input[1].parse().unwrap())
}

#[test]
fn kinds_of_characters_are_gos() {
    let Some(go) = Go::build() else { return };
    for (operation, is) in [
        ("printed", strconv::is_print as fn(char) -> bool),
        ("letters", unicode::is_letter),
        ("digits", unicode::is_digit),
    ] {
        compare(&go, operation, vec![vec![String::new()]], |_| {
            let all: Vec<u32> = ('\0'..=char::MAX).filter(|c| is(*c)).map(u32::from).collect();
            let runs = all.chunk_by(|a, b| a + 1 == *b);
            runs.map(|run| format!("{:x}-{:x}", run[0], run[run.len() - 1])).collect::<Vec<_>>().join(" ")
        });
    }
}

#[test]
fn strconv_is_gos() {
    let Some(go) = Go::build() else { return };
    compare(&go, "quote", any_texts(), |input| strconv::quote(&input[0]));
    let runes = (0..COUNT).map(|seed| vec![any_char(&mut Rng::with_seed(seed)).to_string()]).collect();
    compare(&go, "quote rune", runes, |input| strconv::quote_rune(input[0].chars().next().unwrap()));
    let words = [
        "1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False", "tRUE", "yes", "",
        " 1",
    ];
    compare(&go, "bool", words.map(|word| vec![word.to_string()]).to_vec(), |input| {
        strconv::parse_bool(&input[0]).map_or("none".to_string(), |value| value.to_string())
    });
}

#[test]
fn numbers_are_gos() {
    let Some(go) = Go::build() else { return };
    let floats: Vec<Vec<String>> =
        (0..COUNT).map(|seed| bits(any_float(&mut Rng::with_seed(seed)))).collect();
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 5e-324, f64::MAX].map(bits).to_vec();
    let all = [floats.clone(), special].concat();
    compare(&go, "general", all.clone(), |input| number::general(float(input)));
    compare(&go, "general 32", all.clone(), |input| number::general_32(float(input)));
    compare(&go, "significant", all, |input| number::significant(float(input), 5));
    compare(&go, "json number", floats, |input| number::json(float(input)));
    let pieces = [
        "1",
        "0",
        "12",
        "999999999999",
        ".",
        "-",
        "+",
        "ns",
        "us",
        "µs",
        "μs",
        "ms",
        "s",
        "m",
        "h",
        "x",
        "é",
        "\"",
        " ",
        "9223372036854775807",
        ".5",
        "0000000001",
    ];
    compare(&go, "duration", texts(&pieces, 6), |input| {
        said(duration::parse(&input[0]), |nanos| nanos.to_string())
    });
    let nanos = |seed| {
        let mut rng = Rng::with_seed(seed);
        vec![(rng.i64(..) >> rng.u8(..64)).to_string()]
    };
    let all = (0..COUNT).map(nanos).chain([vec![i64::MIN.to_string()]]).collect();
    compare(&go, "duration text", all, |input| duration::text(input[0].parse().unwrap()));
}

#[test]
fn networks_are_gos() {
    let Some(go) = Go::build() else { return };
    let pieces = [
        "1", "0", "255", "256", "01", ".", ":", "::", "/", "%", "eth0", "ffff", "10.0.0.0", "fd00::",
        "12345", "g", " ", "é", "/24", "/129", "/-1", "/08", "1.2.3.4",
    ];
    compare(&go, "address", texts(&pieces, 7), |input| {
        said(netip::check_addr(&input[0]), |()| String::new())
    });
    compare(&go, "prefix", texts(&pieces, 7), |input| {
        said(netip::check_prefix(&input[0]), |()| String::new())
    });
}

#[test]
fn json_is_gos() {
    let Some(go) = Go::build() else { return };
    let pieces = [
        "{", "}", "[", "]", ":", ",", "\"", "a", "\"a\"", "\\", "\\u00", "\\n", "1", "0", "-", ".", "e", "+",
        "true", "fals", "null", " ", "\n", "\t", "\u{1}", "é", "'", "{\"a\":", "[1,", "\u{7f}",
    ];
    let deep = ["[", "{\"a\":"].map(|open| vec![open.repeat(10_001)]);
    let kept = kept("json").into_iter().filter_map(|bytes| String::from_utf8(bytes).ok());
    let all = texts(&pieces, 9).into_iter().chain(deep).chain(kept.map(|text| vec![text]));
    compare(&go, "json check", all.collect(), |input| {
        said(json::scanner::check(input[0].as_bytes()), |()| String::new())
    });
    compare(&go, "json", values(), |input| json::to_text(&value_of(input)));
    compare(&go, "json indented", values(), |input| json::to_indented_text(&value_of(input), 3));
}

#[test]
fn command_lines_are_gos() {
    let Some(go) = Go::build() else { return };
    const FLAGS: Flags =
        Flags { program: "p", known: &[("upgrade", "Upgrade from host-local"), ("v", "Display version")] };
    let pieces = [
        "-v",
        "--v",
        "-upgrade",
        "-h",
        "--help",
        "-v=false",
        "-v=T",
        "-v=x",
        "-v=\u{a0}",
        "---v",
        "--",
        "-",
        "x",
        "",
        "-=",
        "-é=1",
        "--upgrade=0",
        "-bogus",
        "-v=",
        "-help=1",
    ];
    let line = |seed| {
        let mut rng = Rng::with_seed(seed);
        (0..rng.usize(..5)).map(|_| pieces[rng.usize(..pieces.len())].to_string()).collect()
    };
    let kept = kept("go-flags").into_iter().filter_map(|bytes| String::from_utf8(bytes).ok());
    let kept = kept.map(|text| text.split('\n').map(str::to_string).collect());
    let all = (0..COUNT).map(line).filter(|line: &Vec<String>| !line.is_empty()).chain(kept);
    compare(&go, "flags", all.collect(), |args| match FLAGS.parse(args) {
        Asked::Help => format!("help: {}", FLAGS.usage()),
        Asked::Wrong(reason) => format!("error: {reason}"),
        Asked::Flags(set) => format!("{} {}", set.contains(&"upgrade"), set.contains(&"v")),
    });
}

#[test]
fn columns_are_gos() {
    let Some(go) = Go::build() else { return };
    let pieces =
        ["a", "bcdefgh", "é", "\t", "\t", "\n", "\n", "\u{b}", "\u{c}", " ", "\u{1f600}", "words of it"];
    let lines = texts(&pieces, 24).into_iter().map(|input| vec![input[0].clone() + "\n"]).collect();
    compare(&go, "columns", lines, |input| tabwriter::layout(&input[0], 5, 3));
}

#[test]
fn what_is_drawn_is_gos() {
    let Some(go) = Go::build() else { return };
    let drawn = |seed| {
        let mut rng = Rng::with_seed(seed);
        let bound = (rng.u128(..) >> rng.u8(..128)).max(1);
        vec![(rng.i64(..) >> rng.u8(..64)).to_string(), bound.to_string()]
    };
    let all = (0..COUNT / 30).map(drawn).chain([vec!["0".to_string(), "64".to_string()]]).collect();
    compare(&go, "random", all, |input| {
        let mut rand = rand::Rand::new(input[0].parse().unwrap());
        let bound = input[1].parse().unwrap();
        let draw = |_| format!("{} {} {}", rand.word(), rand.u32(), rand.below(bound));
        (0..20).map(draw).collect::<Vec<_>>().join(" ")
    });
}

#[test]
fn yaml_is_gos() {
    type Read = fn(&[u8]) -> Result<Value, yaml::YamlError>;
    let Some(go) = Go::build().filter(|go| go.has_yaml) else { return };
    let pieces = [
        "a",
        "b",
        "1",
        "0x1",
        "yes",
        "null",
        "~",
        ": ",
        ":",
        "- ",
        "-",
        "\n",
        "\n",
        "\n  ",
        "  ",
        " ",
        "? ",
        ", ",
        "[",
        "]",
        "{",
        "}",
        "#",
        " # c",
        "&a ",
        "*a",
        "!",
        "!!str ",
        "!!int ",
        "|",
        ">",
        "|-\n  ",
        "'",
        "\"",
        "%",
        "@",
        "`",
        "---",
        "---\n",
        "...",
        "\t",
        "\\n",
        "<<: ",
        "é",
        "\u{1}",
        "\u{85}",
        "1.5",
        ".inf",
        "2026-01-02",
        "a: ",
        "b: ",
        "a: b\n",
        "- c\n",
    ];
    for (operation, read) in
        [("yaml read", yaml::read as Read), ("yaml read strictly", yaml::read_strict as Read)]
    {
        compare(&go, operation, texts(&pieces, 14), |input| {
            said(read(input[0].as_bytes()).map_err(without_context), |value| json::to_text(&value))
        });
    }
}

/// What reads JSON as YAML does not get each text from it as it was written there: a U+0085 is a line break,
/// U+007F an error.
#[test]
fn json_becomes_yaml_as_in_go() {
    let Some(go) = Go::build().filter(|go| go.has_yaml) else { return };
    let odd = (0..COUNT).map(|seed| vec![json::to_text(&odd_value(seed))]);
    compare(&go, "yaml write", values().into_iter().chain(odd).collect(), |input| {
        said(yaml::read(input[0].as_bytes()).map_err(without_context), |value| yaml::to_text(&value))
    });
}

/// All that YAML reads otherwise is escaped, so that Go writes the value that we write.
#[test]
fn yaml_is_written_as_in_go() {
    let Some(go) = Go::build().filter(|go| go.has_yaml) else { return };
    let escaped = |value: &Value| -> String {
        let escape = |c| match c {
            '\u{7f}'..='\u{ffff}' => format!("\\u{:04x}", u32::from(c)),
            c => c.to_string(),
        };
        json::to_text(value).chars().map(escape).collect()
    };
    for (count, value) in [(COUNT, value as fn(u64) -> Value), (10 * COUNT, odd_value)] {
        let inputs = (0..count).map(|seed| vec![escaped(&value(seed)), seed.to_string()]).collect();
        compare(&go, "yaml write", inputs, |input| yaml::to_text(&value(input[1].parse().unwrap())));
    }

    let pieces = [
        "0",
        "1",
        "9",
        "00",
        "a",
        "Z",
        "é",
        " ",
        "-",
        ".",
        "_",
        "\u{20ac}",
        "\u{a0}",
        "\u{660}",
        "\u{669}",
        "\u{345}",
        "\u{2160}",
        "\u{24b6}",
        "\u{13b4d}",
        "\u{1d7ce}",
        "\u{4e00}",
        "99999999999999999999",
    ];
    let keys = texts(&pieces, 6).into_iter().zip(texts(&pieces, 7).into_iter().rev());
    let maps =
        keys.map(|(a, b)| vec![escaped(&json!({ (&*a[0]): 1, (&*b[0]): 2 })), a[0].clone(), b[0].clone()]);
    compare(&go, "yaml write", maps.collect(), |input| {
        yaml::to_text(&json!({ (&*input[1]): 1, (&*input[2]): 2 }))
    });
}

/// Bytes of any encoding, with faults, longer than what goyaml reads at once.
#[test]
fn bytes_are_read_as_yaml_as_in_go() {
    let Some(go) = Go::build().filter(|go| go.has_yaml) else { return };
    let encoded = |seed| -> Vec<u8> {
        let mut rng = Rng::with_seed(seed);
        let pieces = [
            "a: b\n",
            "- c\n",
            "é",
            "\u{1f600}",
            "# word word word\n",
            "  ",
            "\n",
            "\r\n",
            "\u{feff}",
            "\u{85}",
            "\u{2028}",
            "@",
            "'",
            "k: \"x\"\n",
            "\u{1}",
            "\u{fffe}",
        ];
        // The last ones are faults, and rare.
        let count = if rng.bool() { 11 } else { pieces.len() };
        let mark = ["", "\u{feff}", "\u{feff}\u{feff}"][rng.usize(..3)];
        let length = 1 << rng.u8(1..10);
        let text: String = (0..length).map(|_| pieces[rng.usize(..count)]).collect();
        let text = mark.to_string() + &text;
        let mut bytes: Vec<u8> = match rng.u8(..4) {
            0 => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            1 => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            _ => text.into_bytes(),
        };
        match rng.u8(..4) {
            0 => bytes.truncate(rng.usize(..=bytes.len())),
            1 => bytes.insert(rng.usize(..=bytes.len()), rng.u8(..)),
            _ => {}
        }
        bytes
    };
    // We bound the depth of nesting, Go does not. We refuse a file of which goyaml would lose characters.
    let is_read_alike = |bytes: &Vec<u8>| {
        !yaml::read_strict(bytes).is_err_and(|error| {
            let text = error.to_string();
            text.ends_with("exceeded max depth of 100") || text.contains("second byte order mark")
        })
    };
    let bytes: Vec<Vec<u8>> = (0..COUNT).map(encoded).chain(kept("yaml")).filter(is_read_alike).collect();
    let hex = |bytes: &Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let inputs = bytes.iter().enumerate().map(|(at, bytes)| vec![hex(bytes), at.to_string()]);
    compare(&go, "yaml read bytes", inputs.collect(), |input| {
        let bytes = &bytes[input[1].parse::<usize>().unwrap()];
        // What is no UTF-8 in a `!!binary` is the same character, which Go then writes as an escape.
        let has_binary = bytes.windows(8).any(|part| part == b"!!binary");
        let escaped = if has_binary { "\\ufffd" } else { "\u{fffd}" };
        let read = yaml::read_strict(bytes).map_err(without_context);
        said(read, |value| json::to_text(&value).replace('\u{fffd}', escaped))
    });
}
