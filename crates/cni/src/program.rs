//! A plugin as a program: everything that it reads and writes.

use std::io::{Read, Write};

use setup::Environment;

use crate::answer;
use crate::error::CniError;
use crate::log::Sink;

/// The inputs and outputs of the program.
pub struct Io<'a> {
    /// The arguments, without the program's name.
    pub args: Vec<String>,
    /// The environment.
    pub environment: Environment,
    /// Standard input, which holds the network configuration.
    pub stdin: &'a mut dyn Read,
    /// Standard output, for the result or the error object and nothing else.
    pub stdout: &'a mut dyn Write,
    /// Standard error, for the log.
    pub stderr: Sink,
}

/// Makes every later panic of the program end with an error object on standard output, as the runtime
/// expects, and with exit code 1; also in builds where a panic aborts. The error tells the place of the panic
/// but not its message, which may quote the configuration.
pub fn answer_panics(program: &'static str) {
    outside::panics::tell(outside::panics::To::Stdout, move |place| {
        let msg = format!(
            "{program} has failed by a fault of its own at {place}. What it had begun is not undone: DEL does that"
        );
        answer::text(&CniError::internal(msg).to_json())
    });
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "the test speaks to itself by its environment")]
mod tests {
    use std::process::Command;

    use serde_json::Value as Json;

    use super::*;

    /// Says to the process that the test starts where it is to panic.
    const PANICS: &str = "RACKPOOL_TEST_PANICS";

    fn panic_in(place: &str) {
        answer_panics("calico");
        if place == "here" {
            panic!("{}", "hunter2".repeat(2));
        }
        let _held = std::io::stderr().lock();
        let thread = std::thread::spawn(|| panic!("{}", "hunter2".repeat(2)));
        let _ = thread.join();
        std::thread::park();
    }

    /// The test starts itself once more for each place.
    #[test]
    fn a_panic_is_answered_with_an_error_object() {
        if let Ok(place) = std::env::var(PANICS) {
            return panic_in(&place);
        }
        for place in ["here", "elsewhere"] {
            let mut program = Command::new(std::env::current_exe().unwrap());
            let itself = "program::tests::a_panic_is_answered_with_an_error_object";
            let output =
                program.args(["--exact", "--nocapture", itself]).env(PANICS, place).output().unwrap();
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
