//! The release before this one: its programs and its chart, built from git, and loads in which its programs
//! and those of this tree work on the same records.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;
use clap::Args;
use xtask::cargo::{PROGRAMS, cargo, root, run, target_dir};

use crate::source::{commit_time, git};

/// Tells the tests where the older programs are.
const OLDER: &str = "RACKPOOL_OLDER_PROGRAMS";
/// The tests that use them: the loads of two releases, and the plugins that are renamed in turns.
const TESTS: [&str; 2] = ["two_releases", "two_versions_at_once"];
/// A day, in seconds.
const DAY: u64 = 24 * 60 * 60;

/// A release that was built from git.
pub struct Older {
    /// The folder of its programs.
    pub programs: PathBuf,
    /// The folder of its chart.
    pub chart: PathBuf,
}

impl Older {
    /// Builds the programs of a tag or a commit; by default of the newest tag, or else of the newest commit
    /// that is a day older than this one.
    ///
    /// # Errors
    /// When git knows no such commit, or its programs cannot be built.
    pub fn build(revision: Option<&str>) -> Result<Older> {
        let revision = revision.map_or_else(before_this, |revision| Ok(revision.to_string()))?;
        let revision = git(&["rev-parse", "--verify", &format!("{revision}^{{commit}}")])?;
        println!("the older release: {}", git(&["log", "-1", "--format=%h of %ci: %s", &revision])?);
        let folder = target_dir()?.join("older");
        let tree = folder.join("tree");
        if !tree.join(".git").exists() {
            // It has no objects of its own, and so sees each commit of this repository.
            run(Command::new("git")
                .args(["clone", "--quiet", "--shared", "--no-checkout"])
                .args([root(), tree.as_path()]))?;
        }
        run(Command::new("git").current_dir(&tree).args(["checkout", "--quiet", "--detach", &revision]))?;
        let packages = PROGRAMS.iter().flat_map(|program| ["--package", program]);
        let mut build = cargo(&["build"]);
        build.args(packages).current_dir(&tree).env("CARGO_TARGET_DIR", folder.join("target"));
        run(&mut build)?;
        Ok(Older { programs: folder.join("target/debug"), chart: tree.join("deploy/chart") })
    }
}

/// The tag or the commit of the release before this one.
fn before_this() -> Result<String> {
    if let Ok(tag) = git(&["describe", "--tags", "--abbrev=0", "HEAD"]) {
        return Ok(tag);
    }
    let a_day_before = commit_time()?.saturating_sub(DAY);
    let before = git(&["rev-list", "-1", &format!("--before={a_day_before}"), "HEAD"])?;
    anyhow::ensure!(!before.is_empty(), "no commit is a day older than this one; name one: --from REVISION");
    Ok(before)
}

/// Arguments of `cargo xtask skew`.
#[derive(Args)]
pub struct Skew {
    /// The older release, a tag or a commit; by default the newest tag, or else the newest commit that is a
    /// day older than this one
    #[arg(long, value_name = "REVISION")]
    from: Option<String>,
    /// How many times longer the loads are
    #[arg(long, default_value_t = 10)]
    scale: u32,
}

impl Skew {
    /// Builds both releases, and runs the loads.
    ///
    /// # Errors
    /// When a test fails, or something cannot be built.
    pub fn run(self) -> Result<()> {
        Skew::of(&Older::build(self.from.as_deref())?, &self.scale.to_string())
    }

    /// Runs the loads of this tree's release and an older one, this many times longer than a load in CI.
    ///
    /// # Errors
    /// When a test fails, or this tree cannot be built.
    pub fn of(older: &Older, scale: &str) -> Result<()> {
        run(&mut cargo(&["test", "--quiet", "--workspace", "--no-run"]))?;
        let mut tests = cargo(&["test", "--workspace", "--test", "load", "--test", "it", "--"]);
        tests.args(["--include-ignored", "--show-output"]).args(TESTS);
        tests.env("RACKPOOL_PROGRAMS", target_dir()?.join("debug")).env(OLDER, &older.programs);
        run(tests.env("RACKPOOL_LOAD_SCALE", scale))
    }
}
