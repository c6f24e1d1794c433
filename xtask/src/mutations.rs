//! Proof that the simulations bite: faults of the planners are put back, one after the other, into a copy of
//! the tree, and each must be found. `crates/simulator/mutations` has a patch for each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::source;
use anyhow::{Context, Result, bail};
use xtask::cargo::{cargo, root, run, target_dir};

/// After how many steps a mutation counts as not found.
const STEPS: u64 = 1_000_000;

/// The patches, in the order of their names.
fn patches() -> Result<Vec<PathBuf>> {
    let folder = root().join("crates/simulator/mutations");
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut all: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    all.retain(|path| path.extension().is_some_and(|end| end == "patch"));
    all.sort();
    Ok(all)
}

/// Applies a patch to a tree, or takes it back.
fn apply(tree: &Path, patch: &Path, options: &[&str]) -> Result<()> {
    let mut git = Command::new("git");
    // The copy lies in the folder of this repository, and is no part of it.
    git.env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap_or(tree)).current_dir(tree);
    run(git.arg("apply").args(options).arg(patch))
}

/// Looks whether all patches still apply.
pub fn all_apply() -> Result<()> {
    let patches = patches()?;
    patches.iter().try_for_each(|patch| apply(root(), patch, &["--check"]))?;
    println!("{} mutations apply", patches.len());
    Ok(())
}

/// A seed that each commit has for itself; 0 where there is no commit.
pub fn seed_of_head() -> u64 {
    let commit = source::git(&["rev-parse", "HEAD"]).unwrap_or_default();
    commit.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

/// What became of a mutation.
struct Hunted {
    name: String,
    /// Where it was found, and after how many steps; or how far was looked.
    answer: String,
    is_found: bool,
    building: Duration,
    hunting: Duration,
}

/// Builds the simulator of the copy. The crates of others are those of the tree's own release build; ours are
/// compiled piece by piece, as each build serves for some seconds.
fn build(tree: &Path, target: &Path) -> Result<()> {
    let built = cargo(&["build", "--release", "--package", "simulator"])
        .args(["--config", "profile.release.incremental=true"])
        .env("CARGO_TARGET_DIR", target)
        .current_dir(tree)
        .output()?;
    if !built.status.success() {
        bail!("{}", String::from_utf8_lossy(&built.stderr));
    }
    Ok(())
}

/// Hunts all mutations, or `count` of them that `seed` draws. Prints a table.
///
/// # Errors
/// When one is not found.
#[allow(clippy::disallowed_methods, reason = "it tells how long it took")]
pub fn hunt(count: Option<usize>, seed: u64) -> Result<()> {
    let mut patches = patches()?;
    if let Some(count) = count {
        patches = fastrand::Rng::with_seed(seed).choose_multiple(patches, count);
    }
    let target = target_dir()?;
    let tree = target.join("mutations/tree");
    source::copy_to(&tree)?;
    let mut all = Vec::new();
    for patch in &patches {
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        apply(&tree, patch, &[])?;
        let begun = Instant::now();
        let built = build(&tree, &target);
        let building = begun.elapsed();
        apply(&tree, patch, &["--reverse"])?;
        built.with_context(|| name.clone())?;
        let begun = Instant::now();
        let out = Command::new(target.join("release/simulator"))
            .args(["hunt", "0", &STEPS.to_string()])
            .output()
            .context("simulator")?;
        let answer = String::from_utf8_lossy(&out.stdout).trim().to_string();
        println!("{name}: {answer}");
        let is_found = out.status.success();
        all.push(Hunted { name, answer, is_found, building, hunting: begun.elapsed() });
    }
    println!("\n{:<34} {:>8} {:>8}  found", "mutation", "built in", "hunted");
    for Hunted { name, answer, building, hunting, .. } in &all {
        let answer: String = answer.chars().take(100).collect();
        println!("{name:<34} {:>6} s {:>6.1} s  {answer}", building.as_secs(), hunting.as_secs_f64());
    }
    let missed: Vec<&str> = all.iter().filter(|it| !it.is_found).map(|it| it.name.as_str()).collect();
    if !missed.is_empty() {
        bail!("not found in {STEPS} steps: {}", missed.join(", "));
    }
    Ok(())
}
