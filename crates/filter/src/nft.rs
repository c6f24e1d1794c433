//! The program `nft`, by which the table comes into the kernel.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use api::Family;
use outside::{Limits, Program, ProgramError};

use crate::rules::Rules;
use crate::text::{TABLE, parts, removal};

/// A host with tens of thousands of rules of others is listed within these.
const LIMITS: Limits = Limits { time: Duration::from_secs(30), stdout: 64 << 20, stderr: 16 << 10 };

/// Why `nft` did not do what it was told to.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The program is not there.
    #[error("the program {} is not there, so packets are neither translated nor checked: install the package nftables", .0.display())]
    Missing(PathBuf),
    /// The program could not be started.
    #[error("the program {} cannot be started: {source}", .program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The program gave no usable answer.
    #[error("{} was to {doing}: {source}", .program.display())]
    Unheard {
        /// The program.
        program: PathBuf,
        /// What it was to do.
        doing: String,
        /// What was wrong with its answer.
        source: ProgramError,
    },
    /// The program, or the kernel, refused. Nothing has changed.
    #[error("{} was to {doing}, and refused: {reason}{}{}", .program.display(), shown_line(.line.as_deref()), remedy(.reason))]
    Refused {
        /// The program.
        program: PathBuf,
        /// What it was to do.
        doing: String,
        /// What it said, on one line.
        reason: String,
        /// The line of the text that it speaks of.
        line: Option<String>,
    },
}

fn shown_line(line: Option<&str>) -> String {
    line.map(|line| format!(", at the line `{line}`")).unwrap_or_default()
}

fn remedy(reason: &str) -> &'static str {
    match reason.contains("Operation not permitted") {
        true => ": run it with the capability NET_ADMIN",
        false => "; `nft list ruleset` shows what is there",
    }
}

/// What became of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was as it had to be.
    Unchanged,
    /// It was put there: for the first time, or since other rules are wanted.
    Replaced,
    /// It was put there again, since somebody else had changed or removed it.
    Repaired,
}

/// How the table differs from what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It is not there.
    Missing,
    /// It is there. These of its sets and chains are not as wanted, or too many.
    There(Vec<String>),
}

/// What was put into the kernel: the text, and how `nft` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Installed {
    text: String,
    listing: String,
}

/// A rule in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) handle: u64,
    pub(crate) text: String,
}

/// The program `nft`, and what it was told last. All methods wait for the program, 30 seconds at most.
#[derive(Debug)]
pub struct Nft {
    program: PathBuf,
    installed: Option<Installed>,
    /// Our rules in the chains of others: what was wanted, and how it was listed then.
    pub(crate) beside: BTreeMap<Family, (Vec<String>, Vec<Rule>)>,
}

impl Default for Nft {
    fn default() -> Self {
        Nft::new("nft")
    }
}

impl Nft {
    /// The program of that name or at that path.
    pub fn new(program: impl Into<PathBuf>) -> Nft {
        Nft { program: program.into(), installed: None, beside: BTreeMap::new() }
    }

    /// Sees to it that the table is as the rules say. What is there is compared with how `nft` listed the
    /// table after it was put there, so that nothing has to understand such a list. Call it when the rules
    /// change, and when [`crate::Changes`] tells that somebody has changed the table.
    ///
    /// # Errors
    /// See [`NftError`]. The table is as it was then.
    pub fn keep(&mut self, rules: &Rules) -> Result<Outcome, NftError> {
        let listing = self.listing()?;
        let outcome = match &self.installed {
            Some(last) if listing.as_ref() != Some(&last.listing) => Outcome::Repaired,
            Some(last) if last.text == rules.text() => return Ok(Outcome::Unchanged),
            _ => Outcome::Replaced,
        };
        let is_alike = |listing: &String| names(listing) == names(&rules.table());
        match listing.as_ref().filter(|listing| outcome == Outcome::Replaced && is_alike(listing)) {
            // Refused where somebody has made a set or a chain of that name that is of another kind.
            Some(_) => {
                let last = self.installed.as_ref().map_or("", |last| &last.text);
                self.put(rules, rules.update(last)).or_else(|_| self.put(rules, rules.text()))?;
            }
            None => self.put(rules, rules.text())?,
        }
        Ok(outcome)
    }

    /// Carries out the commands that make the table as the rules say.
    pub(crate) fn put(&mut self, rules: &Rules, commands: String) -> Result<(), NftError> {
        // Should the listing fail, it is not known what is there.
        self.installed = None;
        self.batch(&format!("put the table {TABLE} into the kernel"), commands)?;
        if let Some(listing) = self.listing()? {
            self.installed = Some(Installed { text: rules.text(), listing });
        }
        Ok(())
    }

    pub(crate) fn remove_table(&mut self) -> Result<(), NftError> {
        self.installed = None;
        self.batch(&format!("remove the table {TABLE}"), removal())
    }

    /// How the table is listed, without its counters; `None` where it is not there.
    pub fn listing(&self) -> Result<Option<String>, NftError> {
        self.list(&["-s", "list", "table", "inet", "rackpool"], &format!("list the table {TABLE}"))
    }

    /// Compares the table with the rules, and changes nothing: `nft` lists it as it would be, in a network
    /// namespace that ends with that, so that nothing has to understand such a list.
    ///
    /// # Errors
    /// See [`NftError`]. It takes the program `unshare`, and the right to make a namespace.
    pub fn compare(&self, rules: &Rules) -> Result<Comparison, NftError> {
        let Some(listing) = self.listing()? else { return Ok(Comparison::Missing) };
        let script = "\"$0\" -f - && exec \"$0\" -s list table inet rackpool";
        let nft = self.program.to_string_lossy();
        let arguments = ["--net", "sh", "-c", script, nft.as_ref()];
        let doing = format!("list the table {TABLE} as it is wanted");
        let wanted = run(Path::new("unshare"), &arguments, &rules.text(), &doing)?;
        let (there, wanted): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (parts(&listing).collect(), parts(&wanted).collect());
        let names: BTreeSet<&str> = there.keys().chain(wanted.keys()).copied().collect();
        let differs = |name: &&str| there.get(*name) != wanted.get(*name);
        Ok(Comparison::There(names.into_iter().filter(differs).map(str::to_string).collect()))
    }

    /// What `nft` lists; `None` where it is not there.
    pub(crate) fn list(&self, arguments: &[&str], doing: &str) -> Result<Option<String>, NftError> {
        match run(&self.program, arguments, "", doing) {
            Ok(listing) => Ok(Some(listing)),
            Err(NftError::Refused { reason, .. }) if reason.contains("No such file or directory") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Carries out commands in one transaction: all of them or none.
    pub(crate) fn batch(&self, doing: &str, text: String) -> Result<(), NftError> {
        run(&self.program, &["-f", "-"], &text, doing).map(drop)
    }
}

/// The names of a table's sets and chains.
pub(crate) fn names(text: &str) -> BTreeSet<&str> {
    parts(text).map(|(name, _)| name).collect()
}

/// Runs a program with an input, and gives its output.
pub(crate) fn run(program: &Path, arguments: &[&str], input: &str, doing: &str) -> Result<String, NftError> {
    let mut command = Command::new(program);
    // The reasons are compared with English ones.
    command.args(arguments).env("LC_ALL", "C").env_remove("LANGUAGE");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let unheard =
        |source| NftError::Unheard { program: program.to_path_buf(), doing: doing.to_string(), source };
    let started = Program::start(&mut command).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => NftError::Missing(program.to_path_buf()),
        _ => NftError::Start { program: program.to_path_buf(), source },
    })?;
    let heard = started.hear(input.as_bytes().to_vec(), LIMITS).map_err(unheard)?;
    if heard.status.success() {
        return Ok(String::from_utf8_lossy(&heard.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&heard.stderr);
    Err(NftError::Refused {
        program: program.to_path_buf(),
        doing: doing.to_string(),
        line: line_of(&said)
            .and_then(|nth| input.lines().nth(nth.checked_sub(1)?))
            .map(|l| l.trim().to_string()),
        reason: reason(&said, heard.status),
    })
}

/// What a program said, on one line: the first lines, without the parts of its input that it shows under
/// them.
pub(crate) fn reason(said: &str, status: std::process::ExitStatus) -> String {
    let is_said = |line: &&str| !line.is_empty() && !line.chars().all(|c| "^~ \t".contains(c));
    let lines: Vec<String> = said
        .lines()
        .map(str::trim)
        .filter(is_said)
        .take(2)
        .map(|line| line.escape_debug().to_string())
        .collect();
    match lines.is_empty() {
        true => format!("it said nothing, and ended with {status}"),
        false => lines.join("; "),
    }
}

/// The number of the line in the input that `nft` speaks of: `/dev/stdin:12:3-20: Error: ...`.
pub(crate) fn line_of(said: &str) -> Option<usize> {
    said.lines().find_map(|line| {
        let (_, place) = line.split_once("stdin:").or_else(|| line.split_once("-:"))?;
        place.split(':').next()?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_spoken_of() {
        for (said, wanted) in [
            ("/dev/stdin:12:3-20: Error: syntax error\n  foo\n  ^^^\n", Some(12)),
            ("-:3:1-2: Error: x", Some(3)),
            ("Error: No such file or directory", None),
            ("internal:0:0-0: Error: x", None),
        ] {
            assert_eq!(line_of(said), wanted, "{said}");
        }
    }
}
