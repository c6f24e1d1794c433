//! Runs named steps one after the other, and makes a table of how long each took.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// What happens to later steps after one has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// Later steps are left out.
    Stop,
    /// Later steps are run all the same.
    GoOn,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Passed,
    LeftOut(String),
    Failed,
}

/// The steps that were run so far.
pub struct Steps {
    after_failure: AfterFailure,
    done: Vec<(String, Duration, End)>,
}

impl Steps {
    /// No steps yet.
    pub fn new(after_failure: AfterFailure) -> Steps {
        Steps { after_failure, done: Vec::new() }
    }

    /// Runs a step.
    ///
    /// # Errors
    /// The step's error, with [`AfterFailure::Stop`]. Otherwise a failed step is only noted.
    pub fn run(&mut self, name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
        println!("== {name}");
        #[allow(clippy::disallowed_methods, reason = "tells the developer where the time goes")]
        let start = Instant::now();
        let result = work().with_context(|| name.to_string());
        let took = start.elapsed();
        println!("== {name}: {} s", took.as_secs());
        let end = if result.is_ok() { End::Passed } else { End::Failed };
        self.done.push((name.to_string(), took, end));
        match result {
            Err(error) if self.after_failure == AfterFailure::GoOn => {
                eprintln!("error: {error:#}");
                Ok(())
            }
            other => other,
        }
    }

    /// Notes a step that cannot be run here, with the reason.
    pub fn leave_out(&mut self, name: &str, reason: impl Into<String>) {
        let reason = reason.into();
        println!("== {name}: left out: {reason}");
        self.done.push((name.to_string(), Duration::ZERO, End::LeftOut(reason)));
    }

    /// The table of all steps with their outcomes and times.
    pub fn table(&self) -> String {
        let width = self.done.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
        let line =
            |name: &str, took: Duration, end: &str| format!("{name:width$} {:>6} s  {end}\n", took.as_secs());
        let mut table: String = self
            .done
            .iter()
            .map(|(name, took, end)| match end {
                End::Passed => line(name, *took, "passed"),
                End::Failed => line(name, *took, "FAILED"),
                End::LeftOut(reason) => line(name, *took, &format!("left out: {reason}")),
            })
            .collect();
        table.push_str(&line("all", self.done.iter().map(|(_, took, _)| *took).sum(), ""));
        table
    }

    /// The result of all steps.
    ///
    /// # Errors
    /// When a step failed; the error names all steps that failed.
    pub fn result(&self) -> Result<()> {
        let failed = self.done.iter().filter(|(.., end)| *end == End::Failed);
        let failed: Vec<_> = failed.map(|(name, ..)| name.as_str()).collect();
        if failed.is_empty() {
            return Ok(());
        }
        bail!("these steps failed: {}", failed.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_stops_or_counts() {
        let mut stopping = Steps::new(AfterFailure::Stop);
        stopping.run("good", || Ok(())).unwrap();
        let error = stopping.run("bad", || bail!("no")).unwrap_err();
        assert_eq!(format!("{error:#}"), "bad: no");
        let mut going = Steps::new(AfterFailure::GoOn);
        going.run("bad", || bail!("no")).unwrap();
        going.run("good", || Ok(())).unwrap();
        going.leave_out("odd", "there is no lab");
        assert_eq!(going.result().unwrap_err().to_string(), "these steps failed: bad");
        let table = going.table();
        let ends: Vec<_> = table.lines().map(|line| line.split(" s  ").nth(1).unwrap()).collect();
        assert_eq!(ends, ["FAILED", "passed", "left out: there is no lab", ""]);
    }
}
