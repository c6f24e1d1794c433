//! A plugin as a program: all that it reads and writes.

use std::io::{Read, Write};

use setup::Environment;

use crate::answer;
use crate::error::CniError;
use crate::log::Sink;

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
    pub stderr: Sink,
}

/// From now on a panic of the program is answered with an error object, as the runtime awaits one, and exit
/// code 1: also where panics abort. It tells where the fault is, not in which words, which may quote the
/// configuration.
pub fn answer_panics(program: &'static str) {
    outside::panics::tell(outside::panics::To::Stdout, move |place| {
        let msg = format!(
            "{program} has failed by a fault of its own at {place}. What it had begun is not undone: DEL does that"
        );
        answer::text(&CniError::internal(msg).to_json())
    });
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::Value as Json;

    use super::*;

    #[test]
    #[ignore = "it panics; the next test runs it"]
    fn here() {
        answer_panics("calico");
        panic!("{}", "hunter2".repeat(2));
    }

    #[test]
    #[ignore = "it panics; the next test runs it"]
    fn elsewhere() {
        answer_panics("calico");
        let _held = std::io::stderr().lock();
        let thread = std::thread::spawn(|| panic!("{}", "hunter2".repeat(2)));
        let _ = thread.join();
        std::thread::park();
    }

    #[test]
    fn a_panic_is_answered_with_an_error_object() {
        for name in ["here", "elsewhere"] {
            let mut program = Command::new(std::env::current_exe().unwrap());
            let output = program
                .args(["--ignored", "--exact", "--nocapture", &format!("program::tests::{name}")])
                .output()
                .unwrap();
            let (stdout, stderr) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.status.code(), Some(1), "{stdout}{stderr}");
            assert!(!stdout.contains("hunter2") && !stderr.contains("hunter2"), "{stdout}{stderr}");
            let object: Json = serde_json::from_str(&stdout[stdout.find('{').unwrap()..]).unwrap();
            let msg = object["msg"].as_str().unwrap();
            assert!(
                object["code"] == 999 && msg.starts_with("calico has failed by a fault of its own at "),
                "{msg}"
            );
            assert!(msg.contains("program.rs:"), "{msg}");
        }
    }
}
