//! How a command ends when it does not succeed.

use std::io;

/// Why a command failed; the exit code is 1, but for a reader that went away.
#[derive(Debug)]
pub enum Failure {
    /// A message for standard error.
    Message(String),
    /// A message for standard output, where Calico prints it.
    OnStdout(String),
    /// Output or input failed.
    Io(io::Error),
}

impl Failure {
    /// A message for standard error, with the two changes that Calico makes to every error: the first words of Go's JSON reader are left out, and an
    /// unknown field is all that is said.
    pub fn message(text: impl Into<String>) -> Failure {
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
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Io(error)
    }
}
