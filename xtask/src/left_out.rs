//! Collects what tests report as left out. It is printed at the end, since the test harness hides the output
//! of tests that pass.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// How the lines begin in which a test reports that it leaves something out, and why.
const BEGINNINGS: [&str; 2] = ["skipped: ", "left out: "];

/// The reports so far.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// By reason: the number of tests that gave it, and the least number of recordings that they would have
    /// replayed, where they tell.
    reasons: BTreeMap<String, (usize, usize)>,
}

impl LeftOut {
    /// Runs `cargo test` and shows its output, but not the output of passing tests. It is an error if the
    /// tests fail.
    pub fn run(&mut self, tests: &mut Command) -> Result<()> {
        // These arguments are for the tests, so they come after the command's own.
        let tests = tests.args(["--", "--show-output"]);
        self.run_with(tests)
    }

    /// As [`LeftOut::run`], for a command that already has arguments for its tests, with `--show-output`
    /// among them.
    pub fn run_with(&mut self, tests: &mut Command) -> Result<()> {
        let shown = format!("{tests:?}");
        let mut child =
            tests.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {shown}"))?;
        let out = child.stdout.take().context("it was piped")?;
        let mut is_shown = true;
        for line in BufReader::new(out).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            self.note(&line);
            is_shown = is_shown_after(&line, is_shown);
            if is_shown {
                println!("{line}");
            }
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("{shown} failed ({status})");
        }
        Ok(())
    }

    fn note(&mut self, line: &str) {
        let Some(reason) = BEGINNINGS.iter().find_map(|beginning| line.strip_prefix(beginning)) else {
            return;
        };
        let recordings = reason
            .split_once(" recordings: ")
            .and_then(|(count, reason)| Some((count.parse().ok()?, reason)));
        let (count, reason) = recordings.unwrap_or((0, reason));
        let (tests, all) = self.reasons.entry(reason.to_string()).or_default();
        (*tests, *all) = (*tests + 1, *all + count);
    }

    /// A line for each reason; empty if nothing was left out.
    pub fn table(&self) -> String {
        let mut table = String::new();
        for (reason, (tests, recordings)) in &self.reasons {
            let what = if *recordings > 0 {
                format!(", with at least {recordings} recordings")
            } else {
                String::new()
            };
            let _ = writeln!(table, "left out in {tests} tests{what}: {reason}");
        }
        table
    }
}

/// Whether to show a line of the test harness. The output of passing tests, which has a heading of its own,
/// is not shown.
fn is_shown_after(line: &str, is_shown: bool) -> bool {
    match line {
        "successes:" => false,
        "failures:" => true,
        _ => is_shown || line.starts_with("test result:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "\
running 3 tests
test a ... ok
test b ... ok
test c ... FAILED

successes:

---- a stdout ----
skipped: 70 recordings: RACKPOOL_RECORDINGS names none
---- b stdout ----
left out: there is no etcd
skipped: 5 recordings: RACKPOOL_RECORDINGS names none

successes:
    a
    b

failures:

---- c stdout ----
seed 7

test result: FAILED. 2 passed; 1 failed
";

    #[test]
    fn what_is_left_out_is_counted_by_its_reason() {
        let mut left_out = LeftOut::default();
        assert_eq!(left_out.table(), "");
        SAID.lines().for_each(|line| left_out.note(line));
        let lines = "left out in 2 tests, with at least 75 recordings: RACKPOOL_RECORDINGS names none\n\
                     left out in 1 tests: there is no etcd\n";
        assert_eq!(left_out.table(), lines);
    }

    #[test]
    fn what_passing_tests_say_is_not_shown() {
        let mut is_shown = true;
        let shown = SAID.lines().filter(|line| {
            is_shown = is_shown_after(line, is_shown);
            is_shown
        });
        let shown: Vec<_> = shown.filter(|line| !line.is_empty()).collect();
        let wanted = [
            "running 3 tests",
            "test a ... ok",
            "test b ... ok",
            "test c ... FAILED",
            "failures:",
            "---- c stdout ----",
            "seed 7",
            "test result: FAILED. 2 passed; 1 failed",
        ];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn a_command_that_fails_is_named() {
        let error = LeftOut::default().run_with(&mut Command::new("false")).unwrap_err();
        assert!(error.to_string().contains("\"false\" failed"), "{error}");
    }
}
