//! `cargo xtask fuzz`: feeds every parser, with inputs that are drawn from its corpus, or guided by coverage.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use clap::Args;
use xtask::cargo::{cargo, root, run, target_dir};

/// How many inputs are drawn for each target where nobody says so.
const INPUTS: u64 = 100_000;
/// For how many seconds the nightly run looks for new inputs of each target.
pub const SECONDS: u64 = 30;

/// Tells LLVM to count which edges of a program are taken, and what is compared with what, for libFuzzer.
/// Everything that is checked in the development profile is checked here, too.
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions=on -Coverflow-checks=on";
/// The bounds of one input: memory in megabytes, time in seconds, and length in bytes.
const BOUNDS: [&str; 3] = ["-rss_limit_mb=512", "-timeout=2", "-max_len=65536"];
/// How many of the last lines of what libFuzzer says are shown where it has found something.
const SHOWN: usize = 25;

/// Arguments of `cargo xtask fuzz`.
#[derive(Args)]
pub struct Fuzz {
    /// The targets; all, if none is named
    targets: Vec<String>,
    /// Look for new inputs, guided by coverage, for so many seconds a target; needs a C++ compiler
    #[arg(long, value_name = "N", conflicts_with_all = ["inputs", "seed", "input"])]
    seconds: Option<u64>,
    /// How many inputs are drawn for each target
    #[arg(long, value_name = "N", default_value_t = INPUTS)]
    inputs: u64,
    /// With which seed they are drawn
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Run this input alone, for one target
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Name the targets, and what each reads
    #[arg(long)]
    list: bool,
}

impl Fuzz {
    /// Feeds the targets, and tells what fails.
    pub fn run(self) -> Result<()> {
        if let Some(seconds) = self.seconds {
            return guided(&self.targets, seconds);
        }
        let mut command = program(&optimised()?)?;
        command.args(&self.targets);
        if self.list {
            return run(command.arg("--list"));
        }
        if let Some(input) = &self.input {
            return run(command.arg("--input").arg(input));
        }
        run(command.args(["--inputs", &self.inputs.to_string(), "--seed", &self.seed.to_string()]))
    }
}

/// Runs all corpora, and so many inputs that are drawn from each, by a program that was built before.
pub fn drawn(built: &Path, inputs: u64) -> Result<()> {
    run(program(built)?.args(["--inputs", &inputs.to_string()]))
}

/// Builds the program that draws, with optimisation.
fn optimised() -> Result<PathBuf> {
    let build = ["build", "--quiet", "--release", "--package", "fuzz-targets", "--bin", "fuzz-targets"];
    run(&mut cargo(&build))?;
    Ok(target_dir()?.join("release/fuzz-targets"))
}

fn program(built: &Path) -> Result<Command> {
    let mut command = Command::new(built);
    command.arg("--failures").arg(failures()?);
    Ok(command)
}

/// The folder for inputs that fail.
fn failures() -> Result<PathBuf> {
    Ok(target_dir()?.join("fuzz/failures"))
}

/// Looks for new inputs of these targets, or of all, for so many seconds each.
///
/// # Errors
/// When an input fails; the error names the targets, and libFuzzer the file.
pub fn guided(targets: &[String], seconds: u64) -> Result<()> {
    let corpora = root().join("crates/fuzz-targets/corpus");
    let all = names_in(&corpora)?;
    if let Some(unknown) = targets.iter().find(|target| !all.contains(*target)) {
        bail!("there is no target {unknown}: cargo xtask fuzz --list names them");
    }
    let program = coverage_program()?;
    let wanted: Vec<&String> =
        all.iter().filter(|name| targets.is_empty() || targets.contains(name)).collect();
    let (next, failed) = (Mutex::new(wanted.iter()), Mutex::new(Vec::new()));
    let work = || -> Result<()> {
        loop {
            let Some(target) = next.lock().ok().and_then(|mut next| next.next()) else { return Ok(()) };
            if !one(&program, target, &corpora, seconds)? {
                failed.lock().map(|mut failed| failed.push(target.to_string())).unwrap_or_default();
            }
        }
    };
    let count = std::thread::available_parallelism()?.get();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        let mut joined = threads.into_iter().map(|thread| thread.join());
        joined.try_for_each(|outcome| outcome.unwrap_or_else(|_| bail!("a thread panicked")))
    })?;
    let failed = failed.into_inner().unwrap_or_default();
    if failed.is_empty() { Ok(()) } else { bail!("inputs failed of: {}", failed.join(", ")) }
}

/// Runs libFuzzer on a target. What it keeps goes to a copy of the corpus in the target folder, where the
/// next run finds it. Gives whether no input failed.
fn one(program: &Path, target: &str, corpora: &Path, seconds: u64) -> Result<bool> {
    let (kept, failures) = (target_dir()?.join("fuzz/corpus").join(target), failures()?.join(target));
    for folder in [&kept, &failures] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut command = Command::new(program);
    command.env("FUZZ_TARGET", target).args(BOUNDS).arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/", failures.display()));
    let out = command.arg(&kept).arg(corpora.join(target)).output().context("cannot start libFuzzer")?;
    let said = String::from_utf8_lossy(&out.stderr);
    if !out.status.success() {
        let lines: Vec<&str> = said.lines().collect();
        println!("FAILED: {target}\n{}", lines[lines.len().saturating_sub(SHOWN)..].join("\n"));
        return Ok(false);
    }
    let done = said.lines().rev().find(|line| line.contains("DONE")).unwrap_or_default();
    println!("ok: {target} {}", done.trim());
    Ok(true)
}

/// The program for libFuzzer, in a folder of its own: nothing in it can be used by other builds.
fn coverage_program() -> Result<PathBuf> {
    let folder = target_dir()?.join("fuzz/build");
    let host = host()?;
    // For a named target, build scripts and macros are built without these flags.
    let build = ["build", "--quiet", "--release", "--package", "fuzz-targets", "--bin", "fuzz-coverage"];
    run(cargo(&build).args(["--target", &host]).arg("--target-dir").arg(&folder).env("RUSTFLAGS", COVERAGE))?;
    Ok(folder.join(host).join("release/fuzz-coverage"))
}

/// This machine, as the compiler names it.
fn host() -> Result<String> {
    let out = Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_string).context("rustc -vV names no host")
}

fn names_in(folder: &Path) -> Result<BTreeSet<String>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
