//! A plugin as a program: all that it reads and writes.

use std::io::{Read, Write};

use setup::Environment;

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
