//! A plugin as a program: all that it reads and writes.

use std::io::{Read, Write};

use setup::Environment;

use crate::answer;
use crate::error::CniError;

/// What the program reads and writes.
pub struct Io<'a> {
    /// The arguments, without the program's name.
    pub args: Vec<String>,
    /// The environment.
    pub environment: Environment,
    /// The network configuration.
    pub stdin: &'a mut dyn Read,
    /// The result or the error object, nothing else.
    pub stdout: &'a mut dyn Write,
    /// The log.
    pub stderr: &'a mut dyn Write,
}

/// From now on a panic of the program is answered with an error object, as the runtime awaits one, and exit code 1: also where panics abort. It tells
/// where the fault is, not in which words, which may quote the configuration.
pub fn answer_panics(program: &'static str) {
    outside::panics::tell(outside::panics::To::Stdout, move |place| {
        let msg = format!(
            "{program} has failed by a fault of its own at {place}. What it had begun is not undone: DEL does that"
        );
        answer::text(&CniError::internal(msg).to_json())
    });
}
