//! The terminal of the guide's administrator: shows commands as they are typed, and their output.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value as Json;

/// The terminal in which `calicoctl` is run.
pub struct Terminal {
    /// The folder of the program `calicoctl`.
    pub programs: PathBuf,
    /// The working folder of `calicoctl`.
    pub folder: PathBuf,
    /// The environment variables that tell `calicoctl` where the store is; it sees no others.
    pub environment: Vec<(&'static str, String)>,
}

impl Terminal {
    /// Runs calicoctl, and shows the command and its output.
    pub fn calicoctl(&self, arguments: &[&str], input: Option<&str>) -> Result<()> {
        show("calicoctl", arguments, input);
        print_output(&output(&mut self.command(arguments), input.unwrap_or_default())?);
        Ok(())
    }

    /// The output of calicoctl, which is not shown.
    pub fn output(&self, arguments: &[&str], input: &str) -> Result<String> {
        output(&mut self.command(arguments), input)
    }

    /// Runs calicoctl and reads its output as JSON, without showing either.
    pub fn ask(&self, arguments: &[&str]) -> Result<Json> {
        let out = self.output(arguments, "")?;
        serde_json::from_str(&out).with_context(|| format!("calicoctl {}", arguments.join(" ")))
    }

    /// Makes a calicoctl command with these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("calicoctl"));
        command.args(arguments).env_clear().envs(self.environment.iter().cloned()).current_dir(&self.folder);
        command
    }
}

/// Prints the heading of a part of the guide.
pub fn heading(text: &str) {
    println!("\n# {text}");
}

/// Shows a command as one would type it.
pub fn show(program: &str, arguments: &[&str], input: Option<&str>) {
    let line = arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    match input {
        Some(text) => println!("$ {program} {line} <<EOF\n{}\nEOF", text.trim_end()),
        None => println!("$ {program} {line}"),
    }
}

/// Shows the output of a command, with an empty line after it.
pub fn print_output(out: &str) {
    for line in out.lines() {
        println!("{}", line.trim_end());
    }
    if !out.ends_with("\n\n") {
        println!();
    }
}

/// Runs a command and gives its output. When it fails, the error holds all that it has written.
pub fn output(command: &mut Command, input: &str) -> Result<String> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {line}"))?;
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
    let out = child.wait_with_output()?;
    let text = String::from_utf8(out.stdout)?;
    if !out.status.success() {
        bail!("{line} failed:\n{text}{}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(text)
}

/// A word with the quotes that it needs in a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,".contains(c);
    if word.chars().all(plain) { word.to_string() } else { format!("'{word}'") }
}
