//! Rights: what the roles in `deploy/rbac` grant, against what the programs in all tests have asked the API
//! servers for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::{Value as Json, json};
use servers::kube_server::{self, AUDIT_LOGS, Access, Differences, GROUPS, Right, WITHOUT_RIGHT};

use xtask::cargo::{cargo, root, run, target_dir};

/// The accounts whose programs do all that they can in tests. The roles of `calicoctl` are compared by tests
/// of their own.
const ACCOUNTS: [&str; 4] = ["rackpoold-node", "rackpoold-controllers", "calico-ipam", "calico"];

/// The tests in which those programs act with the rights of their accounts, as package and name.
const TESTS: [(&str, &str); 5] = [
    ("calico", "kubernetes"),
    ("calico-ipam", "kubernetes"),
    ("rackpoold", "controllers"),
    ("rackpoold", "identity"),
    ("rackpoold", "servers"),
];

/// How long a test may take without a right, besides twice the time that it takes with all rights.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a test asks for in order to be refused.
const ASKED_IN_VAIN: &str = "calico: get secrets x";

/// The names and texts of all files of a folder.
fn files_of(folder: &Path) -> Result<Vec<(String, String)>> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| path.display().to_string());
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let files = entries.map(|entry| {
        let entry = entry?;
        Ok((entry.file_name().to_string_lossy().into_owned(), read(&entry.path())?))
    });
    files.collect()
}

/// The roles and bindings in `deploy/rbac`.
fn granted() -> Result<Json> {
    let mut items: Vec<Json> = Vec::new();
    for (_, text) in files_of(&root().join("deploy/rbac"))? {
        items.extend(serde_saphyr::from_multiple::<Json>(&text).context("deploy/rbac")?);
    }
    Ok(json!({ "items": items }))
}

/// Checks that each right was needed by an account that has it, in one of Calico's groups, and that no
/// account was refused what its programs cannot do without. `logs` is the folder of the audit logs.
///
/// # Errors
/// When the rights differ from what was needed; the text names each difference.
pub fn prove(logs: &Path) -> Result<()> {
    let (granted, logs) = (granted()?, files_of(logs)?);
    let log: String = logs.into_iter().map(|(_, text)| text).collect();
    let (mut rights, mut needed, mut refused) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for name in ACCOUNTS {
        let user = user_of(name);
        let of_user = kube_server::rights(&granted, &user);
        let accesses = kube_server::accesses(&log, &user);
        ensure!(
            !of_user.is_empty() && !accesses.is_empty(),
            "{name} has no rights, or has asked for nothing"
        );
        println!("{name}: {} rights, {} different requests", of_user.len(), accesses.len());
        let is_needed = |right: &&Right| accesses.iter().any(|access| right.allows(access));
        needed.extend(of_user.iter().filter(is_needed).map(in_one_group));
        rights.extend(of_user.iter().map(in_one_group));
        let Differences { refused: of_user, .. } = Differences::of(&of_user, &accesses, GROUPS[0]);
        refused.extend(of_user.iter().map(|access| format!("{name}: {access}")));
    }
    refused.remove(ASKED_IN_VAIN);
    let unused: Vec<&String> = rights.difference(&needed).collect();
    unused.iter().for_each(|right| println!("granted in deploy/rbac, and needed by nobody: {right}"));
    refused.iter().for_each(|access| println!("asked for, and not granted: {access}"));
    ensure!(unused.is_empty() && refused.is_empty(), "rights differ from what the tests' programs needed");
    println!("{} rights, each of them needed", rights.len());
    Ok(())
}

/// As which user an account's programs are known.
fn user_of(account: &str) -> String {
    format!("system:serviceaccount:kube-system:{account}")
}

/// Arguments of `cargo xtask rights`.
#[derive(Args)]
pub struct Rights {
    /// Only rights whose text contains one of these, such as "rackpoold-node: get" or "leases"
    only: Vec<String>,
}

/// A run of a test with all rights.
struct Whole {
    name: String,
    program: PathBuf,
    took: Duration,
    /// What each API server was asked for, with the name of the function that started it.
    logs: Vec<(String, String)>,
}

/// What an account asked for in a run, by the functions that started the API servers.
struct Asked<'a> {
    whole: &'a Whole,
    accesses: Vec<(&'a str, Vec<Access>)>,
}

impl Whole {
    fn asked_by(&self, user: &str) -> Asked<'_> {
        let of_each = self.logs.iter();
        let accesses = of_each.map(|(function, log)| (function.as_str(), kube_server::accesses(log, user)));
        Asked { whole: self, accesses: accesses.collect() }
    }
}

impl Asked<'_> {
    /// The functions that ask for what a right allows; `None` where none does.
    fn functions(&self, right: &Right) -> Option<Vec<&str>> {
        let asking =
            self.accesses.iter().filter(|(_, asked)| asked.iter().any(|access| right.allows(access)));
        let functions: Vec<&str> = asking.map(|(function, _)| *function).collect();
        (!functions.is_empty()).then_some(functions)
    }
}

impl Rights {
    /// All rights.
    pub fn all() -> Rights {
        Rights { only: Vec::new() }
    }

    /// Takes each right away in turn, and tells which test fails first without it.
    ///
    /// # Errors
    /// When a test fails that has all rights, no program of an account has asked for anything, or nothing
    /// fails without a right.
    pub fn run(self) -> Result<()> {
        let (whole, granted) = (with_all_rights()?, granted()?);
        // Whether something failed without a right; `None` where no test asks for it. The same right in
        // Calico's two groups is taken away in the other where nothing fails in one.
        let mut is_missed: BTreeMap<String, Option<bool>> = BTreeMap::new();
        for account in ACCOUNTS {
            let user = user_of(account);
            let asked: Vec<Asked<'_>> = whole.iter().map(|whole| whole.asked_by(&user)).collect();
            let mut all = asked.iter().flat_map(|of_test| &of_test.accesses);
            ensure!(all.any(|(_, accesses)| !accesses.is_empty()), "{account} has asked for nothing");
            for right in kube_server::rights(&granted, &user) {
                let shown = Right { namespace: None, ..right.clone() }.to_string();
                if !self.wants(&shown) {
                    continue;
                }
                let is_missed = is_missed.entry(in_one_group(&right)).or_default();
                let tests = asked.iter().filter_map(|it| Some((it.whole, it.functions(&right)?)));
                let tests: Vec<(&Whole, Vec<&str>)> = tests.collect();
                if tests.is_empty() || *is_missed == Some(true) {
                    continue;
                }
                let failed = first_failure(&tests, &shown)?;
                println!("{shown}: {}", failed.as_deref().unwrap_or("nothing fails"));
                *is_missed = Some(failed.is_some());
            }
        }
        let these = |end: Option<bool>| {
            let all = is_missed.iter().filter(move |(_, found)| **found == end);
            all.map(|(right, _)| right.as_str()).collect::<Vec<_>>()
        };
        for right in these(None) {
            println!("{right}: other tests than these ask for it");
        }
        let without_loss = these(Some(false));
        ensure!(
            without_loss.is_empty(),
            "nothing fails without these rights, though programs ask for them: {}",
            without_loss.join("; ")
        );
        println!("{} rights taken away, and each was missed", these(Some(true)).len());
        Ok(())
    }

    fn wants(&self, shown: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| shown.contains(only.as_str()))
    }
}

/// Runs each of [`TESTS`] with all rights; the shortest comes first.
#[allow(clippy::disallowed_methods, reason = "it looks which tests are short")]
fn with_all_rights() -> Result<Vec<Whole>> {
    let mut whole = Vec::new();
    for (program, (package, test)) in built()?.into_iter().zip(TESTS) {
        let name = format!("{package} {test}");
        println!("{name}: with all rights");
        let (folder, begun) = (tempfile::tempdir_in(target_dir()?)?, Instant::now());
        let variable = (AUDIT_LOGS, &*folder.path().to_string_lossy());
        if let Some(failed) = failure(&program, &[], variable, Duration::MAX)? {
            bail!("{name} fails with all rights: {failed}");
        }
        whole.push(Whole { name, program, took: begun.elapsed(), logs: logs_of(folder.path())? });
    }
    whole.sort_by_key(|whole| whole.took);
    Ok(whole)
}

/// What API servers were asked for, with the name of the function that started each.
fn logs_of(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut logs = files_of(folder)?;
    for (name, _) in &mut logs {
        name.truncate(name.find('@').unwrap_or(0));
    }
    Ok(logs)
}

/// What fails without a right, in the first of these tests in which something does. The functions that ask
/// for it come first, and the others after them: functions may share a server that one of them has started.
fn first_failure(tests: &[(&Whole, Vec<&str>)], right: &str) -> Result<Option<String>> {
    let asking = tests.iter().map(|(test, functions)| (test, functions.as_slice()));
    let all = tests.iter().map(|(test, _)| (test, &[][..]));
    for (Whole { name, program, took, .. }, functions) in asking.chain(all) {
        let limit = PATIENCE + *took * 2;
        if let Some(failed) = failure(program, functions, (WITHOUT_RIGHT, right), limit)? {
            return Ok(Some(format!("{name}: {failed}")));
        }
    }
    Ok(None)
}

/// Runs functions of a test, all where none is named, with a variable, until one of them fails; gives its
/// name, and `None` if none fails.
/// The others are not waited for: without some rights each of them waits as long as it may. One that has not
/// ended after `limit` waits for what never comes, and counts as failed.
#[allow(clippy::disallowed_methods, reason = "it waits for a process, and not for ever")]
fn failure(
    test: &Path,
    functions: &[&str],
    (variable, value): (&str, &str),
    limit: Duration,
) -> Result<Option<String>> {
    let exact = if functions.is_empty() { &[][..] } else { &["--exact"] };
    let mut child = Command::new(test)
        .args(exact)
        .args(functions)
        .current_dir(root())
        .env("RACKPOOL_PROGRAMS", target_dir()?.join("debug"))
        .env(variable, value)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .with_context(|| test.display().to_string())?;
    let said = BufReader::new(child.stdout.take().context("the test's output")?);
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || said.lines().map_while(Result::ok).all(|line| tell.send(line).is_ok()));
    let begun = Instant::now();
    let failed = loop {
        match told.recv_timeout(limit.saturating_sub(begun.elapsed())) {
            Ok(line) => match line.strip_prefix("test ").and_then(|line| line.strip_suffix(" ... FAILED")) {
                Some(name) => break Some(name.to_string()),
                None => continue,
            },
            Err(RecvTimeoutError::Timeout) => break Some(format!("no end within {} s", limit.as_secs())),
            Err(RecvTimeoutError::Disconnected) => break None,
        }
    };
    if failed.is_some() {
        // The servers' guards ignore this, and stop the servers once the test has ended.
        run(Command::new("kill").args(["-TERM", "--", &format!("-{}", child.id())]))?;
        child.wait()?;
        return Ok(failed);
    }
    let ended = child.wait()?;
    ensure!(ended.success(), "{} ends without a failed function: {ended}", test.display());
    Ok(None)
}

/// Builds all programs and tests, and gives the program of each of [`TESTS`].
fn built() -> Result<Vec<PathBuf>> {
    let out = cargo(&["test", "--quiet", "--workspace", "--no-run", "--message-format", "json"]).output()?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let said = String::from_utf8_lossy(&out.stdout);
    let artifacts: Vec<Json> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let program = |(package, test): (&str, &str)| {
        let manifest = root().join("crates").join(package).join("Cargo.toml");
        let is_test =
            |it: &&Json| it["target"]["name"] == test && it["manifest_path"].as_str() == manifest.to_str();
        let path = artifacts.iter().filter(is_test).find_map(|it| it["executable"].as_str());
        path.map(PathBuf::from).with_context(|| format!("cargo tells of no test {test} of {package}"))
    };
    TESTS.into_iter().map(program).collect()
}

/// A right as text, with one name for Calico's two groups: rules are for both, and a cluster has one.
fn in_one_group(right: &Right) -> String {
    right.to_string().replace("ipamconfigurations", "ipamconfigs").replace(GROUPS[0], GROUPS[1])
}
