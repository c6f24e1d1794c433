//! Reads YAML as Go's `sigs.k8s.io/yaml` does (goyaml.v2, YAML 1.1), with its error texts, and writes YAML as
//! it does.
//!
//! JSON is read as YAML too, as in Go. The result is the value that Go would encode as JSON, with these
//! conventions:
//!
//! * The keys of every object are sorted by bytes, since Go's JSON encoder sorts them. Keys that are numbers
//!   or booleans become strings.
//! * Plain `y`, `yes`, `on`, `true` and their kin are booleans; numbers that YAML writes as integers are
//!   integers, all others are `f64`.
//! * Go coerces a boolean or number into a string where the target field is a string. Types are not known
//!   here, so scalars stay as they are; whoever decodes into types uses [`string_text`] for a string field,
//!   and [`crate::number::json_number`] for the text of a number in an error message.
//! * Nesting is bounded by [`MAX_DEPTH`], and alias expansion by goyaml's own ratio of alias-driven work and
//!   by bytes, so hostile text gets an error.

mod decode;
mod emit;
mod go_syntax;
pub mod resolve;
mod scanner;
mod source;
pub mod tree;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::Value;
use thiserror::Error;

use crate::number;
pub use write::{to_text, to_text_quoting};

/// The deepest nesting that is accepted, with aliases expanded. goyaml accepts 10000 levels. What is read
/// here may be stored as JSON, of which serde_json reads 127 levels; a server's list adds a few to those of
/// an object. No resource has more than twenty.
pub const MAX_DEPTH: usize = 100;

/// How many bytes of text a document's aliases may repeat.
const MAX_REPEATED: usize = 10 * 1024 * 1024;

/// How many scalars [`read_strict_noting`] tells of, at most.
const MOST_PLAIN: usize = 10_000;
/// How many keys and indexes lead to these scalars, at most: after so many, no further one is told of.
const MOST_STEPS: usize = 100_000;

/// Why a document could not be read. The text is Go's, prefix included.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum YamlError {
    /// The text is not YAML, or uses something goyaml refuses: an unknown anchor, a tag that does not fit,
    /// too much aliasing.
    #[error("error converting YAML to JSON: yaml: {text}")]
    Malformed {
        /// Go's words.
        text: String,
        /// The line at which the problem was noticed, counted from 1.
        line: usize,
        /// Whether `text` quotes the document.
        is_quoting: bool,
    },
    /// Keys that occur more than once in a map, in the order in which they were met. Only [`read_strict`]
    /// reports them.
    #[error("error converting YAML to JSON: yaml: unmarshal errors:\n  {}", .0.join("\n  "))]
    Duplicates(Vec<String>),
    /// Valid YAML that JSON cannot express: a null key, an infinite number.
    #[error("error converting YAML to JSON: {0}")]
    NotJson(String),
}

impl YamlError {
    /// Says what is wrong and where, but quotes nothing of the document, which may hold secrets.
    pub fn without_content(&self) -> String {
        let words = match self {
            YamlError::Malformed { text, is_quoting: false, .. } => text.clone(),
            YamlError::Malformed { line, .. } => format!(
                "line {line}: an alias without its anchor (a text that begins with * stands in quotes), a tag that does not fit its value, a key that is none, or too much aliasing"
            ),
            YamlError::Duplicates(clashes) => {
                let line = |clash: &String| clash.split_once(": ").map(|(line, _)| line.to_owned());
                let lines: Vec<_> = clashes.iter().filter_map(line).collect();
                format!("{}: a key is already set in its map", lines.join(", "))
            }
            YamlError::NotJson(_) => "a key or a number that JSON has not".to_owned(),
        };
        format!("error converting YAML to JSON: yaml: {words}")
    }
}

/// Reads the first document of `text`. Of two equal keys in a map the later wins (Go's `yaml.Unmarshal`).
///
/// Empty text, and text of comments alone, is `null`.
pub fn read(text: &[u8]) -> Result<Value, YamlError> {
    decode::document(text, decode::Duplicates::LastWins).map(|(value, _)| value)
}

/// Reads the first document of `text`. Refuses two equal keys in a map (Go's `yaml.UnmarshalStrict`).
///
/// A map may have a key of its own that a merge (`<<`) brings too, and wins. Here and in [`read`] that is
/// YAML's rule, from which goyaml.v2 departs: it refuses such a key, and in [`read`] lets a merge win that
/// comes later.
pub fn read_strict(text: &[u8]) -> Result<Value, YamlError> {
    decode::document(text, decode::Duplicates::Refused).map(|(value, _)| value)
}

/// As [`read_strict`]; and gives the scalars that YAML takes for something else than the text that is
/// written (the first 10,000 of them, or fewer where they lie deep), for those who want a text in their
/// place.
pub fn read_strict_noting(text: &[u8]) -> Result<(Value, Vec<Plain>), YamlError> {
    decode::document(text, decode::Duplicates::Refused)
}

/// Whether something follows the first document of `text`, which nobody reads then.
pub fn has_more(text: &[u8]) -> bool {
    let mut documents = tree::Documents::new(text);
    matches!(documents.next_document(), Ok(Some(_))) && !matches!(documents.next_document(), Ok(None))
}

/// A scalar without quotes that is no text, or that begins with a tag (`!x y`), which is no part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    /// The keys, and the indexes in lists, that lead to it.
    pub path: Vec<Arc<str>>,
    /// As it is written, with its tag.
    pub text: String,
    /// Its line, counted from 1.
    pub line: usize,
    /// Whether it begins with a tag that is none of YAML's own.
    pub is_tagged: bool,
}

/// The text that Go stores if `value` is decoded into a string: the string itself; `true` or `false` for a
/// boolean; the digits of an integer; for a float, the digits of a 32-bit float. `None` for null, objects and
/// arrays, which Go does not convert.
pub fn string_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(match value.as_f64() {
            Some(float) if value.is_f64() => number::general_32(float),
            _ => value.to_string(),
        }),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
