//! How a command ends when it does not succeed.

use std::io;

/// Why a command failed. The exit code is 1, except if the reader of the output has gone away.
#[derive(Debug)]
pub enum Failure {
    /// A message for standard error.
    Message(String),
    /// A message for standard output, where Calico prints it.
    OnStdout(String),
    /// Everything was said already.
    Said,
    /// Output or input failed.
    Io(io::Error),
}

impl Failure {
    /// A message for standard error, with the two changes that Calico makes to the text of every error: it
    /// removes the words with which Go's JSON reader begins, and of a text about an unknown field it keeps
    /// only the field.
    pub fn in_calico_words(text: impl Into<String>) -> Failure {
        const DECODING: &str = "error unmarshaling JSON: while decoding JSON: json: ";
        const UNKNOWN: &str = "unknown field \"";
        let text = text.into();
        let text = text.strip_prefix(DECODING).map(str::to_string).unwrap_or(text);
        let field =
            text.split_once(UNKNOWN).and_then(|(_, rest)| rest.split_once('"')).map(|(field, _)| field);
        match field {
            Some(field) => Failure::Message(format!(
                "field in document is not recognized or is in the wrong location: {field}"
            )),
            None => Failure::Message(text),
        }
    }

    /// The failure with a text of ours on the lines after Calico's own.
    #[must_use]
    pub fn and(self, ours: &str) -> Failure {
        if ours.is_empty() {
            return self;
        }
        let both = |text: String| format!("{}\n{ours}", text.trim_end_matches('\n'));
        match self {
            Failure::Message(text) => Failure::Message(both(text)),
            Failure::OnStdout(text) => Failure::OnStdout(both(text)),
            other @ (Failure::Said | Failure::Io(_)) => other,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}
