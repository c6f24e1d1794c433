//! The formats of the output, and the option `-o` that names them.

pub mod check;
pub mod columns;
pub mod number;
pub mod report;
pub mod table;
pub mod template;
pub mod yaml;

#[cfg(test)]
mod tests;

use serde_json::Value as Json;
use thiserror::Error;

/// A document as `-o json` shows it, or else `-o yaml`.
pub fn document(document: &Json, format: &str) -> String {
    match format {
        "json" => golang::json::to_indented_text(document, 2),
        _ => golang::yaml::to_text(document),
    }
}

/// A value of `-o`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// A table of the main columns.
    Ps,
    /// A table of all columns.
    Wide,
    /// The objects as YAML.
    Yaml,
    /// The objects as JSON.
    Json,
    /// A table of these columns; there is at least one. Whether a kind has these columns is checked when the
    /// table is made: see [`FormatError::UnknownHeading`].
    CustomColumns(Vec<String>),
    /// A Go template.
    GoTemplate(String),
    /// The path of a file that holds a Go template.
    GoTemplateFile(String),
}

/// What is wrong with a value of `-o`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// No such format; names of formats are case-sensitive.
    #[error("unrecognized output format '{0}'")]
    Unrecognized(String),
    /// `go-template` without a template.
    #[error("need to specify a template")]
    NoTemplate,
    /// `go-template-file` without a path.
    #[error("need to specify a template file")]
    NoTemplateFile,
    /// `custom-columns` without a column.
    #[error("need to specify at least one column")]
    NoColumn,
    /// A kind does not have the column.
    #[error("unknown heading {heading}, valid values are: {}", valid.join(", "))]
    UnknownHeading {
        /// The column that was asked for.
        heading: String,
        /// All columns of the kind; Calico lists them in random order.
        valid: Vec<String>,
    },
}

impl Format {
    /// Reads the value of `-o`.
    pub fn parse(text: &str) -> Result<Format, FormatError> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        match (text, name) {
            ("ps", _) => Ok(Format::Ps),
            ("wide", _) => Ok(Format::Wide),
            ("yaml", _) => Ok(Format::Yaml),
            ("json", _) => Ok(Format::Json),
            (_, "custom-columns") if value.is_empty() => Err(FormatError::NoColumn),
            (_, "custom-columns") => Ok(Format::CustomColumns(value.split(',').map(str::to_owned).collect())),
            (_, "go-template") if value.is_empty() => Err(FormatError::NoTemplate),
            (_, "go-template") => Ok(Format::GoTemplate(value.to_owned())),
            (_, "go-template-file") if value.is_empty() => Err(FormatError::NoTemplateFile),
            (_, "go-template-file") => Ok(Format::GoTemplateFile(value.to_owned())),
            _ => Err(FormatError::Unrecognized(text.to_owned())),
        }
    }
}

/// Joins items as the columns of tables do. With `limit`, a text with more bytes than that is cut to `limit`
/// bytes that end in `...`. `limit` is at least 3.
pub fn join_and_truncate<S: AsRef<str>>(items: &[S], separator: &str, limit: Option<usize>) -> String {
    let mut text = String::new();
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push_str(separator);
        }
        text.push_str(item.as_ref());
        if let Some(limit) = limit.filter(|&limit| text.len() > limit) {
            let keep = limit.saturating_sub(3);
            let keep = (0..=keep).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.truncate(keep);
            text.push_str("...");
            break;
        }
    }
    text
}
