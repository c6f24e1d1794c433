//! Compares each function with Go's own, on random inputs. Where Go is not installed, the test prints so and
//! does nothing.

// Everything here is test code. The environment tells where Go is.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use fastrand::Rng;
use golang::flag::{Asked, Flags};
use golang::{duration, json, netip, number, rand, strconv, tabwriter, yaml};
use serde_json::{Map, Value};

/// Where we differ from Go on purpose.
struct Departure {
    operation: &'static str,
    /// Whether a text with that character is one.
    is_odd: fn(char) -> bool,
    why: &'static str,
}

const DEPARTURES: &[Departure] = &[
    Departure {
        operation: "yaml write",
        is_odd: |c| matches!(c, '\u{7f}'..='\u{9f}'),
        why: "goyaml does not read back what encoding/json writes of it: an error, or a line break in its place",
    },
    Departure {
        operation: "yaml write",
        is_odd: |c| c == '\u{feff}',
        why: "goyaml escapes every character of a text that begins with it, which means the same",
    },
    Departure {
        operation: "yaml write",
        is_odd: |c| matches!(c, '\u{2028}' | '\u{2029}'),
        why: "after such a line break at the end of a text we write blanks, which mean nothing",
    },
    Departure {
        operation: "yaml write",
        is_odd: |c| c > '\u{ffff}',
        why: "a line that it stands in may be folded a few words later",
    },
];

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

/// Asks Go and us the same, and counts the differences that are no departures.
fn compare(go: &Go, operation: &str, inputs: Vec<Vec<String>>, ours: impl Fn(&[String]) -> String) {
    let ask = |input: &Vec<String>| [vec![operation.to_string()], input.clone()].concat();
    let answers = go.ask(&inputs.iter().map(ask).collect::<Vec<_>>());
    assert_eq!(answers.len(), inputs.len());
    let mut different = Vec::new();
    for (input, theirs) in inputs.iter().zip(answers) {
        let ours = ours(input);
        let is_meant = |departure: &&Departure| {
            departure.operation == operation
                && [&input[0], &ours].iter().any(|text| text.contains(departure.is_odd))
        };
        if ours == theirs {
            continue;
        }
        if let Some(departure) = DEPARTURES.iter().find(is_meant) {
            println!("{operation}: {input:?}: {}", departure.why);
        } else {
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

/// Random texts made of these pieces, each from a seed of its own.
fn texts(pieces: &[&str], most: usize) -> Vec<Vec<String>> {
    let text = |seed| {
        let mut rng = Rng::with_seed(seed);
        (0..rng.usize(..=most)).map(|_| pieces[rng.usize(..pieces.len())]).collect()
    };
    (0..COUNT).map(|seed| vec![text(seed)]).collect()
}

/// Any character; those that Go treats in a special way come more often.
fn any_char(rng: &mut Rng) -> char {
    match rng.u8(..6) {
        0 => char::from(rng.u8(..0x20)),
        1 => char::from(rng.u8(0x7f..=0xff)),
        2 => char::from_u32(rng.u32(0x2000..0x2100)).unwrap(),
        3 => rng.char(..),
        _ => char::from(rng.u8(b' '..0x7f)),
    }
}

fn any_texts() -> Vec<Vec<String>> {
    let text = |seed| {
        let mut rng = Rng::with_seed(seed);
        (0..rng.usize(..12)).map(|_| any_char(&mut rng)).collect()
    };
    (0..COUNT).map(|seed| vec![text(seed)]).collect()
}

fn any_float(rng: &mut Rng) -> f64 {
    match rng.u8(..5) {
        0 => Some(f64::from_bits(rng.u64(..))).filter(|x| x.is_finite()).unwrap_or_default(),
        1 => f64::from(rng.i32(..)),
        2 => 10_f64.powi(rng.i32(-30..30)),
        3 => rng.f64() * 10_f64.powi(rng.i32(-10..25)),
        _ => f64::from(rng.i32(-100_000..100_000)) / 8.0,
    }
}

fn bits(x: f64) -> Vec<String> {
    vec![x.to_bits().to_string()]
}

fn float(input: &[String]) -> f64 {
    f64::from_bits(input[0].parse().unwrap())
}

/// A random value with its keys sorted, as Go writes maps.
fn any_value(rng: &mut Rng, depth: usize) -> Value {
    const TEXTS: &[&str] = &[
        "",
        "a",
        "yes",
        "null",
        "~",
        "1",
        "0x1f",
        "1e3",
        ".inf",
        "2026-01-02",
        "1:30",
        "a: b",
        "# c",
        "- d",
        "a\nb\n",
        "*x",
        "&x",
        "!x",
        "%x",
        "@x",
        "`",
        "{",
        "[",
        "'q'",
        "\"d\"",
        "a\tb",
        " lead",
        "trail ",
        "é",
        "\u{a0}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}x",
        "<&>",
        "10.0.0.0/16",
        "x\u{1f600}",
        "\u{7f}",
        "\u{1}",
        "on",
        "=",
        "<<",
        "?",
        "? a",
        "a,b",
        "word word word word word word word word word word word word word word word word word word word word",
    ];
    match rng.u8(..if depth > 3 { 5 } else { 8 }) {
        0 => Value::Null,
        1 => Value::from(rng.bool()),
        2 => Value::from(any_float(rng)),
        3 => Value::from(f64::from(rng.i16(..))),
        4 => Value::from(TEXTS[rng.usize(..TEXTS.len())]),
        5 => (0..rng.usize(..4)).map(|_| any_value(rng, depth + 1)).collect(),
        _ => {
            let mut entries: Vec<(String, Value)> = (0..rng.usize(..5))
                .map(|_| {
                    (
                        TEXTS[rng.usize(..TEXTS.len())].to_string() + &rng.u8(..12).to_string(),
                        any_value(rng, depth + 1),
                    )
                })
                .collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Value::Object(entries.into_iter().collect::<Map<_, _>>())
        }
    }
}

/// Random values, each as JSON with its seed.
fn values() -> Vec<Vec<String>> {
    (0..COUNT)
        .map(|seed| vec![json::to_text(&any_value(&mut Rng::with_seed(seed), 0)), seed.to_string()])
        .collect()
}

fn value(input: &[String]) -> Value {
    any_value(&mut Rng::with_seed(input[1].parse().unwrap()), 0)
}

#[test]
fn strconv_is_gos() {
    let Some(go) = Go::build() else { return };
    compare(&go, "printed", vec![vec![String::new()]], |_| {
        let printed: Vec<u32> = ('\0'..=char::MAX).filter(|c| strconv::is_print(*c)).map(u32::from).collect();
        let runs = printed.chunk_by(|a, b| a + 1 == *b);
        runs.map(|run| format!("{:x}-{:x}", run[0], run[run.len() - 1])).collect::<Vec<_>>().join(" ")
    });
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
    compare(&go, "json check", texts(&pieces, 9), |input| {
        said(json::scanner::check(input[0].as_bytes()), |()| String::new())
    });
    compare(&go, "json", values(), |input| json::to_text(&value(input)));
    compare(&go, "json indented", values(), |input| json::to_indented_text(&value(input), 3));
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
    compare(
        &go,
        "flags",
        (0..COUNT).map(line).filter(|line: &Vec<String>| !line.is_empty()).collect(),
        |args| match FLAGS.parse(args) {
            Asked::Help => format!("help: {}", FLAGS.usage()),
            Asked::Wrong(reason) => format!("error: {reason}"),
            Asked::Flags(set) => format!("{} {}", set.contains(&"upgrade"), set.contains(&"v")),
        },
    );
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
        compare(&go, operation, texts(&pieces, 14), |input| match read(input[0].as_bytes()) {
            Ok(value) => json::to_text(&value),
            Err(error) => error.to_string().replacen("error converting YAML to JSON: ", "error: ", 1),
        });
    }
    compare(&go, "yaml write", values(), |input| yaml::to_text(&value(input)));
}
