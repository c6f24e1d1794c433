//! The network's configuration that a user gives, with words that the agent replaces
//! (`cni-plugin/pkg/install/install.go`).

use std::path::Path;

use serde_json::Value as Json;
use setup::Environment;

/// The largest template, in bytes.
const MOST: usize = 1 << 20;

/// From what the network's configuration is made.
#[derive(Clone, PartialEq, Eq)]
pub enum Template {
    /// From the node's own settings.
    BuiltIn,
    /// From this text.
    Given {
        /// The text. It may hold secrets.
        text: String,
        /// The variable that gives it, for messages.
        by: &'static str,
    },
}

/// Leaves out the text.
impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Template::BuiltIn => "BuiltIn",
            Template::Given { by, .. } => by,
        })
    }
}

/// Why a template makes no configuration. The texts quote nothing of the template but the names of words, as
/// it may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The file cannot be read.
    #[error("cannot read the network's configuration from {file} (CNI_NETWORK_CONFIG_FILE): {reason}")]
    File {
        /// The file's path.
        file: String,
        /// The system's error.
        reason: String,
    },
    /// A word in it is not known.
    #[error("{by} holds {word}, for which there is no value: the words are {known}")]
    Word {
        /// The variable that gives the template.
        by: &'static str,
        /// The word.
        word: String,
        /// The words that have a value.
        known: String,
    },
    /// It is no JSON.
    #[error("{by} is no JSON once its words are replaced: line {line}, column {column}")]
    NoJson {
        /// The variable that gives the template.
        by: &'static str,
        /// The line of the fault.
        line: usize,
        /// The column of the fault.
        column: usize,
    },
}

impl Template {
    /// The template that Calico's variables name: `CNI_NETWORK_CONFIG_FILE`, a file; or
    /// `CNI_NETWORK_CONFIG`, the text itself. The file goes first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn of(environment: &Environment) -> Result<Template, TemplateError> {
        if let Some(file) = environment.get("CNI_NETWORK_CONFIG_FILE") {
            let text = outside::read_text(Path::new(file), MOST)
                .map_err(|error| TemplateError::File { file: file.to_string(), reason: error.to_string() })?;
            return Ok(Template::Given { text, by: "CNI_NETWORK_CONFIG_FILE" });
        }
        Ok(match environment.get("CNI_NETWORK_CONFIG") {
            Some(text) => Template::Given { text: text.to_string(), by: "CNI_NETWORK_CONFIG" },
            None => Template::BuiltIn,
        })
    }
}

/// Replaces the words of a text, such as `__CNI_MTU__`, and reads the JSON that comes out. A value stands in
/// a text of JSON, or for a whole number.
pub(super) fn filled_in(
    text: &str,
    by: &'static str,
    words: &[(&'static str, String)],
) -> Result<Json, TemplateError> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("__") {
        filled.push_str(&rest[..at]);
        let after = &rest[at + 2..];
        let length = after.find("__").filter(|length| is_word(&after[..*length]));
        let Some(length) = length else {
            filled.push_str("__");
            rest = after;
            continue;
        };
        let word = &after[..length];
        let Some((_, value)) = words.iter().find(|(known, _)| *known == word) else {
            let known: Vec<String> = words.iter().map(|(known, _)| format!("__{known}__")).collect();
            return Err(TemplateError::Word { by, word: format!("__{word}__"), known: known.join(", ") });
        };
        let quoted = Json::from(value.as_str()).to_string();
        // A text in JSON begins and ends with a quotation mark.
        filled.push_str(&quoted[1..quoted.len() - 1]);
        rest = &after[length + 2..];
    }
    filled.push_str(rest);
    serde_json::from_str(&filled).map_err(|error| TemplateError::NoJson {
        by,
        line: error.line(),
        column: error.column(),
    })
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fill(text: &str) -> Result<Json, TemplateError> {
        let words = [("CNI_MTU", "0".to_string()), ("KUBERNETES_NODE_NAME", "n\"1\\".to_string())];
        filled_in(text, "CNI_NETWORK_CONFIG", &words)
    }

    #[test]
    fn words_are_replaced() {
        let text = r#"{"mtu": __CNI_MTU__, "nodename": "__KUBERNETES_NODE_NAME__", "x": "a__b_ __ _c__d__"}"#;
        assert_eq!(fill(text), Ok(json!({"mtu": 0, "nodename": "n\"1\\", "x": "a__b_ __ _c__d__"})));
    }

    #[test]
    fn what_cannot_be_replaced_is_named_and_nothing_else() {
        let error = fill(r#"{"token": "hunter2", "x": "__SERVICEACCOUNT_TOKEN__"}"#).unwrap_err().to_string();
        assert!(
            error.contains("holds __SERVICEACCOUNT_TOKEN__,") && error.contains("__CNI_MTU__"),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
        let error = fill("{\"token\": hunter2}").unwrap_err().to_string();
        assert!(error.contains("line 1, column 11") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_file_goes_before_the_text() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{}").unwrap();
        let environment = Environment::from_iter([
            ("CNI_NETWORK_CONFIG", "[]"),
            ("CNI_NETWORK_CONFIG_FILE", file.path().to_str().unwrap()),
        ]);
        let wanted = Template::Given { text: "{}".to_string(), by: "CNI_NETWORK_CONFIG_FILE" };
        assert_eq!(Template::of(&environment), Ok(wanted));
        assert_eq!(Template::of(&Environment::default()), Ok(Template::BuiltIn));
        let environment = Environment::from_iter([("CNI_NETWORK_CONFIG_FILE", "/nowhere/x")]);
        assert!(Template::of(&environment).unwrap_err().to_string().contains("/nowhere/x"));
    }
}
